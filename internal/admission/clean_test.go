package admission

import (
	"testing"

	"github.com/caddy-axra/paywall/internal/gate"
)

// R1 and what else the gate adds to an address: the handlers behind see the one that the browser wanted.
func TestR1TheHandlersBehindSeeNoParametersOfTheGate(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"":                                      "/a|/a||",
		"id=2&b":                                "/a?id=2&b|/a?id=2&b|id=2&b|?id=2&b",
		"axra_link=secret":                      "/a|/a||",
		"axra_query=aWQ9MQ&axra_session=x":      "/a|/a||",
		"id=2&axra_query=aWQ9MQ":                "/a?id=2|/a?id=2|id=2|?id=2",
		"a=1&axra_try=2&b":                      "/a?a=1&b|/a?a=1&b|a=1&b|?a=1&b",
		"a=axra_x&axraqueryx=1":                 "/a?a=axra_x&axraqueryx=1|/a?a=axra_x&axraqueryx=1|a=axra_x&axraqueryx=1|?a=axra_x&axraqueryx=1",
		"x=1&axra_device=secret&axra_device_id": "/a?x=1|/a?x=1|x=1|?x=1",
	} {
		target := "/a"
		if query != "" {
			target += "?" + query
		}
		r := request(target, "Referer: https://example.com/b?axra_link=secret&q=1#top", "Referer: https://example.com/c")
		clean := WithoutGateParams(r)
		got := clean.RequestURI + "|" + replaced(clean, "{http.request.orig_uri}|{http.request.orig_uri.query}|{http.request.orig_uri.prefixed_query}")
		if got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
		if original := gate.OriginalURL(clean).RequestURI(); original != clean.RequestURI {
			t.Errorf("%s: the original address is %s", query, original)
		}
		if gate.OriginalURL(r).RawQuery != query || r.RequestURI != target {
			t.Errorf("%s: the gate has lost its parameters: %s", query, gate.OriginalURL(r))
		}
		if referer := clean.Header["Referer"]; referer[0] != "https://example.com/b?q=1#top" || referer[1] != "https://example.com/c" {
			t.Errorf("Referer %q", referer)
		}
	}
}
