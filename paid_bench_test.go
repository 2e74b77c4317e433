package paywall_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// BenchmarkRequest is what one request costs within Caddy, without the network: with ten
// foreign cookies beside ours, through a gate that is paid for, past the gate, and on the
// same site without a gate.
func BenchmarkRequest(b *testing.B) {
	config := strings.NewReplacer("file_server", "respond hello", "SETUP", "SETUP ADMIN").Replace(fiveLines)
	before, after, _ := strings.Cut(config, "\taxra_paywall")
	_, after, _ = strings.Cut(after, "\n\t}\n")
	for _, bench := range []struct{ name, config, path string }{
		{"paid", config, "/premium/article.html"},
		{"outside", config, "/free/article.html"},
		{"no gate", before + after, "/premium/article.html"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			w := newWorld(b, worldOptions{Caddyfile: config})
			v := w.visitor()
			v.buy("/premium/article.html", cardGood)
			w.load(bench.config)
			server := onlyServer(b)
			request := httptest.NewRequest(http.MethodGet, w.site+bench.path, nil)
			for _, cookie := range v.cookies() {
				request.AddCookie(cookie)
			}
			for name := range strings.SplitSeq("abcdefghij", "") {
				request.AddCookie(&http.Cookie{Name: "foreign_" + name, Value: strings.Repeat("x", 40)})
			}
			b.ReportAllocs()
			for b.Loop() {
				recorder := httptest.NewRecorder()
				server.ServeHTTP(recorder, request)
				if recorder.Code != http.StatusOK {
					b.Fatal(recorder.Code, recorder.Body.String())
				}
			}
		})
	}
}

// onlyServer is the server of the running configuration.
func onlyServer(t testing.TB) *caddyhttp.Server {
	t.Helper()
	module, err := caddy.ActiveContext().App("http")
	mustDo(t, err)
	app, ok := module.(*caddyhttp.App)
	if !ok || len(app.Servers) != 1 {
		t.Fatal("there is not one server")
	}
	for _, server := range app.Servers {
		return server
	}
	return nil
}
