package paywall_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// proxied is a browser behind a proxy that ends TLS: https://shop.test outside, plain
// http with the same Host inside.
type proxied struct {
	w       *world
	cookies map[string]string
}

func (p *proxied) open(target string) (location, body string) {
	u, err := url.Parse(target)
	mustDo(p.w.t, err)
	r, err := http.NewRequestWithContext(p.w.t.Context(), http.MethodGet, "http://localhost:"+p.w.port+u.RequestURI(), nil)
	mustDo(p.w.t, err)
	r.Header = navigation.Clone()
	r.Host = "shop.test"
	for n, c := range p.cookies {
		r.AddCookie(&http.Cookie{Name: n, Value: c})
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	mustDo(p.w.t, err)
	defer resp.Body.Close() //nolint:errcheck // nothing to be done
	b, err := io.ReadAll(resp.Body)
	mustDo(p.w.t, err)
	for _, c := range resp.Cookies() {
		if c.MaxAge < 0 {
			delete(p.cookies, c.Name)
		} else {
			p.cookies[c.Name] = c.Value
		}
	}
	return resp.Header.Get("Location"), string(b)
}

func (p *proxied) browse(target string) (string, string) {
	for range 10 {
		location, body := p.open(target)
		if location == "" {
			return target, body
		}
		if strings.Contains(location, "/checkout/") {
			return location, ""
		}
		target = location
	}
	p.w.t.Errorf("redirect loop, the last to %s", target)
	return target, ""
}

func TestNestedBehindATLSProxy(t *testing.T) {
	config := strings.Replace(gateBehindGate("pass gold\n price 50 usd"), "http://localhost:PORT {", "http://shop.test:PORT, http://localhost:PORT {", 1)
	w := newWorld(t, worldOptions{Caddyfile: config})
	w.write("premium/gold/a.html", marker)
	p := &proxied{w, map[string]string{}}
	checkout, _ := p.browse("https://shop.test/premium/article.html")
	back := w.visitor().pay(w.visitor().browse(checkout), cardGood)
	w.delivered()
	_, body := p.browse(back.location())
	if !strings.Contains(body, marker) {
		t.Fatalf("%.200s", body)
	}
	if end, _ := p.browse("https://shop.test" + goldPage); !strings.Contains(end, "/checkout/") {
		t.Errorf("the inner gate leads to %s", end)
	}
}

func TestARefundIsBoughtAgainBehindATLSProxy(t *testing.T) {
	config := strings.Replace(fiveLines, "http://localhost:PORT {", "http://shop.test:PORT, http://localhost:PORT {", 1)
	w := newWorld(t, worldOptions{Caddyfile: config})
	p := &proxied{w, map[string]string{}}
	checkout, _ := p.browse("https://shop.test/premium/article.html")
	back := w.visitor().pay(w.visitor().browse(checkout), cardGood)
	w.delivered()
	p.browse(back.location())
	mustDo(t, w.sandbox.Refund(w.lastPayment().ID))
	w.delivered()
	_, body := p.browse("https://shop.test/premium/article.html")
	if !strings.Contains(body, "refunded") {
		t.Fatalf("%.300s", body)
	}
	if end, _ := p.browse("https://shop.test/premium/article.html?axra_restart=1"); !strings.Contains(end, "/checkout/") {
		t.Errorf("nobody can buy again: %s", end)
	}
}
