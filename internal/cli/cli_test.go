package cli

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/caddy-axra/paywall/internal/preflight"
	"github.com/caddy-axra/paywall/webhook"
)

func writeFile(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Caddy has no types for these errors: the commands tell them apart by their words.
func TestCaddysErrorsReadAsTheCommandsExpect(t *testing.T) {
	c := newCaddy(t)
	_, err := caddycmd.AdminAPIRequest(c.address, http.MethodGet, "/", nil, nil) //nolint:bodyclose // there is none with an error
	wantError(t, err, `caddy responded with error: HTTP 404: {"error":"nothing there"}`)
	_, err = caddycmd.AdminAPIRequest("127.0.0.1:1", http.MethodGet, "/", nil, nil) //nolint:bodyclose // there is none with an error
	wantError(t, err, "performing request")

	// validate reads the environment before the configuration, and says which of them fails.
	ok := Plugin{Check: func(context.Context, string, string, bool) *preflight.Diagnosis { return new(preflight.Diagnosis) }}
	for name, file := range map[string]string{
		"a file that is not there": filepath.Join(t.TempDir(), "none"),
		"a file of something else": writeFile(t, "no pairs\n"),
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := execute(t, ok, "check", "--envfile", file)
			wantError(t, err, "environment")
		})
	}
	if _, _, err := execute(t, ok, "check", "--envfile", writeFile(t, "PW_NOTHING=1\n")); err != nil || os.Getenv("PW_NOTHING") != "1" {
		t.Errorf("a good file: %v", err)
	}
	_ = os.Unsetenv("PW_NOTHING")
}

func TestTheExitCodeOfACheck(t *testing.T) {
	for _, test := range []struct {
		level  string // of what is found
		args   []string
		failed bool
	}{
		{"ok", nil, false},
		{"warning", nil, false},
		{"warning", []string{"--strict"}, true},
		{"error", nil, true},
		{"error", []string{"--json"}, true},
	} {
		plugin := Plugin{Check: func(_ context.Context, config, adapter string, live bool) *preflight.Diagnosis {
			if config != "c" || adapter != "a" || !live {
				t.Errorf("checks %s %s %t", config, adapter, live)
			}
			return &preflight.Diagnosis{Findings: []preflight.Finding{{Level: test.level, Check: "order", Message: "in words"}}}
		}}
		out, _, err := execute(t, plugin, append([]string{"check", "--config", "c", "--adapter", "a", "--live"}, test.args...)...)
		if (err != nil) != test.failed || !strings.Contains(out, "in words") {
			t.Errorf("%v: %v\n%s", test, err, out)
		}
	}
}

func TestAMisspeltCommandIsAnError(t *testing.T) {
	for _, args := range [][]string{{"lst"}, {"keys", "rotat"}, {"webhook", "inspct"}} {
		_, _, err := execute(t, Plugin{}, args...)
		wantError(t, err, "unknown command")
	}
}

func hmacOf(secret, message string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(message))
	return hex.EncodeToString(mac.Sum(nil))
}

// withSecrets is a plugin whose configuration holds secrets.
func withSecrets(configured *webhook.Verifier, err error, secrets ...string) Plugin {
	return Plugin{WebhookSecrets: func(string, string) (all [][]byte, _ *webhook.Verifier, _ error) {
		for _, secret := range secrets {
			all = append(all, []byte(secret))
		}
		return all, configured, err
	}}
}

func TestInspectReportsHowAWebhookIsSigned(t *testing.T) {
	const body = `{"event":"payment.refunded","data":{"reference":"x","\u001b[31m":1}}`
	plugin := withSecrets(nil, nil, "old", "PLANTED")
	verifier := &webhook.Verifier{Secrets: [][]byte{[]byte("old")}, Header: "X-Sig", Scheme: webhook.SchemeBody}
	block := func(header string) string {
		return "\t\tsignature {\n\t\t\theader " + header + "\n\t\t\tscheme body\n\t\t}"
	}
	for name, test := range map[string]struct {
		plugin Plugin
		file   string
		want   []string // parts of the report
		failed string   // the error; "" if something fits
	}{
		"the default": {plugin, "X-Axra-Signature: " + hmacOf("PLANTED", body) + "\n\n" + body,
			[]string{"header X-Axra-Signature, scheme body  2", block("X-Axra-Signature"), "event: payment.refunded", "documented: true"}, ""},
		"another header": {plugin, "X-Sig: " + hmacOf("old", body) + "\n\n" + body, []string{block("X-Sig"), "scheme body  1"}, ""},
		"what is configured": {withSecrets(verifier, nil, "old"), "X-Sig: " + hmacOf("old", "[]") + "\n\n[]\n",
			[]string{"The configuration verifies it.", "event_error: malformed", "verified: true"}, ""},
		"another secret": {plugin, "X-Axra-Signature: " + hmacOf("other", body) + "\n\n" + body,
			[]string{"signature_headers: X-Axra-Signature", "fields: data, data.?[31m, data.reference"}, "nothing fits: it was signed with another secret"},
		"a masked token":                {plugin, "X-Hook-Token: ***\n\n" + body, []string{"masked_headers: X-Hook-Token"}, "nothing fits"},
		"a configuration that is wrong": {withSecrets(nil, errors.New("is wrong")), "X-Sig: 00\n\n", nil, "is wrong"},
		"no request":                    {plugin, "{}", nil, "not a captured request"},
	} {
		t.Run(name, func(t *testing.T) {
			out, _, err := execute(t, test.plugin, "webhook", "inspect", writeFile(t, test.file))
			if test.failed != "" {
				wantError(t, err, test.failed)
			} else if err != nil {
				t.Error(err)
			}
			wantParts(t, out, test.want...)
			if strings.Contains(out, "PLANTED") || strings.ContainsRune(out, 0x1b) {
				t.Errorf("the secret is printed, or the sender steers the terminal: %q", out)
			}
		})
	}
	out, _, err := execute(t, plugin, "webhook", "inspect", "--json", writeFile(t, "X-Sig: "+hmacOf("old", body)+"\n\n"+body))
	var report webhook.Report
	if err := errors.Join(err, json.Unmarshal([]byte(out), &report)); err != nil || len(report.Fits) != 1 {
		t.Errorf("for programs: %v %s", err, out)
	}
	_, _, err = execute(t, plugin, "webhook", "inspect", filepath.Join(t.TempDir(), "none"))
	wantError(t, err, "no such file")
}
