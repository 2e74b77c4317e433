package paywall_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
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

// G8: no part of a free page is a socket. A proxy takes the connection whatever it was
// told, so this looks at all that comes over it.
func TestG8NoPartOfAFreePageIsUpgraded(t *testing.T) {
	application := echo(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "free")
			return
		}
		connection, stream, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer connection.Close() //nolint:errcheck // nothing to be done
		_, _ = stream.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + marker)
		_ = stream.Flush()
	})
	for name, option := range map[string]string{"a free page": "preview 1 per 30d", "a teaser": "teaser /teaser"} {
		w := newWorld(t, worldOptions{Caddyfile: strings.Replace(gateWith(option, ""), "\tfile_server", "\treverse_proxy "+application, 1)})
		v := w.visitor()
		v.open("/premium/free")
		address, err := url.Parse(w.site + "/premium/free")
		mustDo(t, err)
		cookies := ""
		for _, cookie := range v.client.Jar.Cookies(address) {
			cookies += cookie.Name + "=" + cookie.Value + "; "
		}
		_, answer := w.raw("GET /premium/socket HTTP/1.1\r\nHost: localhost:" + w.port + "\r\nAccept: text/html\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Dest: image\r\n" +
			"Referer: " + w.site + "/premium/free\r\nCookie: " + cookies + "\r\n\r\n")
		if strings.Contains(answer, marker) {
			t.Errorf("%s: %q", name, answer)
		}
		w.stop()
	}
}
