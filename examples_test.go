package paywall_test

import (
	"net/http"
	"os"
	"strings"
	"testing"
)

// The example lets partners in, and nobody by an empty header.
func TestTheExampleOfATeaserLetsPartnersIn(t *testing.T) {
	raw, err := os.ReadFile("examples/teaser.caddyfile")
	mustDo(t, err)
	_, site, _ := strings.Cut(string(raw), "example.com {")
	config := strings.SplitAfter(fiveLines, "http://localhost:PORT {")[0] + strings.Replace(site, "root /var/www", "root ROOT", 1)
	for _, token := range []string{"", "its secret"} {
		t.Setenv("PARTNER_TOKEN", token)
		w := newWorld(t, worldOptions{Caddyfile: config})
		w.write("articles/1.html", marker)
		for sent, want := range map[string]bool{"": false, "its secret": token != "", "another": false} {
			answer := w.visitor().do(http.MethodGet, "/articles/1.html", http.Header{"X-Partner": {sent}}, nil)
			if got := strings.Contains(answer.body, marker); got != want {
				t.Errorf("with the token %q, who sends %q is let in: %v (%d)", token, sent, got, answer.status)
			}
			if want && answer.header.Get("Cache-Control") != "private" {
				t.Errorf("a shared cache may keep it: %q", answer.header.Get("Cache-Control"))
			}
		}
		w.stop()
	}
}
