package gate

import (
	"net/url"
	"strings"
	"testing"
)

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
