package paywall_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/caddy-axra/paywall/webhook"
)

// keeping is a site that keeps what it refuses.
var keeping = strings.NewReplacer(
	"axra_webhook /webhooks/axra", "axra_webhook /webhooks/axra {\n\t\tkeep_rejected\n\t}", "SETUP", "SETUP ADMIN",
).Replace(fiveLines)

// refused are the webhooks that the running Caddy has kept.
func (w *world) refused() []webhook.Captured {
	w.t.Helper()
	var kept []webhook.Captured
	out, err := w.operate("webhook", "rejected", "-")
	if err == nil {
		mustDo(w.t, json.Unmarshal([]byte(out), &kept))
	}
	return kept
}

// An owner whose webhooks all fail finds out why, from the refused request alone.
func TestAnOwnerFindsOutHowWebhooksAreSigned(t *testing.T) {
	const at = "1748779200"
	for _, test := range []struct {
		name   string
		sign   func(body []byte) http.Header
		lines  string // of the signature block
		refuse string // the signature block that is wrong
	}{
		{"the default, with another scheme configured", func(body []byte) http.Header {
			return http.Header{"X-Axra-Signature": {sign(body, webhookSecret)}}
		}, "header X-Axra-Signature\n\t\t\tscheme body", "\t\tsignature {\n\t\t\tscheme t,v1\n\t\t}\n"},
		{"another header", func(body []byte) http.Header {
			return http.Header{"X-Business-Hash": {"sha256=" + sign(body, webhookSecret)}}
		}, "header X-Business-Hash\n\t\t\tscheme body", ""},
		{"pairs", func(body []byte) http.Header {
			return http.Header{"Axra-Signature": {"t=" + at + ",v1=" + sign(append([]byte(at+"."), body...), webhookSecret)}}
		}, "header Axra-Signature\n\t\t\tscheme t,v1", ""},
		{"a time in a header of its own", func(body []byte) http.Header {
			return http.Header{"X-Axra-Signature": {sign(append([]byte(at+"."), body...), webhookSecret)}, "X-Axra-Sent": {at}}
		}, "header X-Axra-Signature\n\t\t\tscheme timestamp.body\n\t\t\ttimestamp_header X-Axra-Sent", ""},
		{"standard webhooks", func(body []byte) http.Header {
			return http.Header{
				"Webhook-Id": {"msg_1"}, "Webhook-Timestamp": {at},
				"Webhook-Signature": {"v1," + sign(append([]byte("msg_1."+at+"."), body...), webhookSecret)},
			}
		}, "header Webhook-Signature\n\t\t\tid_header Webhook-Id\n\t\t\tscheme standard_webhooks\n\t\t\ttimestamp_header Webhook-Timestamp", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := strings.Replace(keeping, "\t\tendpoint       ENDPOINT\n", "\t\tendpoint       ENDPOINT\n"+test.refuse, 1)
			w := newWorld(t, worldOptions{Caddyfile: config})
			v := w.visitor()
			session, event := v.started("/premium/article.html")
			body := encode(t, event)
			header := test.sign(body)
			header.Set("Content-Type", "application/json")
			send := func() int {
				return w.visitor().do(http.MethodPost, "/webhooks/axra", header, bytes.NewReader(body)).status
			}
			if status := send(); status != http.StatusUnauthorized {
				t.Fatalf("the wrong configuration answers %d", status)
			}
			if status := w.deliver([]byte("junk"), "").status; status != http.StatusUnauthorized {
				t.Fatalf("junk is answered with %d", status)
			}
			w.load(config + "\n") // a reload forgets nothing

			file := w.file("webhook rejected")
			request, err := os.ReadFile(file)
			mustDo(t, err)
			report := w.run("webhook", "inspect", file)
			for _, want := range []string{"payment.completed", "data.paymentId", "data.metadata.sessionId", session[:12] + "…"} {
				if !strings.Contains(report, want) {
					t.Errorf("the report does not say %s:\n%s", want, report)
				}
			}
			if strings.Contains(report, webhookSecret) || bytes.Contains(request, []byte(webhookSecret)) {
				t.Errorf("the secret is printed:\n%s\n%s", request, report)
			}

			var read webhook.Report
			w.runJSON(&read, "webhook", "inspect", file)
			if len(read.Fits) == 0 || strings.Join(read.Fits[0].Options, "\n\t\t\t") != test.lines {
				t.Fatalf("the report does not say what to write:\n%s", report)
			}
			block := "\t\tsignature {\n\t\t\t" + test.lines + "\n\t\t}\n"
			w.load(strings.Replace(keeping, "\t\tendpoint       ENDPOINT\n", "\t\tendpoint       ENDPOINT\n"+block, 1))
			if status := send(); status != http.StatusOK {
				t.Fatalf("with the lines that were printed it is answered with %d", status)
			}
			v.browse("/premium/article.html").wantPaid(t)
		})
	}
}

func TestARefusedWebhookIsKeptOnlyWhereAskedFor(t *testing.T) {
	silent := strings.Replace(fiveLines, "SETUP", "SETUP ADMIN", 1)
	w := newWorld(t, worldOptions{Caddyfile: silent})
	w.wantError("no rejected webhook is kept", "webhook", "rejected", "-")
	body := []byte(`{"event":"payment.completed"}`)
	w.deliver(body, sign(body, "other"))
	w.deliver(body, "")
	if kept := w.refused(); len(kept) != 0 {
		t.Fatalf("kept without being asked: %+v", kept)
	}
	w.load(keeping)
	header := http.Header{
		"X-Axra-Signature": {sign(body, "other")}, "Authorization": {"Bearer PLANTED"}, "Cookie": {"a=PLANTED"}, "X-Api-Key": {"PLANTED"}, "X-Note": {"for bs_test_sandbox"},
	}
	w.visitor().do(http.MethodPost, "/webhooks/axra?key=PLANTED", header, bytes.NewReader(body))
	w.deliver([]byte("junk"), "")
	w.deliver([]byte("more junk"), "no signature")
	w.deliver(bytes.Repeat([]byte("x"), 65<<10), "")
	kept := w.refused()
	if len(kept) != 2 || !kept[0].Signed || string(kept[0].Body) != string(body) || kept[1].Signed || string(kept[1].Body) != "more junk" {
		t.Fatalf("kept: %+v", kept)
	}
	raw, err := json.Marshal(kept)
	mustDo(t, err)
	if bytes.Contains(raw, []byte("PLANTED")) || bytes.Contains(raw, []byte(webhookSecret)) {
		t.Errorf("credentials are kept: %s", raw)
	}
	if kept[0].Header.Get("X-Axra-Signature") == "" || kept[0].At.IsZero() || !strings.Contains(kept[0].Reason, "X-Axra-Signature") {
		t.Errorf("kept: %+v", kept[0])
	}
	good := encode(t, map[string]any{"event": "payout.paid"})
	if answer := w.deliver(good, sign(good, webhookSecret)); answer.status != http.StatusOK {
		t.Fatalf("a good one is answered with %d", answer.status)
	}
	if after := w.refused(); string(after[0].Body) != string(body) {
		t.Error("a good one is kept")
	}
	w.load(silent)
	if kept := w.refused(); len(kept) != 0 {
		t.Errorf("still kept: %+v", kept)
	}
}
