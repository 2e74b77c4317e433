package paywall_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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
