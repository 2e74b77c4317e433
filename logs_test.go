package paywall_test

import (
	"crypto/tls"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/sitetest"
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

func newTLSWorld(t *testing.T) *sitetest.World {
	t.Helper()
	client := &http.Client{Timeout: 5 * time.Second, Transport: insecure()}
	t.Cleanup(client.CloseIdleConnections)
	w := newWorld(t, sitetest.Options{
		Caddyfile: overTLS,
		Sandbox:   sandbox.Config{Client: client},
	})
	w.Site = "https://localhost:" + w.Port
	mustDo(t, w.Sandbox.SetWebhookURL(w.Site+"/webhooks/axra"))
	for range 300 { // until the certificate is made
		response, err := client.Get(w.Site + "/")
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
	v := w.Visitor()
	transport := insecure()
	v.Client.Transport = transport
	t.Cleanup(transport.CloseIdleConnections)

	first := v.Open(article)
	first.WantCheckout(t, w)
	for _, cookie := range first.Header.Values("Set-Cookie") {
		for _, want := range []string{"__Host-axra_p_", "; Path=/", "; HttpOnly", "; Secure", "; SameSite=Lax"} {
			if !strings.Contains(cookie, want) {
				t.Errorf("the pending cookie has no %q: %s", want, cookie)
			}
		}
	}
	checkout := v.Open(first.Location())
	back := v.Pay(checkout)
	if !strings.HasPrefix(back.Location(), w.Site+"/premium/article.html?axra_session=") {
		t.Fatalf("after paying: %q", back.Location())
	}
	w.Delivered()
	redeemed := v.Open(back.Location())
	token := ""
	for _, cookie := range redeemed.Header.Values("Set-Cookie") {
		if strings.HasPrefix(cookie, "__Host-axra_t_") {
			token = cookie
		}
	}
	for _, want := range []string{"; Path=/", "; HttpOnly", "; Secure", "; SameSite=Lax", "; Max-Age="} {
		if !strings.Contains(token, want) {
			t.Errorf("the access cookie has no %q: %s", want, token)
		}
	}
	v.Browse(back.Location()).WantPaid(t)

	w.Stop() // and not started again: Caddy's own start with a certificate at hand races
	raw, err := os.ReadFile(w.Logs)
	mustDo(t, err)
	if !strings.Contains(string(raw), `"proto":"HTTP/2.0"`) || !strings.Contains(string(raw), `"status":303`) {
		t.Fatal("there is no HTTP/2 access log to look at")
	}
	for name, secret := range map[string]string{
		"checkout token": checkout.URL.Query().Get("token"), "access token": v.Cookie("axra_t_"), "key": "bk_test_sandbox", "secret": "bs_test_sandbox",
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
	config := strings.Replace(sitetest.Member("links", "claim first"), "SETUP",
		"SETUP\n\tlog requests {\n\t\tinclude http.log\n\t\toutput file "+file+"\n"+logFilter(t)+"\n\t}", 1)
	config = strings.Replace(config, "\troot ROOT", "\tlog\n\treverse_proxy /premium/down localhost:1\n\troot ROOT", 1)
	w := newWorld(t, sitetest.Options{Caddyfile: config})
	v, phone := w.Visitor(), w.Visitor()
	checkout := v.Browse(article)
	back := v.Pay(checkout)
	w.Delivered()
	v.Browse(back.Location()).WantPaid(t)
	v.Browse(back.Location()).WantPaid(t) // as a reload
	device := v.Open(receiptPage).Link(t, deviceLink)
	phone.OpenOnDevice(device).WantPaid(t)
	private := v.PrivateAddress(article)
	w.Visitor().Do(http.MethodGet, private, nil, nil).WantPaid(t)
	broken := v.PrivateAddress("/premium/down")
	if answer := w.Visitor().Do(http.MethodGet, broken, nil, nil); answer.Status != http.StatusBadGateway {
		t.Errorf("an upstream that is down: %d", answer.Status)
	}
	header := sitetest.Navigation.Clone()
	header.Set("Referer", private)
	v.Do(http.MethodGet, "/index.html", header, nil)
	access := v.Cookie("axra_t_")
	w.Stop() // flushes the log
	defer w.Load(w.Config)
	raw, err := os.ReadFile(file)
	mustDo(t, err)
	logged := string(raw)
	for _, want := range []string{
		`"uri":"/premium/article.html?axra_session=REDACTED"`, `axra_device=REDACTED`, `"uri":"/premium/article.html?axra_link=REDACTED"`,
		`"Referer":["` + w.Site + `/premium/article.html?axra_link=REDACTED"]`, `"logger":"http.log.error`,
	} {
		if !strings.Contains(logged, want) {
			t.Errorf("the log misses %s", want)
		}
	}
	for name, secret := range map[string]string{
		"session": w.LastPayment().SessionID, "checkout token": checkout.URL.Query().Get("token"), "access token": access,
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
