package gate

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/internal/urlpath"
)

// Coverage says whether a request is the gate's business.
type Coverage int

// The kinds of coverage.
const (
	NotCovered Coverage = iota
	Covered
	Ambiguous // covered or not, depending on who reads the path
)

// Matcher decides which requests a gate covers. It asks Caddy's matchers about the path as Caddy reads it, and
// about the other paths under which a file server or an application may serve the same content: see urlpath.
//
// What a `not` matcher exempts stays exempt under its aliases: with `not path /login`, a visitor of /login need not pay
// because /login/ is not exempt.
type Matcher struct {
	sets      caddyhttp.MatcherSets
	fast      fastMatcher
	split     []splitSet
	pathsOnly bool // no matcher reads anything but the path
}

// splitSet is a matcher set in two parts: matchers that are asked about aliases, and `not` matchers.
type splitSet struct{ positive, negative caddyhttp.MatcherSet }

// NewMatcher returns the matcher of a gate with these matcher sets; without any, it covers every request.
func NewMatcher(sets caddyhttp.MatcherSets) *Matcher {
	m := &Matcher{sets: sets, fast: newFastMatcher(sets), split: make([]splitSet, len(sets)), pathsOnly: len(sets) > 0}
	for i, set := range sets {
		for _, matcher := range set {
			if _, isNot := matcher.(*caddyhttp.MatchNot); isNot {
				m.split[i].negative = append(m.split[i].negative, matcher)
			} else {
				m.split[i].positive = append(m.split[i].positive, matcher)
			}
			_, isPath := matcher.(*caddyhttp.MatchPath)
			m.pathsOnly = m.pathsOnly && isPath
		}
	}
	return m
}

// Coverage decides whether a request is covered. If a matcher fails, it is.
func (m *Matcher) Coverage(r *http.Request) (Coverage, error) {
	if len(m.sets) == 0 {
		return Covered, nil
	}
	if match, err := m.fast.match(r); err != nil || match {
		return Covered, err
	}
	original := OriginalURL(r)
	switch {
	case r.URL.Opaque != "" || original.Opaque != "":
		return Ambiguous, nil // "GET http:paid/a" has no path, and a proxy passes it on
	case !m.pathsOnly && !isWellFormed(r.URL.RawQuery):
		return Ambiguous, nil // a query matcher sees none of it, an application may
	}
	if !m.fast.isFar(r.URL.Path) {
		if match, err := m.matchAny(r, urlpath.Aliases(r.URL.Path), r); err != nil || match {
			return Covered, err
		}
	}
	if original.Path != r.URL.Path {
		if match, err := m.matchAny(r, urlpath.Aliases(original.Path), r); err != nil || match {
			return Covered, err
		}
	}
	if found, err := m.routes(r, original); err != nil || found != NotCovered {
		return found, err
	}
	return m.obfuscations(r, original)
}

// routes decides about the paths by which an application may route instead of the request's own.
func (m *Matcher) routes(r *http.Request, original *url.URL) (Coverage, error) {
	for _, address := range []*url.URL{original, r.URL} {
		routes, ok := urlpath.Routes(address)
		for _, route := range routes {
			if match, err := m.matchPath(r, route); err != nil || match {
				return Covered, err
			}
		}
		if !ok {
			return Ambiguous, nil
		}
		if address.Path == r.URL.Path && address.RawQuery == r.URL.RawQuery {
			break // not rewritten
		}
	}
	return NotCovered, nil
}

// obfuscations decides about what lenient servers may take the path for.
func (m *Matcher) obfuscations(r *http.Request, original *url.URL) (Coverage, error) {
	found := append(urlpath.Overrides(r.Header, original, r.URL), urlpath.Suspicious(r.URL)...)
	coverage, err := m.matchForms(r, found, m.matchPath)
	if coverage != NotCovered || err != nil || original.Path == r.URL.Path {
		return coverage, err
	}
	return m.matchForms(r, urlpath.Suspicious(original), func(r *http.Request, form string) (bool, error) {
		return m.matchAny(r, urlpath.Aliases(form), r)
	})
}

// matchForms asks about each form that suspicious paths may take.
func (m *Matcher) matchForms(r *http.Request, suspicious []string, match func(*http.Request, string) (bool, error)) (Coverage, error) {
	forms, ok := obfuscationsOf(r, suspicious)
	if !ok {
		return Ambiguous, nil
	}
	for _, form := range forms {
		if form == r.URL.Path {
			continue // it has been asked about
		}
		isMatch, err := match(r, form)
		if !isMatch && err == nil {
			isMatch, err = m.matchBehindScript(r, form)
		}
		if isMatch || err != nil {
			return Ambiguous, err
		}
	}
	return NotCovered, nil
}

// matchBehindScript asks about what follows a script's name in an obfuscation. Nested scripts match: to try each form
// with each script would cost too much.
func (m *Matcher) matchBehindScript(r *http.Request, form string) (bool, error) {
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
func (m *Matcher) matchPath(r *http.Request, path string) (bool, error) {
	other := m.withPath(r, path)
	if match, err := m.sets.AnyMatchWithError(other); err != nil || match {
		return true, err
	}
	return m.matchAny(r, urlpath.Aliases(path), other)
}

// matchAny asks the positive matchers about other paths, and the negative ones about the request exempt.
func (m *Matcher) matchAny(r *http.Request, paths []string, exempt *http.Request) (bool, error) {
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
func (m *Matcher) withPath(r *http.Request, path string) *http.Request {
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

// withoutFinalDot makes a fully qualified host name, with or without a port, match as Caddy's host matcher compares it.
func withoutFinalDot(host string) string {
	return strings.Replace(strings.TrimSuffix(host, "."), ".:", ":", 1)
}

// Sets are Caddy's matcher sets.
func (m *Matcher) Sets() caddyhttp.MatcherSets { return m.sets }
