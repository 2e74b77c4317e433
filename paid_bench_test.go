package paywall_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-axra/paywall"
)

// benchSite is the five lines of the README before something that needs no disk, and the
// same without the gate.
func benchSite() (gated, ungated string) {
	gated = strings.NewReplacer("file_server", "respond hello", "SETUP", "SETUP ADMIN").Replace(fiveLines)
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

// BenchmarkRequest is what one request costs within Caddy, without the network: with ten
// foreign cookies beside ours, through a gate that is paid for, past the gate, and on the
// same site without a gate.
func BenchmarkRequest(b *testing.B) {
	gated, ungated := benchSite()
	for _, bench := range []struct{ name, config, path string }{
		{"paid", gated, "/premium/article.html"},
		{"outside", gated, "/free/article.html"},
		{"no gate", ungated, "/premium/article.html"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			w := newWorld(b, worldOptions{Caddyfile: gated})
			v := w.visitor()
			v.buy("/premium/article.html", cardGood)
			paywall.UseRealClock() // that of the tests takes a lock
			w.load(bench.config)
			server := onlyServer(b)
			request := httptest.NewRequest(http.MethodGet, w.site+bench.path, nil)
			for _, cookie := range v.cookies() {
				request.AddCookie(cookie)
			}
			addForeignCookies(request)
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

// BenchmarkDecision is what the gate takes to find out whether a visitor has paid, with
// ten foreign cookies beside ours; and, to compare, what golang-jwt takes to parse one
// such token.
func BenchmarkDecision(b *testing.B) {
	for _, algorithm := range []string{"HS256", "EdDSA"} {
		b.Run(algorithm, func(b *testing.B) { benchDecision(b, algorithm) })
	}
}

func benchDecision(b *testing.B, algorithm string) {
	gated, _ := benchSite()
	w := newWorld(b, worldOptions{Caddyfile: strings.Replace(gated, "endpoint       ENDPOINT", "endpoint ENDPOINT\n\t\tsigning_algorithm "+algorithm, 1)})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood)
	paywall.UseRealClock() // that of the tests takes a lock
	gate, err := paywall.OnlyGate(onlyServer(b))
	mustDo(b, err)
	name, raw := accessCookie(b, v)
	ours := &http.Cookie{Name: name, Value: raw}
	garbage := &http.Cookie{Name: name, Value: raw[:len(raw)-8] + "AAAAAAAA"}
	for _, bench := range []struct {
		name    string
		cookies []*http.Cookie
		open    bool
	}{
		{"paid", []*http.Cookie{ours}, true},
		{"unpaid", nil, false},
		{"duplicate cookies", []*http.Cookie{garbage, ours}, true},
		{"garbage", []*http.Cookie{garbage}, false},
	} {
		b.Run(bench.name, func(b *testing.B) {
			request := prepared(b, w.site+"/premium/article.html", bench.cookies...)
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
			requests = append(requests, prepared(b, w.site+"/premium/article.html", &http.Cookie{Name: name, Value: another(b, gate, raw, w.site, i)}))
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if !gate.Opens(requests[i%len(requests)]) {
				b.Fatal("it does not open")
			}
		}
	})
	b.Run("whether the gate covers", func(b *testing.B) {
		request := prepared(b, w.site+"/premium/article.html")
		b.ReportAllocs()
		for b.Loop() {
			if !gate.Reaches(request) {
				b.Fatal("it does not")
			}
		}
	})
	if algorithm == "HS256" {
		b.Run("golang-jwt parse", func(b *testing.B) { benchParse(b, gate, raw, w.site) })
	}
}

// another is the same purchase in another token.
func another(b *testing.B, gate paywall.Gate, raw, site string, number int) string {
	b.Helper()
	access, err := gate.Read(raw, site)
	mustDo(b, err)
	access.Payment = "pay_" + strconv.Itoa(number)
	raw, err = gate.Sign(access)
	mustDo(b, err)
	return raw
}

// benchParse parses a token of the same claims, as whoever checks it on each request
// would.
func benchParse(b *testing.B, gate paywall.Gate, raw, site string) {
	access, err := gate.Read(raw, site)
	mustDo(b, err)
	key := []byte(strings.Repeat("k", 32))
	type claims struct {
		jwt.RegisteredClaims
		Pass, Resource, Session, Payment string
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: "axra:0123456789abcdef", Audience: jwt.ClaimStrings{site},
			IssuedAt: jwt.NewNumericDate(access.Issued), ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour)),
		},
		Pass: access.Pass, Resource: access.Resource, Session: access.Session, Payment: access.Payment,
	}).SignedString(key)
	mustDo(b, err)
	b.ReportAllocs()
	for b.Loop() {
		parsed := new(claims)
		if _, err := jwt.ParseWithClaims(signed, parsed, func(*jwt.Token) (any, error) { return key, nil },
			jwt.WithValidMethods([]string{"HS256"}), jwt.WithAudience(site), jwt.WithExpirationRequired()); err != nil {
			b.Fatal(err)
		}
	}
}

// accessCookie is the cookie with the visitor's access token.
func accessCookie(t testing.TB, v *visitor) (name, value string) {
	t.Helper()
	for _, cookie := range v.cookies() {
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
