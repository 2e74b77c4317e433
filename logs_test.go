package paywall_test

import (
	"crypto/tls"
	"net/http"
	"os"
	"path/filepath"
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
func TestSecretsStayOutOfLogsOverTLS(t *testing.T) {
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
	for name, secret := range map[string]string{
		"checkout token": checkout.url.Query().Get("token"), "access token": v.cookie(t, "axra_t_"), "key": "bk_test_sandbox", "secret": "bs_test_sandbox",
	} {
		if secret == "" || strings.Contains(string(raw), secret) {
			t.Errorf("the %s is in the log", name)
		}
	}
}

// logFilter is the `format` of docs/reference.md that keeps secrets out of Caddy's logs.
func logFilter(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("docs/reference.md")
	mustDo(t, err)
	_, after, _ := strings.Cut(string(raw), "### Logs\n")
	_, after, _ = strings.Cut(after, "\tlog {\n")
	filter, _, found := strings.Cut(after, "\n\t}\n}\n```")
	if !found {
		t.Fatal("docs/reference.md shows no filter")
	}
	return filter
}

// valueOf is the value of a parameter in an address.
func valueOf(t *testing.T, address, param string) string {
	t.Helper()
	_, after, found := strings.Cut(address, param+"=")
	value, _, _ := strings.Cut(after, "&")
	if !found || value == "" {
		t.Fatalf("no %s in %s", param, address)
	}
	return value
}

func TestTheLogFilterKeepsSecretsOut(t *testing.T) {
	file := filepath.Join(t.TempDir(), "requests.log")
	config := strings.Replace(member("links", "claim first"), "SETUP",
		"SETUP\n\tlog requests {\n\t\tinclude http.log\n\t\toutput file "+file+"\n"+logFilter(t)+"\n\t}", 1)
	config = strings.Replace(config, "\troot ROOT", "\tlog\n\treverse_proxy /premium/down localhost:1\n\troot ROOT", 1)
	w := newWorld(t, worldOptions{Caddyfile: config})
	v, phone := w.visitor(), w.visitor()
	checkout := v.browse("/premium/article.html")
	back := v.pay(checkout, cardGood)
	w.delivered()
	v.browse(back.location()).wantPaid(t)
	v.browse(back.location()).wantPaid(t) // as a reload
	device := link(t, v.open(receiptPage), deviceLink)
	phone.openOnDevice(device).wantPaid(t)
	private := v.privateAddress("/premium/article.html")
	w.visitor().do(http.MethodGet, private, nil, nil).wantPaid(t)
	broken := v.privateAddress("/premium/down")
	if answer := w.visitor().do(http.MethodGet, broken, nil, nil); answer.status != http.StatusBadGateway {
		t.Errorf("an upstream that is down: %d", answer.status)
	}
	header := navigation.Clone()
	header.Set("Referer", private)
	v.do(http.MethodGet, "/index.html", header, nil)
	access := v.cookie(t, "axra_t_")
	w.stop() // flushes the log
	defer w.load(w.config)
	raw, err := os.ReadFile(file)
	mustDo(t, err)
	logged := string(raw)
	for _, want := range []string{
		`"uri":"/premium/article.html?axra_session=REDACTED"`, `axra_device=REDACTED`, `"uri":"/premium/article.html?axra_link=REDACTED"`,
		`"Referer":["` + w.site + `/premium/article.html?axra_link=REDACTED"]`, `"logger":"http.log.error`,
	} {
		if !strings.Contains(logged, want) {
			t.Errorf("the log misses %s", want)
		}
	}
	for name, secret := range map[string]string{
		"session": w.lastPayment().SessionID, "checkout token": checkout.url.Query().Get("token"), "access token": access,
		"device link": valueOf(t, device, "axra_device"), "private address": valueOf(t, private, "axra_link"),
		"private address of a broken page": valueOf(t, broken, "axra_link"),
	} {
		for line := range strings.SplitSeq(logged, "\n") {
			if secret == "" || strings.Contains(line, secret) {
				t.Errorf("the log has the %s: %s", name, line)
			}
		}
	}
}
