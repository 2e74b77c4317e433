package paywall_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// Handlers around the gate hold answers back; the way to the checkout stays whole.
func TestCheckoutRedirectThroughOtherHandlers(t *testing.T) {
	for name, around := range map[string]string{
		"encode":    "encode gzip zstd",
		"intercept": "intercept {\n\t\t@303 status 303\n\t\thandle_response @303 {\n\t\t\trespond 303\n\t\t}\n\t}",
		"header":    "header {\n\t\t-Server\n\t\tX-Frame-Options DENY\n\t}",
		"templates": "templates",
	} {
		t.Run(name, func(t *testing.T) {
			config := strings.Replace(fiveLines, "\taxra_paywall /premium/* {\n\t\tprice  5.00 usd\n\t\taccess 30d\n\t}\n",
				"\t"+around+"\n\thandle /premium/* {\n\t\taxra_paywall {\n\t\t\tprice 5.00 usd\n\t\t}\n\t\troot ROOT\n\t\tfile_server\n\t}\n", 1)
			w := newWorld(t, worldOptions{Caddyfile: config})
			v := w.visitor()
			header := navigation.Clone()
			header.Set("Accept-Encoding", "gzip")
			answer := v.do(http.MethodGet, "/premium/article.html", header, nil)
			if answer.status != http.StatusSeeOther || !strings.Contains(answer.location(), "?token=") {
				t.Fatalf("%d to %q", answer.status, answer.location())
			}
			back := v.pay(v.open(answer.location()), cardGood)
			w.delivered()
			v.browse(back.location()).wantPaid(t)
		})
	}
}

// A browser takes white space beyond ASCII for a part of a name, so that a sibling
// domain may set such a cookie; it is not ours.
func TestCookiesOfSimilarNamesAreNotOurs(t *testing.T) {
	w := newWorld(t, worldOptions{})
	attacker := w.visitor()
	attacker.open("/premium/article.html").wantCheckout(t, w)
	planted := attacker.cookies()[0]
	for _, space := range []string{"\u2000", "\u0085", "\u00a0", "\u3000"} {
		header := navigation.Clone()
		header.Set("Cookie", space+planted.Name+"="+planted.Value)
		before := w.creations()
		w.visitor().do(http.MethodGet, "/premium/article.html", header, nil).wantCheckout(t, w)
		if w.creations() != before+1 {
			t.Errorf("%q: the planted checkout was used", space)
		}
	}
}

// What the gate refuses is not given to handle_errors, which could serve the file.
func TestRefusalsStayOutOfHandleErrors(t *testing.T) {
	config := strings.Replace(strings.Replace(fiveLines, "SETUP", "SETUP MAX", 1), "\tfile_server\n}",
		"\tfile_server\n\thandle_errors {\n\t\troot ROOT\n\t\tfile_server\n\t}\n}", 1)
	t.Run("too many headers", func(t *testing.T) {
		w := newWorld(t, worldOptions{Caddyfile: config})
		status, body := w.rawGet("/premium/article.html", "X-Big: "+strings.Repeat("x", 200<<10))
		if status != http.StatusRequestHeaderFieldsTooLarge || strings.Contains(body, marker) {
			t.Errorf("status %d %.60s", status, body)
		}
	})
	t.Run("a matcher that fails", func(t *testing.T) {
		w := newWorld(t, worldOptions{Caddyfile: strings.Replace(config, "axra_paywall /premium/* {",
			"@paid expression path('/premium/*') && int({query.n}) >= 0\n\taxra_paywall @paid {\n\t\tpass premium", 1)})
		status, body := w.rawGet("/premium/article.html?n=x")
		if status != http.StatusInternalServerError || strings.Contains(body, marker) {
			t.Errorf("status %d %.60s", status, body)
		}
	})
}

// T7: however the refund names the payment, and whatever else it carries.
func TestRefundsInOtherForms(t *testing.T) {
	for name, data := range map[string]string{
		"metadata of its own":      `{"paymentId":"PAYMENT","metadata":{"reason":"asked"}}`,
		"only the session":         `{"metadata":{"sessionId":"SESSION"}}`,
		"session at the top":       `{"sessionId":"SESSION"}`,
		"id for the payment":       `{"id":"PAYMENT"}`,
		"transactionId":            `{"transactionId":"PAYMENT"}`,
		"amount as a string":       `{"paymentId":"PAYMENT","amount":"5.00","currency":"usd"}`,
		"unreadable amount":        `{"paymentId":"PAYMENT","amount":null,"currency":null}`,
		"an id beside the payment": `{"id":"rf_1","paymentId":"PAYMENT"}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			v := w.visitor()
			v.buy("/premium/article.html", cardGood).wantPaid(t)
			paid := w.lastPayment()
			body := []byte(fmt.Sprintf(`{"event":"payment.refunded","timestamp":%q,"data":%s}`,
				w.now().UTC().Format(time.RFC3339), strings.NewReplacer("PAYMENT", paid.ID, "SESSION", paid.SessionID).Replace(data)))
			if answer := w.deliver(body, sign(body, webhookSecret)); answer.status != http.StatusOK {
				t.Fatalf("answers %d", answer.status)
			}
			v.open("/premium/article.html").wantPage(t, http.StatusPaymentRequired, "This payment was refunded")
		})
	}
}

// A checkout that is paid days later still counts, however often its visitor has
// looked in meanwhile.
func TestLatePaymentAfterManyVisits(t *testing.T) {
	w := newWorld(t, worldOptions{})
	v := w.visitor()
	_, event := v.started("/premium/article.html")
	for range 8 {
		w.pass(31 * time.Minute)
		v.open("/premium/article.html").wantCheckout(t, w)
	}
	body := encode(t, event)
	w.deliver(body, sign(body, webhookSecret))
	v.browse("/premium/article.html").wantPaid(t)
}

// A visitor who came by another name of the site is brought to its own address
// before paying: only there the cookies come back.
func TestOtherHostIsBroughtHomeBeforePaying(t *testing.T) {
	config := strings.Replace(fiveLines, "http://localhost:PORT {", "http://localhost:PORT, http://127.0.0.1:PORT {", 1)
	w := newWorld(t, worldOptions{Caddyfile: strings.Replace(config, "access 30d", "access 30d\n\t\tsite_url http://localhost:PORT", 1)})
	v := w.visitor()
	other := strings.Replace(w.site, "localhost", "127.0.0.1", 1)
	first := v.open(other + "/premium/article.html?x=1")
	if w.creations() != 0 || !strings.HasPrefix(first.location(), w.site+"/premium/article.html?x=1") {
		t.Fatalf("%d to %q with %d sessions", first.status, first.location(), w.creations())
	}
	back := v.pay(v.browse(first.location()), cardGood)
	w.delivered()
	v.browse(back.location()).wantPaid(t)
}

// A site that Caddy serves without TLS: the cookies are Secure, so the visitor is
// brought to https before paying. Behind a proxy that ends TLS it looks the same
// from here, and goes on.
func TestPlainHTTPIsBroughtToHTTPSBeforePaying(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: strings.Replace(fiveLines, "http://localhost:PORT {", "http://shop.example:PORT {", 1)})
	get := func(target, cookie string) (location, cookies string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.site+target, nil)
		mustDo(t, err)
		request.Header, request.Host = navigation.Clone(), "shop.example"
		if cookie != "" {
			request.Header.Set("Cookie", cookie)
		}
		response, err := w.visitor().client.Do(request)
		mustDo(t, err)
		defer response.Body.Close()
		cookies, _, _ = strings.Cut(response.Header.Get("Set-Cookie"), ";")
		return response.Header.Get("Location"), cookies
	}
	to, _ := get("/premium/a?x=1", "")
	if to != "https://shop.example/premium/a?x=1&axra_here=1" || w.creations() != 0 {
		t.Fatalf("to %q with %d sessions", to, w.creations())
	}
	to, cookie := get(strings.TrimPrefix(to, "https://shop.example"), "")
	if !strings.HasPrefix(to, w.axra.URL+"/checkout/") || w.creations() != 1 {
		t.Fatalf("to %q with %d sessions", to, w.creations())
	}
	if to, _ = get("/premium/a?axra_restart=1", cookie); !strings.HasPrefix(to, w.axra.URL+"/checkout/") || w.creations() != 2 {
		t.Fatalf("starting again leads to %q with %d sessions", to, w.creations())
	}
}

// Configurations under which one gate's buyers would get into another, or could not
// be sent back, are refused.
func TestRefusedOnLoad(t *testing.T) {
	for name, c := range map[string]struct{ config, want string }{
		"one name, two offers, one site_url": {strings.Replace(twoGates, "price 0.50 usd", "price 0.50 usd\n\t\tpass /premium/*\n\t\tsite_url http://localhost:PORT", 1), "same name"},
		"two gates without names": {strings.Replace(twoGates,
			"axra_paywall /premium/* {\n\t\tprice 5.00 usd\n\t}\n\taxra_paywall /cheap/* {\n\t\tprice 0.50 usd\n\t}",
			"handle /a/* {\n\t\taxra_paywall {\n\t\t\tprice 5.00 usd\n\t\t}\n\t}\n\thandle /b/* {\n\t\taxra_paywall {\n\t\t\tprice 5.00 usd\n\t\t}\n\t}", 1), "same name"},
		"no host and no site_url": {strings.Replace(fiveLines, "http://localhost:PORT", "http://:PORT", 1), "site_url"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(w.expand(c.config)), map[string]any{"filename": "Caddyfile"})
			mustDo(t, err)
			err = caddy.Load(adapted, true)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			w.visitor().open("/premium/article.html").wantCheckout(t, w) // the old one runs on
		})
	}
}

// C1: in all, whatever the order in which requests reach the limiter.
func TestC1ManyAtOnce(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: strings.Replace(fiveLines, "endpoint       ENDPOINT",
		"endpoint ENDPOINT\n\t\tlimit_per_client 20 1h", 1)})
	done := make(chan struct{})
	for range 100 {
		go func() {
			defer func() { done <- struct{}{} }()
			w.rawGet("/premium/article.html", "Accept: text/html")
		}()
	}
	for range 100 {
		<-done
	}
	if n := w.creations(); n > 20 {
		t.Errorf("%d sessions", n)
	}
}
