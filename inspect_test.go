package paywall_test

import (
	"bytes"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/caddy-axra/paywall/internal/sitetest"
	"github.com/caddy-axra/paywall/webhook"
)

// keeping is a site that keeps what it refuses.
var keeping = strings.NewReplacer(
	"axra_webhook /webhooks/axra", "axra_webhook /webhooks/axra {\n\t\tkeep_rejected\n\t}", "SETUP", "SETUP ADMIN",
).Replace(sitetest.FiveLines)

// keepingWith adds a signature block.
func keepingWith(block string) string {
	return strings.Replace(keeping, "\t\tendpoint       ENDPOINT\n", "\t\tendpoint       ENDPOINT\n"+block, 1)
}

// An owner whose webhooks all fail finds out why, from a refused request alone, which is kept where asked for. webhook has
// the whole list of signatures.
func TestAnOwnerFindsOutHowWebhooksAreSigned(t *testing.T) {
	const at = "1748779200"
	for _, test := range []struct {
		name  string
		sign  func(body []byte) http.Header
		lines string // of the signature block
		wrong string // the signature block at first
	}{
		{"the default, with another scheme configured", func(body []byte) http.Header {
			return http.Header{"X-Axra-Signature": {sitetest.Sign(body, sitetest.WebhookSecret)}}
		}, "header X-Axra-Signature\n\t\t\tscheme body", "\t\tsignature {\n\t\t\tscheme t,v1\n\t\t}\n"},
		{"standard webhooks", func(body []byte) http.Header {
			return http.Header{
				"Webhook-Id": {"msg_1"}, "Webhook-Timestamp": {at},
				"Webhook-Signature": {"v1," + sitetest.Sign(append([]byte("msg_1."+at+"."), body...), sitetest.WebhookSecret)},
			}
		}, "header Webhook-Signature\n\t\t\tid_header Webhook-Id\n\t\t\tscheme standard_webhooks\n\t\t\ttimestamp_header Webhook-Timestamp", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, sitetest.Options{Caddyfile: strings.Replace(sitetest.FiveLines, "SETUP", "SETUP ADMIN", 1)})
			v := w.Visitor()
			_, event := v.Started(article)
			body := sitetest.Encode(t, event)
			header := test.sign(body)
			header.Set("Content-Type", "application/json")
			header.Set("Authorization", "Bearer PLANTED")
			send := func(want int) {
				t.Helper()
				if answer := w.Visitor().Do(http.MethodPost, "/webhooks/axra", header, bytes.NewReader(body)); answer.Status != want {
					t.Fatalf("answered with %d, want %d", answer.Status, want)
				}
			}
			w.Deliver(body, sitetest.Sign(body, "other"))
			w.WantError("no rejected webhook is kept", "webhook", "rejected", "-")

			wrong := keepingWith(test.wrong)
			w.Load(wrong)
			send(http.StatusUnauthorized)
			w.Deliver([]byte("junk"), "") // pushes out nothing that was signed
			w.Load(wrong + "\n")          // a reload forgets nothing
			file := w.File("webhook rejected")
			request, err := os.ReadFile(file)
			mustDo(t, err)
			block := "\t\tsignature {\n\t\t\t" + test.lines + "\n\t\t}\n"
			report := w.Run("webhook", "inspect", file)
			var read webhook.Report
			w.RunJSON(&read, "webhook", "inspect", file)
			if len(read.Fits) == 0 || strings.Join(read.Fits[0].Options, "\n\t\t\t") != test.lines || !strings.Contains(report, "payment.completed") {
				t.Fatalf("the report does not say what to write:\n%s", report)
			}
			for _, secret := range []string{sitetest.WebhookSecret, "PLANTED"} {
				if strings.Contains(report, secret) || bytes.Contains(request, []byte(secret)) {
					t.Errorf("a secret is printed:\n%s\n%s", request, report)
				}
			}

			w.Load(keepingWith(block))
			send(http.StatusOK)
			v.Browse(article).WantPaid(t)
		})
	}
}
