package paywall_test

import (
	"crypto/tls"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/sandbox"
)

// overTLS is fiveLines as a production site: HTTPS, with a certificate of Caddy's
// own authority.
const overTLS = `{
	SETUP
	local_certs
	skip_install_trust
	axra {
		api_key        {env.AXRA_API_KEY}
		webhook_secret {env.AXRA_WEBHOOK_SECRET}
		endpoint       ENDPOINT
	}
}
https://localhost:PORT {
	log
	axra_webhook /webhooks/axra
	axra_paywall /premium/* {
		price  5.00 usd
		access 30d
	}
	root ROOT
	file_server
}
`

func newTLSWorld(t *testing.T) *world {
	t.Helper()
	client := &http.Client{Timeout: 5 * time.Second, Transport: insecure()}
	t.Cleanup(client.CloseIdleConnections)
	w := newWorld(t, worldOptions{
		Caddyfile: overTLS,
		Sandbox:   sandbox.Config{Client: client},
	})
	w.site = "https://localhost:" + w.port
	mustDo(t, w.sandbox.SetWebhookURL(w.site+"/webhooks/axra"))
	for range 300 { // until the certificate is made
		response, err := client.Get(w.site + "/")
		if err == nil {
			response.Body.Close()
			return w
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("the site has no certificate")
	return nil
}

func insecure() *http.Transport {
	return &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true} //nolint:gosec // loopback, a certificate made a moment ago
}

// On a real site the cookies are the browser's best kept ones, and the checkout URL
// stays out of the log over HTTP/2 as well.
func TestOverTLS(t *testing.T) {
	w := newTLSWorld(t)
	v := w.visitor()
	transport := insecure()
	v.client.Transport = transport
	t.Cleanup(transport.CloseIdleConnections)

	first := v.open("/premium/article.html")
	first.wantCheckout(t, w)
	for _, cookie := range first.header.Values("Set-Cookie") {
		for _, want := range []string{"__Host-axra_p_", "; Path=/", "; HttpOnly", "; Secure", "; SameSite=Lax"} {
			if !strings.Contains(cookie, want) {
				t.Errorf("the pending cookie has no %q: %s", want, cookie)
			}
		}
	}
	checkout := v.open(first.location())
	back := v.pay(checkout, cardGood)
	if !strings.HasPrefix(back.location(), w.site+"/premium/article.html?axra_session=") {
		t.Fatalf("after paying: %q", back.location())
	}
	w.delivered()
	redeemed := v.open(back.location())
	token := ""
	for _, cookie := range redeemed.header.Values("Set-Cookie") {
		if strings.HasPrefix(cookie, "__Host-axra_t_") {
			token = cookie
		}
	}
	for _, want := range []string{"; Path=/", "; HttpOnly", "; Secure", "; SameSite=Lax", "; Max-Age="} {
		if !strings.Contains(token, want) {
			t.Errorf("the access cookie has no %q: %s", want, token)
		}
	}
	v.browse(back.location()).wantPaid(t)

	w.stop() // and not started again: Caddy's own start with a certificate at hand races
	raw, err := os.ReadFile(w.logs)
	mustDo(t, err)
	if !strings.Contains(string(raw), `"proto":"HTTP/2.0"`) || !strings.Contains(string(raw), `"status":303`) {
		t.Fatal("there is no HTTP/2 access log to look at")
	}
	if strings.Contains(string(raw), checkout.url.Query().Get("token")) {
		t.Error("the checkout URL's query is in the log")
	}
}

// EdDSA by choice: a change of algorithm logs nobody out.
func TestEdDSA(t *testing.T) {
	w := newWorld(t, worldOptions{})
	before := w.visitor()
	before.buy("/premium/article.html", cardGood).wantPaid(t)
	eddsa := strings.Replace(fiveLines, "endpoint       ENDPOINT", "endpoint ENDPOINT\n\t\tsigning_algorithm EdDSA", 1)
	w.load(eddsa)
	before.open("/premium/article.html").wantPaid(t)
	// The new key signs once every node must have read it.
	for range 200 {
		if w.rows("keys WHERE algorithm = 'EdDSA'") > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.pass(10 * time.Minute)
	after := w.visitor()
	after.buy("/premium/article.html", cardGood).wantPaid(t)
	if header := strings.Split(after.cookie(t, "axra_t_"), ".")[0]; !strings.HasPrefix(header, "eyJhbGciOiJFZERTQSI") {
		t.Errorf("the new token's header is %s", header)
	}
	w.restart()
	before.open("/premium/article.html").wantPaid(t)
	after.open("/premium/article.html").wantPaid(t)
	w.load(fiveLines)
	after.open("/premium/article.html").wantPaid(t)
}

// 64 identical webhooks and 64 returns at once: one fact, one right answer each.
func TestS3W6RaceOfWebhooksAndReturns(t *testing.T) {
	w := newWorld(t, worldOptions{})
	v := w.visitor()
	session, event := v.started("/premium/article.html")
	body := encode(t, event)
	signature := sign(body, webhookSecret)
	target := "/premium/article.html?axra_session=" + session
	header := navigation.Clone()
	for _, cookie := range v.cookies() {
		header.Add("Cookie", cookie.Name+"="+cookie.Value)
	}
	statuses := make(chan [2]int, 64)
	for range 64 {
		go func() {
			var got [2]int
			delivered := make(chan struct{})
			go func() {
				defer close(delivered)
				got[0] = w.deliver(body, signature).status
			}()
			got[1] = w.visitor().do(http.MethodGet, target, header, nil).status
			<-delivered
			statuses <- got
		}()
	}
	for range 64 {
		got := <-statuses
		if got[0] != http.StatusOK || got[1] != http.StatusSeeOther && got[1] != http.StatusPaymentRequired {
			t.Errorf("webhook %d, return %d", got[0], got[1])
		}
	}
	if n := w.rows("payments"); n != 1 {
		t.Errorf("%d facts", n)
	}
	v.browse(target).wantPaid(t)
}
