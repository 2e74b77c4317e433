package paywall_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Whatever stands after the gate, the teaser is all that is served.
func TestNoTeaserLeadsToThePaidPage(t *testing.T) {
	for name, test := range map[string]struct{ option, after, want string }{
		"try_files after the gate": {"teaser /teasers{path}", "handle {\n try_files {path} {path}.html /index.html\n file_server\n }", "TEASER"},
		"php after the gate":       {"teaser /teasers{path}", "php_fastcgi localhost:1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, worldOptions{Caddyfile: gateWith(test.option, test.after)})
			w.write("teasers/premium/article.html", "TEASER")
			for _, target := range []string{"/premium/article.html", "/premium/other.html"} {
				answer := w.visitor().open(target)
				if strings.Contains(answer.body, marker) || target == "/premium/article.html" && !strings.HasPrefix(answer.body, test.want) {
					t.Errorf("%s: %d %.100s", target, answer.status, answer.body)
				}
			}
		})
	}
}

// echo is a lenient application.
func echo(t *testing.T, answer http.HandlerFunc) string {
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}
