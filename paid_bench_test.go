package paywall_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall"
	"github.com/caddy-axra/paywall/internal/sitetest"
)

// benchSite is the five lines of the README before something that needs no disk, and the
// same without the gate.
func benchSite() (gated, ungated string) {
	gated = strings.NewReplacer("file_server", "respond hello", "SETUP", "SETUP ADMIN").Replace(sitetest.FiveLines)
	before, after, _ := strings.Cut(gated, "\taxra_paywall")
	_, after, _ = strings.Cut(after, "\n\t}\n")
	return gated, before + after
}

// addForeignCookies adds ten cookies of others.
func addForeignCookies(r *http.Request) {
	for name := range strings.SplitSeq("abcdefghij", "") {
		r.AddCookie(&http.Cookie{Name: "foreign_" + name, Value: strings.Repeat("x", 40)})
	}
}

// newBenchWorld is a world whose log does not come between the lines of the results.
func newBenchWorld(b *testing.B, config string) *sitetest.World {
	b.Helper()
	caddy.BufferedLog()                                                       // until the log file is open
	return newWorld(b, sitetest.Options{Caddyfile: config, LogLevel: "INFO"}) // as on most sites
}

// BenchmarkRequest is what one request costs within Caddy, without the network: with ten
// foreign cookies beside ours, through a gate that is paid for, turned away by it, past
// the gate, and on the same site without a gate.
func BenchmarkRequest(b *testing.B) {
	gated, ungated := benchSite()
	buys := func(v *sitetest.Visitor) { v.Buy(article) }
	begins := func(v *sitetest.Visitor) { v.Open(article) }
	for _, bench := range []struct {
		name, config, path string
		header             http.Header
		before             func(*sitetest.Visitor)
		status             int
	}{
		{"paid", gated, article, nil, buys, http.StatusOK},
		{"unpaid", gated, article, nil, func(*sitetest.Visitor) {}, http.StatusPaymentRequired},
		{"navigation with a checkout open", gated, article, sitetest.Navigation, begins, http.StatusSeeOther},
		{"outside", gated, "/free/article.html", nil, buys, http.StatusOK},
		{"no gate", ungated, article, nil, buys, http.StatusOK},
	} {
		b.Run(bench.name, func(b *testing.B) {
			w := newBenchWorld(b, gated)
			v := w.Visitor()
			bench.before(v)
			paywall.UseRealClock() // that of the tests takes a lock
			w.Load(bench.config)
			server := onlyServer(b)
			request := httptest.NewRequest(http.MethodGet, w.Site+bench.path, nil)
			maps.Copy(request.Header, bench.header)
			for _, cookie := range v.Cookies() {
				request.AddCookie(cookie)
			}
			addForeignCookies(request)
			calls := w.Creations()
			b.ReportAllocs()
			for b.Loop() {
				recorder := httptest.NewRecorder()
				server.ServeHTTP(recorder, request)
				if recorder.Code != bench.status {
					b.Fatal(recorder.Code, recorder.Body.String())
				}
			}
			if w.Creations() != calls {
				b.Error("Axra was called")
			}
		})
	}
}

// BenchmarkDecision is what the gate takes to find out whether a visitor has paid, with ten foreign cookies beside ours.
// internal/access compares it with what golang-jwt takes.
func BenchmarkDecision(b *testing.B) {
	for _, algorithm := range []string{"HS256", "EdDSA"} {
		b.Run(algorithm, func(b *testing.B) { benchDecision(b, algorithm) })
	}
}

func benchDecision(b *testing.B, algorithm string) {
	w := newBenchWorld(b, signingWith(algorithm))
	gate, name, raw := boughtGate(b, w)
	paywall.UseRealClock() // that of the tests takes a lock
	for _, bench := range decisions(name, raw) {
		b.Run(bench.name, func(b *testing.B) {
			request := prepared(b, w.Site+article, bench.cookies...)
			b.ReportAllocs()
			for b.Loop() {
				if gate.Opens(request) != bench.open {
					b.Fatal("decided otherwise")
				}
			}
		})
	}
	b.Run("many visitors", func(b *testing.B) {
		var requests []*http.Request
		for i := range 1000 {
			request := prepared(b, w.Site+article, &http.Cookie{Name: name, Value: another(b, gate, raw, w.Site, i)})
			gate.Opens(request) // the first time the ledger is asked
			requests = append(requests, request)
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if !gate.Opens(requests[i%len(requests)]) {
				b.Fatal("it does not open")
			}
		}
	})
	b.Run("whether the gate covers", func(b *testing.B) {
		request := prepared(b, w.Site+article)
		b.ReportAllocs()
		for b.Loop() {
			if !gate.Covers(request) {
				b.Fatal("it does not")
			}
		}
	})
}

// signingWith is a gated site whose tokens are signed so.
func signingWith(algorithm string) string {
	gated, _ := benchSite()
	return strings.Replace(gated, "endpoint       ENDPOINT", "endpoint ENDPOINT\n\t\tsigning_algorithm "+algorithm, 1)
}

// boughtGate is the gate of a world, and the cookie of somebody who has paid for it.
func boughtGate(t testing.TB, w *sitetest.World) (gate paywall.Gate, name, raw string) {
	t.Helper()
	v := w.Visitor()
	v.Buy(article)
	gate, err := paywall.OnlyGate(onlyServer(t))
	mustDo(t, err)
	name, raw = accessCookie(t, v)
	return gate, name, raw
}

// decision is what a request shows to a gate, and what that makes of it.
type decision struct {
	name    string
	cookies []*http.Cookie
	open    bool
	allocs  float64 // at most
}

// decisions are those about whoever shows an access cookie, or does not. A bad token
// costs a digest, a signature check and an error.
func decisions(name, raw string) []decision {
	ours := &http.Cookie{Name: name, Value: raw}
	garbage := &http.Cookie{Name: name, Value: raw[:len(raw)-8] + "AAAAAAAA"}
	return []decision{
		{"paid", []*http.Cookie{ours}, true, 1},
		{"unpaid", nil, false, 1},
		{"twice the same cookie", []*http.Cookie{ours, ours}, true, 1},
		{"duplicate cookies", []*http.Cookie{garbage, ours}, true, 20},
		{"garbage", []*http.Cookie{garbage}, false, 20},
	}
}

// The decision about a request that comes again costs no memory worth mentioning.
func TestADecisionAllocatesAtMostOnce(t *testing.T) {
	for _, algorithm := range []string{"HS256", "EdDSA"} {
		w := newWorld(t, sitetest.Options{Caddyfile: signingWith(algorithm)})
		gate, name, raw := boughtGate(t, w)
		for _, test := range decisions(name, raw) {
			t.Run(algorithm+"/"+test.name, func(t *testing.T) {
				request := prepared(t, w.Site+article, test.cookies...)
				allocs := testing.AllocsPerRun(1000, func() {
					if gate.Opens(request) != test.open {
						t.Error("decided otherwise")
					}
				})
				if allocs > test.allocs {
					t.Errorf("%v allocations, want at most %v", allocs, test.allocs)
				}
			})
		}
		w.Stop()
	}
}

// another is the same purchase in another token.
func another(b *testing.B, gate paywall.Gate, raw, site string, number int) string {
	b.Helper()
	access, err := gate.Read(raw, site)
	mustDo(b, err)
	access.Until = access.Until.Add(time.Duration(-number) * time.Second)
	raw, err = gate.Sign(access)
	mustDo(b, err)
	return raw
}

// accessCookie is the cookie with the visitor's access token.
func accessCookie(t testing.TB, v *sitetest.Visitor) (name, value string) {
	t.Helper()
	for _, cookie := range v.Cookies() {
		if strings.Contains(cookie.Name, "axra_t_") {
			return cookie.Name, cookie.Value
		}
	}
	t.Fatal("there is no access cookie")
	return "", ""
}

// prepared is a request as handlers get it.
func prepared(t testing.TB, address string, cookies ...*http.Cookie) *http.Request {
	t.Helper()
	request := httptest.NewRequest(http.MethodGet, address, nil)
	addForeignCookies(request)
	for _, cookie := range cookies {
		request.AddCookie(cookie)
	}
	return caddyhttp.PrepareRequest(request, caddy.NewReplacer(), httptest.NewRecorder(), onlyServer(t))
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
