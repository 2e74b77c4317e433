package paywall_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-axra/paywall"
	"github.com/caddy-axra/paywall/internal/sitetest"
)

// keeping is a site that keeps what it refuses.
var keeping = strings.NewReplacer(
	"axra_webhook /webhooks/axra", "axra_webhook /webhooks/axra {\n\t\tkeep_rejected\n\t}", "SETUP", "SETUP ADMIN",
).Replace(sitetest.FiveLines)

// inspect runs `caddy axra webhook inspect`.
func inspect(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	var printed bytes.Buffer
	command := paywall.NewCommand()
	command.SetOut(&printed)
	command.SetArgs(append([]string{"webhook", "inspect"}, args...))
	err = command.ExecuteContext(t.Context())
	return printed.String(), err
}

// ownersFile writes a Caddyfile as its owner has it.
func ownersFile(w *sitetest.World, config string) string {
	path := filepath.Join(w.T.TempDir(), "Caddyfile")
	mustDo(w.T, os.WriteFile(path, []byte(w.Expand(config)), 0o600))
	return path
}

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
			report, err := inspect(t, file, "--config", ownersFile(w, wrong))
			if err != nil || !strings.Contains(report, block) || !strings.Contains(report, "payment.completed") {
				t.Fatalf("%v\n%s", err, report)
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

func TestInspectTakesNoSecretFromNowhere(t *testing.T) {
	t.Setenv("PW_UNSET", "")
	t.Setenv("PW_SET", "bs_test_SET")
	const withSecret = "{\n\taxra {\n\t\twebhook_secret {env.%s}\n\t}\n}\n"
	folder := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(folder, name)
		mustDo(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	for want, test := range map[string]struct{ secret, config string }{
		"there is no secret to try":                                   {"", ""},
		"webhook_secret {env.PW_UNSET} is empty in the running Caddy": {"", fmt.Sprintf(withSecret, "PW_UNSET")},
		"the global option axra":                                      {"", "example.com\n"},
		"":                                                            {"bs_test_SET", fmt.Sprintf(withSecret, "PW_SET")},
	} {
		args := []string{write("request.txt", "X-Sig: "+sitetest.Sign([]byte("{}"), test.secret)+"\n\n{}")}
		if test.config != "" {
			args = append(args, "--config", write("Caddyfile", test.config))
		}
		out, err := inspect(t, args...)
		if want != "" && (err == nil || !strings.Contains(err.Error(), want)) || want == "" && (err != nil || !strings.Contains(out, "header X-Sig")) {
			t.Errorf("want %q, got %v\n%s", want, err, out)
		}
	}
}
