package paywall_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-axra/paywall/internal/sitetest"
)

// Handlers around the gate hold answers back; the way to the checkout stays whole.
func TestCheckoutRedirectThroughOtherHandlers(t *testing.T) {
	w := newWorld(t, sitetest.Options{})
	for name, around := range map[string]string{
		"encode":    "encode gzip zstd",
		"intercept": "intercept {\n\t\t@303 status 303\n\t\thandle_response @303 {\n\t\t\trespond 303\n\t\t}\n\t}",
		"header":    "header {\n\t\t-Server\n\t\tX-Frame-Options DENY\n\t}",
		"templates": "templates",
	} {
		t.Run(name, func(t *testing.T) {
			w.Load(strings.Replace(sitetest.FiveLines, "\taxra_paywall", "\t"+around+"\n\taxra_paywall", 1))
			v := w.Visitor()
			header := sitetest.Navigation.Clone()
			header.Set("Accept-Encoding", "gzip")
			answer := v.Do(http.MethodGet, article, header, nil)
			if answer.Status != http.StatusSeeOther || !strings.Contains(answer.Location(), "?token=") {
				t.Fatalf("%d to %q", answer.Status, answer.Location())
			}
			back := v.Pay(v.Open(answer.Location()))
			w.Delivered()
			v.Browse(back.Location()).WantPaid(t)
		})
	}
}

// FC9: a visitor who came by another name of the site is brought to its own address before paying, once.
func TestFC9OtherHostIsBroughtHomeBeforePaying(t *testing.T) {
	config := strings.Replace(sitetest.FiveLines, "http://localhost:PORT {", "http://localhost:PORT, http://127.0.0.1:PORT {", 1)
	w := newWorld(t, sitetest.Options{Caddyfile: strings.Replace(config, "access 30d", "access 30d\n\t\tsite_url http://localhost:PORT", 1)})
	v := w.Visitor()
	other := strings.Replace(w.Site, "localhost", "127.0.0.1", 1)
	first := v.Open(other + "/premium/article.html?x=1")
	if w.Creations() != 0 || !strings.HasPrefix(first.Location(), w.Site+"/premium/article.html?x=1") {
		t.Fatalf("%d to %q with %d sessions", first.Status, first.Location(), w.Creations())
	}
	back := v.Pay(v.Browse(first.Location()))
	w.Delivered()
	v.Browse(back.Location()).WantPaid(t)
}

// proxied is a browser behind a proxy that ends TLS: https://shop.test outside, plain http with the same Host inside.
type proxied struct {
	w       *sitetest.World
	cookies map[string]string
}

func (p *proxied) open(target string) (location, body string) {
	u, err := url.Parse(target)
	mustDo(p.w.T, err)
	r, err := http.NewRequestWithContext(p.w.T.Context(), http.MethodGet, "http://localhost:"+p.w.Port+u.RequestURI(), nil)
	mustDo(p.w.T, err)
	r.Header, r.Host = sitetest.Navigation.Clone(), "shop.test"
	for name, value := range p.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	mustDo(p.w.T, err)
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	mustDo(p.w.T, err)
	for _, cookie := range response.Cookies() {
		delete(p.cookies, cookie.Name)
		if cookie.MaxAge >= 0 {
			p.cookies[cookie.Name] = cookie.Value
		}
	}
	return response.Header.Get("Location"), string(read)
}

// browse follows redirects until a page or a checkout.
func (p *proxied) browse(target string) (end, body string) {
	for range 10 {
		location, body := p.open(target)
		if location == "" || strings.Contains(location, "/checkout/") {
			return location, body
		}
		target = location
	}
	p.w.T.Fatalf("redirect loop, the last to %s", target)
	return "", ""
}

// FC9: a site without TLS cannot keep its Secure cookies, so its visitors are brought to https before paying. Behind a
// proxy that ends TLS it looks the same from here, and goes on; so do a gate behind a gate, and a second purchase.
func TestFC9BehindATLSProxy(t *testing.T) {
	config := strings.Replace(gateBehindGate("pass gold\n price 50 usd"), "http://localhost:PORT {", "http://shop.test:PORT, http://localhost:PORT {", 1)
	w := newWorld(t, sitetest.Options{Caddyfile: config})
	w.Write("premium/gold/a.html", sitetest.Marker)
	p := &proxied{w, map[string]string{}}
	if to, _ := p.open("https://shop.test/premium/article.html?x=1"); to != "https://shop.test/premium/article.html?x=1&axra_here=1" || w.Creations() != 0 {
		t.Fatalf("to %q with %d sessions", to, w.Creations())
	}
	checkout, _ := p.browse("https://shop.test/premium/article.html")
	back := w.Visitor().Pay(w.Visitor().Browse(checkout))
	w.Delivered()
	if _, body := p.browse(back.Location()); !strings.Contains(body, sitetest.Marker) {
		t.Fatalf("%.200s", body)
	}
	if end, _ := p.browse("https://shop.test" + goldPage); !strings.Contains(end, "/checkout/") {
		t.Errorf("the inner gate leads to %q", end)
	}
	mustDo(t, w.Sandbox.Refund(w.LastPayment().ID))
	w.Delivered()
	if _, body := p.browse("https://shop.test/premium/article.html"); !strings.Contains(body, "refunded") {
		t.Fatalf("%.300s", body)
	}
	if end, _ := p.browse("https://shop.test/premium/article.html?axra_restart=1"); !strings.Contains(end, "/checkout/") {
		t.Errorf("nobody can buy again: %q", end)
	}
}

func gateBehindGate(inner string) string {
	return strings.Replace(sitetest.FiveLines, "\troot ROOT", "\taxra_paywall /premium/gold/* {\n"+inner+"\n }\n\troot ROOT", 1)
}

const goldPage = "/premium/gold/a.html"
