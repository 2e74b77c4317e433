package gate

import (
	"context"
	"net/http"
	"net/url"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/internal/urlpath"
)

// pathMatcher is Caddy's own, as a configuration has it.
func pathMatcher(patterns ...string) caddyhttp.RequestMatcherWithError {
	matcher := caddyhttp.MatchPath(patterns)
	if err := matcher.Provision(caddy.Context{}); err != nil {
		panic(err)
	}
	return &matcher
}

func requestOf(path string) *http.Request {
	r := &http.Request{Method: http.MethodGet, Header: make(http.Header), URL: &url.URL{Path: path}}
	return r.WithContext(context.WithValue(context.Background(), caddy.ReplacerCtxKey, caddy.NewReplacer()))
}

// FuzzFastMatcher: what is answered without Caddy's matcher is what that would answer.
func FuzzFastMatcher(f *testing.F) {
	for _, pattern := range []string{"/premium/*", "/premium", "/prem*", "/", "/*", "*", "*.pdf", "/a*b", "/A/*", "/a//b/*", "/a%2fb", "/{path}", "/a/./b", "/[a]", "/x.", ""} {
		for _, path := range []string{
			"/premium/", "/premium", "/premium/a.html", "/premium/a.b-c_d/", "/Premium/a", "/premium//a", "/premium/./a", "/free/../premium/a", "/premium/a.", "/premium./a",
			"/premium/.a", "/premium/a..b", "/premium/ä", "/premium/a b", "/premium/a;b", `/premium\a`, "premium/a", "", "/", ".", "/.", "//", "/a/b", "/ab", "/x", "/x.", "/OTHER", "/a/../other", "/other/.", "/othe\u212a",
		} {
			f.Add(pattern, path)
		}
	}
	f.Fuzz(func(t *testing.T, pattern, path string) {
		sets := caddyhttp.MatcherSets{{pathMatcher("/other", pattern)}}
		r := requestOf(path)
		want, wantErr := sets.AnyMatchWithError(r)
		m := newFastMatcher(sets)
		if got, err := m.match(r); got != want || (err == nil) != (wantErr == nil) {
			t.Errorf("%q about %q: %t, %v; Caddy says %t, %v", pattern, path, got, err, want, wantErr)
		}
	})
}

// FuzzFarPaths: nothing that commonly leads to the content of a path that is far from a
// gate is the gate's.
func FuzzFarPaths(f *testing.F) {
	for _, pattern := range []string{"/premium/*", "/premium", "/prem*", "/", "/a/index.html", "/a/b/*", "/a/index*", "/a.html", "/a.php/b"} {
		for _, path := range []string{"/premium", "/free/a.html", "/", "/a", "/a/", "/a/index.html", "/a/index.txt", "/a.html.gz", "/a.html", "/b", "/a/c/index.html", "/a.php/c", "/premiums", "/pre"} {
			f.Add(pattern, path)
		}
	}
	f.Fuzz(func(t *testing.T, pattern, path string) {
		m := newFastMatcher(caddyhttp.MatcherSets{{pathMatcher(pattern)}})
		if !m.isFar(path) {
			return
		}
		for _, alias := range urlpath.Aliases(path) {
			if match, err := m.sets.AnyMatchWithError(requestOf(alias)); err != nil || match {
				t.Errorf("%q, which leads to the content of %q, is covered by %q: %v", alias, path, pattern, err)
			}
		}
	})
}

func TestAFastMatcherIsOneOfPathsAlone(t *testing.T) {
	var not caddyhttp.MatchNot
	method := caddyhttp.MatchMethod{"GET"}
	for _, c := range []struct {
		sets    caddyhttp.MatcherSets
		enabled bool
	}{
		{caddyhttp.MatcherSets{{pathMatcher("/premium/*")}}, true},
		{caddyhttp.MatcherSets{{pathMatcher("/premium/*")}, {pathMatcher("/a", "/b/*")}}, true},
		{nil, false},
		{caddyhttp.MatcherSets{{}}, false},
		{caddyhttp.MatcherSets{{pathMatcher("/premium/*"), not}}, false},
		{caddyhttp.MatcherSets{{method}}, false},
		{caddyhttp.MatcherSets{{pathMatcher("/premium/*")}, {method}}, false},
		{caddyhttp.MatcherSets{{pathMatcher("/premium/*", "*.pdf")}}, false},
		{caddyhttp.MatcherSets{{pathMatcher("/{http.vars.x}/*")}}, false},
		{caddyhttp.MatcherSets{{pathMatcher("/a%2f*")}}, false},
	} {
		if m := newFastMatcher(c.sets); m.enabled != c.enabled {
			t.Errorf("%v: enabled is %t", c.sets, m.enabled)
		}
	}
}
