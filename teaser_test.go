package paywall_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Whatever stands after the gate or in the block, the teaser is all that is served.
func TestNoTeaserLeadsToThePaidPage(t *testing.T) {
	for name, test := range map[string]struct{ option, after, want string }{
		"try_files after the gate":   {"teaser /teasers{path}", "handle {\n try_files {path} {path}.html /index.html\n file_server\n }", "TEASER"},
		"php after the gate":         {"teaser /teasers{path}", "php_fastcgi localhost:1", ""},
		"rewrite and try_files":      {"teaser {\n rewrite * /teasers{path}\n try_files {path} /teasers/default.html\n file_server\n }", "", "TEASER"},
		"a route":                    {"teaser {\n route {\n rewrite * /teasers{path}\n try_files {path} /teasers/default.html\n file_server\n }\n }", "", "TEASER"},
		"a block that says nothing":  {"teaser {\n header X-Teaser yes\n }", "", ""},
		"a block that is for others": {"teaser {\n @de header Accept-Language de*\n respond @de Kaufen\n }", "", ""},
		"a block that only rewrites": {"teaser {\n rewrite * /teaser.html\n }", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, worldOptions{Caddyfile: gateWith(test.option, test.after)})
			w.write("teasers/premium/article.html", "TEASER")
			w.write("teasers/default.html", "TEASER")
			for _, target := range []string{"/premium/article.html", "/premium/other.html"} {
				answer := w.visitor().open(target)
				if strings.Contains(answer.body, marker) || target == "/premium/article.html" && !strings.HasPrefix(answer.body, test.want) {
					t.Errorf("%s: %d %.100s", target, answer.status, answer.body)
				}
				if test.want == "" && name != "php after the gate" {
					answer.wantCheckout(t, w)
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
