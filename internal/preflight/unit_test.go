package preflight

import (
	"slices"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func TestSamplesMatchTheirPattern(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{"/premium/*", "/premium*", "/premium", "*.html", "/a/*/b", "/a/*/b/*", "*/feed"} {
		matcher := caddyhttp.MatchPath{pattern}
		for _, path := range samplesOf([]string{pattern}) {
			r := NewRequest(new(caddyhttp.Server), "GET", "example.com", path)
			if match, err := matcher.MatchWithError(r); err != nil || !match {
				t.Errorf("%s does not match its sample %s: %v", pattern, path, err)
			}
		}
	}
}

func TestHostsThatAxraCannotReach(t *testing.T) {
	t.Parallel()
	for host, private := range map[string]bool{
		"example.com": false, "203.0.113.5": false, "2001:db8::1": false,
		"localhost": true, "shop.localhost": true, "127.0.0.1": true, "10.1.2.3": true, "fd00::1": true,
		"intranet": true, "hooks.internal": true, "nas.local": true,
	} {
		if isPrivate(host) != private {
			t.Errorf("%s: %t", host, !private)
		}
	}
}

func TestTheLoggersOfAHost(t *testing.T) {
	t.Parallel()
	conf := &caddyhttp.ServerLogConfig{
		DefaultLoggerName: "rest", SkipHosts: []string{"quiet.example.com"},
		LoggerNames: map[string]caddyhttp.StringArray{"example.com": {"one", "two"}, "*.example.org": {"star"}},
	}
	for host, want := range map[string][]string{
		"example.com": {"one", "two"}, "www.example.org": {"star"}, "example.net": {"rest"}, "quiet.example.com": nil,
	} {
		if got := loggersOf(conf, host); !slices.Equal(got, want) {
			t.Errorf("%s: %v", host, got)
		}
	}
	conf.SkipUnmappedHosts = true
	if got := loggersOf(conf, "example.net"); got != nil {
		t.Errorf("a host without a log: %v", got)
	}
	if got := loggersOf(nil, "example.com"); got != nil {
		t.Errorf("a server without logs: %v", got)
	}
}
