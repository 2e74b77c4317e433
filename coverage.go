package paywall

import (
	"context"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/internal/urlpath"
)

// coverage says whether a request is a gate's business.
type coverage int

const (
	notCovered coverage = iota
	covered
	ambiguous // covered or not, depending on who reads the path
)

// coverageMatcher decides which requests a gate covers. It asks Caddy's matchers about the path as Caddy reads it, and
// about the other paths under which a file server or an application may serve the same content: see urlpath.
//
// What a `not` matcher exempts stays exempt under its aliases: with `not path /login`, a visitor of /login need not pay
// because /login/ is not exempt.
type coverageMatcher struct {
	sets      caddyhttp.MatcherSets
	fast      fastMatcher
	split     []splitSet
	pathsOnly bool // no matcher reads anything but the path
}

// splitSet is a matcher set in two parts: matchers that are asked about aliases, and `not` matchers.
type splitSet struct{ positive, negative caddyhttp.MatcherSet }

func newCoverageMatcher(sets caddyhttp.MatcherSets) coverageMatcher {
	m := coverageMatcher{sets: sets, fast: newFastMatcher(sets), split: make([]splitSet, len(sets)), pathsOnly: len(sets) > 0}
	for i, set := range sets {
		for _, matcher := range set {
			switch matcher.(type) {
			case *caddyhttp.MatchNot:
				m.split[i].negative = append(m.split[i].negative, matcher)
				m.pathsOnly = false
			case *caddyhttp.MatchPath:
				m.split[i].positive = append(m.split[i].positive, matcher)
			default:
				m.split[i].positive = append(m.split[i].positive, matcher)
				m.pathsOnly = false
			}
		}
	}
	return m
}

// coverage decides whether a request is covered. Where a matcher fails, it is.
func (m *coverageMatcher) coverage(r *http.Request) (coverage, error) {
	if len(m.sets) == 0 {
		return covered, nil
	}
	if match, err := m.fast.match(r); err != nil || match {
		return covered, err
	}
	original := originalURL(r)
	switch {
	case r.URL.Opaque != "" || original.Opaque != "":
		return ambiguous, nil // "GET http:paid/a" has no path, and a proxy passes it on
	case !m.pathsOnly && !isWellFormed(r.URL.RawQuery):
		return ambiguous, nil // a query matcher sees none of it, an application may
	}
	if !m.fast.isFar(r.URL.Path) {
		if match, err := m.matchAny(r, urlpath.Aliases(r.URL.Path), r); err != nil || match {
			return covered, err
		}
	}
	if original.Path != r.URL.Path {
		if match, err := m.matchAny(r, urlpath.Aliases(original.Path), r); err != nil || match {
			return covered, err
		}
	}
	if found, err := m.routes(r, original); err != nil || found != notCovered {
		return found, err
	}
	return m.obfuscations(r, original)
}

// routes decides about the paths by which an application may route in place of the request's own.
func (m *coverageMatcher) routes(r *http.Request, original *url.URL) (coverage, error) {
	for _, address := range []*url.URL{original, r.URL} {
		routes, ok := urlpath.Routes(address)
		for _, route := range routes {
			if match, err := m.matchPath(r, route); err != nil || match {
				return covered, err
			}
		}
		if !ok {
			return ambiguous, nil
		}
		if address.Path == r.URL.Path && address.RawQuery == r.URL.RawQuery {
			break // nobody has rewritten it
		}
	}
	return notCovered, nil
}

// obfuscations decides about what lenient servers may take the path for.
func (m *coverageMatcher) obfuscations(r *http.Request, original *url.URL) (coverage, error) {
	found := append(urlpath.Overrides(r.Header, original, r.URL), urlpath.Suspicious(r.URL)...)
	if len(found) == 0 && original.Path == r.URL.Path && original.RawPath == r.URL.RawPath {
		return notCovered, nil
	}
	forms, ok := obfuscationsOf(r, found)
	if !ok {
		return ambiguous, nil
	}
	for _, form := range forms {
		if form == r.URL.Path {
			continue
		}
		if match, err := m.matchPath(r, form); err != nil || match {
			return ambiguous, err
		}
		if match, err := m.matchBehindScript(r, form); err != nil || match {
			return ambiguous, err
		}
	}
	if original.Path == r.URL.Path {
		return notCovered, nil
	}
	if forms, ok = obfuscationsOf(r, urlpath.Suspicious(original)); !ok {
		return ambiguous, nil
	}
	for _, form := range forms {
		if match, err := m.matchAny(r, urlpath.Aliases(form), r); err != nil || match {
			return ambiguous, err
		}
		if match, err := m.matchBehindScript(r, form); err != nil || match {
			return ambiguous, err
		}
	}
	return notCovered, nil
}

// matchBehindScript asks about what follows a script's name in an obfuscation. Nested scripts match: to try each form
// with each script would cost too much.
func (m *coverageMatcher) matchBehindScript(r *http.Request, form string) (bool, error) {
	routes, ok := urlpath.ScriptRoutes(form)
	if !ok || urlpath.HasNestedScripts(form) {
		return true, nil
	}
	for _, route := range routes {
		if match, err := m.matchPath(r, route); err != nil || match {
			return true, err
		}
	}
	return false, nil
}

// matchPath asks all matchers about the request with another path, and about its aliases.
func (m *coverageMatcher) matchPath(r *http.Request, path string) (bool, error) {
	other := m.withPath(r, path)
	if match, err := m.sets.AnyMatchWithError(other); err != nil || match {
		return true, err
	}
	return m.matchAny(r, urlpath.Aliases(path), other)
}

// matchAny asks the positive matchers about other paths, and the negative ones about the request exempt.
func (m *coverageMatcher) matchAny(r *http.Request, paths []string, exempt *http.Request) (bool, error) {
	for _, set := range m.split {
		if len(set.positive) == 0 {
			continue // it depends on exempt alone, which has been asked about
		}
		if match, err := set.negative.MatchWithError(exempt); err != nil {
			return true, err
		} else if !match {
			continue
		}
		for _, path := range paths {
			if match, err := set.positive.MatchWithError(m.withPath(r, path)); err != nil || match {
				return true, err
			}
		}
	}
	return false, nil
}

// withPath is the request with another path. Placeholders of the path change with it; those of other handlers stay.
func (m *coverageMatcher) withPath(r *http.Request, path string) *http.Request {
	other := *r
	other.URL, other.Host = urlpath.WithPath(r.URL, path), withoutFinalDot(r.Host)
	if m.pathsOnly {
		return &other
	}
	ctx := r.Context()
	if vars, ok := ctx.Value(caddyhttp.VarsCtxKey).(map[string]any); ok {
		ctx = context.WithValue(ctx, caddyhttp.VarsCtxKey, maps.Clone(vars))
	}
	prepared := other.WithContext(ctx)
	replacer := caddyhttp.NewTestReplacer(prepared)
	if own, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		replacer.Map(own.Get)
	}
	return prepared
}

func withoutFinalDot(host string) string {
	if !strings.HasSuffix(host, ".") && !strings.Contains(host, ".:") {
		return host
	}
	if name, port, err := net.SplitHostPort(host); err == nil && strings.HasSuffix(name, ".") {
		return net.JoinHostPort(strings.TrimSuffix(name, "."), port)
	}
	return strings.TrimSuffix(host, ".")
}

func isWellFormed(query string) bool {
	_, err := url.ParseQuery(query)
	return err == nil
}

// originalURL is the address as the client sent it, before any rewrite.
func originalURL(r *http.Request) *url.URL {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && original.URL != nil {
		return original.URL
	}
	return r.URL
}

// isRewritten reports whether the site has changed more of a path than its beginning.
func isRewritten(r *http.Request) bool { return !strings.HasSuffix(originalURL(r).Path, r.URL.Path) }

// isUnambiguous reports whether every reader of the request's address finds the same page. Only then a page can be
// sold by itself.
func isUnambiguous(r *http.Request) bool {
	original := originalURL(r)
	if r.URL.Opaque != "" || original.Opaque != "" {
		return false
	}
	found := append(urlpath.Overrides(r.Header, original, r.URL), urlpath.Suspicious(r.URL)...)
	if found = append(found, urlpath.Suspicious(original)...); len(found) == 0 {
		return true
	}
	forms, ok := obfuscationsOf(r, found)
	here, before := urlpath.Page(r.URL.Path), urlpath.Page(original.Path)
	return ok && !slices.ContainsFunc(forms, func(form string) bool {
		page := urlpath.Page(form)
		return page != here && page != before
	})
}

// obfuscationsVar remembers the obfuscations of a request, because every gate asks for the same. A hostile path takes
// 2 ms to decode.
const obfuscationsVar = "axra.obfuscations"

type knownObfuscations struct {
	paths, forms []string
	ok           bool
}

// obfuscationsOf is urlpath.Obfuscations, once for all gates on a request's way.
func obfuscationsOf(r *http.Request, paths []string) (forms []string, ok bool) {
	if len(paths) == 0 {
		return nil, true
	}
	known, _ := caddyhttp.GetVar(r.Context(), obfuscationsVar).([]knownObfuscations)
	for _, found := range known {
		if slices.Equal(found.paths, paths) {
			return found.forms, found.ok
		}
	}
	forms, ok = urlpath.Obfuscations(paths)
	if len(known) < 4 {
		caddyhttp.SetVar(r.Context(), obfuscationsVar, append(slices.Clip(known), knownObfuscations{paths, forms, ok}))
	}
	return forms, ok
}
