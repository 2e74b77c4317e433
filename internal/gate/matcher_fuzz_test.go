package gate

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// FuzzFarPaths: a path that is far from a gate is answered as if Caddy's matchers had been asked about its aliases.
func FuzzFarPaths(f *testing.F) {
	for _, pattern := range []string{
		"/premium/*", "/Prem*", "/", "*", "*.pdf", "/a*b", "/a//b/*", "/a%2fb", "/{path}", "/[a]", "/x.", "", "/a/index.html", "/a/b/*", "/a/index*", "/a.php/b",
	} {
		for _, path := range []string{
			"/premium", "/PREMIUM/a", "/free/a.html", "/", "/a", "/a/", "/a/index.txt", "/a.html.gz", "/a.html", "/a/c/index.html", "/a.php/premium", "/pre", "//premium", "/othe\u212a", "b",
		} {
			f.Add(pattern, path)
		}
	}
	f.Fuzz(func(t *testing.T, pattern, path string) {
		matcher := &caddyhttp.MatchPath{"/other", pattern}
		if err := matcher.Provision(caddy.Context{}); err != nil {
			t.Fatal(err)
		}
		quick := NewMatcher(caddyhttp.MatcherSets{{matcher}})
		full := *quick
		full.prefixes = []string{""} // nothing is far
		if !quick.isFar(path) {
			return
		}
		r := request(t, "/")
		r.URL = &url.URL{Path: path}
		r = r.WithContext(context.WithValue(r.Context(), caddyhttp.OriginalRequestCtxKey, http.Request{URL: r.URL}))
		got, want := coverageOf(t, quick, r), coverageOf(t, &full, r)
		if match, _ := full.matchAny(r, r, path); got != want || match {
			t.Errorf("%q, far from %q, is %s, and %s by its aliases", path, pattern, got, want)
		}
	})
}

// FuzzCoverage: where a lenient server finds the folder of the gate in a path, the gate covers or refuses it.
func FuzzCoverage(f *testing.F) {
	for _, seed := range seeds {
		f.Add(seed)
	}
	gates := fuzzGates(f)
	f.Fuzz(func(t *testing.T, input string) {
		checkLenient(t, gates, fromTokens(input))
	})
}

// TestCoverageOfRandomPaths is FuzzCoverage for every run of the tests.
func TestCoverageOfRandomPaths(t *testing.T) {
	gates := fuzzGates(t)
	for _, target := range randomPaths(4000) {
		checkLenient(t, gates, target)
	}
}

func fuzzGates(t testing.TB) map[string]*Matcher {
	t.Helper()
	return map[string]*Matcher{
		"path": newGate(t, "path /paid/*"), "regexp": newGate(t, "path_regexp ^/paid/"), "not": newGate(t, "not path /free/*"),
	}
}

// checkLenient fails where a gate does not cover a path that a lenient server finds in the folder /paid/.
func checkLenient(t *testing.T, gates map[string]*Matcher, target string) {
	t.Helper()
	if !strings.HasPrefix(target, "/") || strings.ContainsAny(target, " \r\n\t") {
		return
	}
	r, err := newRequest(target)
	if err != nil {
		return
	}
	raw, _, _ := strings.Cut(target, "?")
	server, found := lenientServer(raw)
	if !found && r.URL.Path != raw {
		server, found = lenientServer((&url.URL{Path: r.URL.Path}).EscapedPath())
	}
	for name, gate := range gates {
		if got := coverageOf(t, gate, r); found && got == NotCovered {
			t.Errorf("gate %s: %q is not Covered, but %s finds /paid/ in it", name, target, server)
		}
	}
}
