package paywall

import "testing"

func TestCleanAddress(t *testing.T) {
	for address, want := range map[string]string{
		"/a": "/a", "/a?": "/a?", "/a?b=1": "/a?b=1", `/a?axra_link=x"y&b`: "/a?b", "https://a/?axra_link=x#y": "https://a/#y",
		"/?&axra_link=x": "/?", "/?axra_links=x": "/?axra_links=x", "/?axra_session=x&b=%20&axra_try=1": "/?b=%20",
	} {
		if got := cleanAddress(address); got != want {
			t.Errorf("%q became %q, want %q", address, got, want)
		}
	}
}
