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
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/caddy-axra/paywall/internal/admin"
	"github.com/caddy-axra/paywall/internal/preflight"
	"github.com/caddy-axra/paywall/webhook"
)

var paidAt = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

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

func TestWhatTalksToNoCaddyTakesNoAddress(t *testing.T) {
	for _, args := range [][]string{{"check"}, {"webhook", "inspect", "-"}} {
		_, _, err := execute(t, Plugin{}, append(args, "--address", "localhost:2019")...)
		wantError(t, err, "leave out --address")
	}
}

func TestAMisspeltCommandIsAnError(t *testing.T) {
	for _, args := range [][]string{{"lst"}, {"keys", "rotat"}, {"webhook", "inspct"}} {
		_, _, err := execute(t, Plugin{}, args...)
		wantError(t, err, "unknown command")
	}
}

// withSecrets is a plugin whose configuration holds secrets.
func withSecrets(err error, secrets ...string) Plugin {
	return Plugin{WebhookSecrets: func(string, string) (configured [][]byte, _ *webhook.Verifier, _ error) {
		for _, secret := range secrets {
			configured = append(configured, []byte(secret))
		}
		return configured, nil, err
	}}
}

func hmacOf(secret, message string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(message))
	return hex.EncodeToString(mac.Sum(nil))
}

func TestInspectReportsHowAWebhookIsSigned(t *testing.T) {
	const body = `{"event":"payment.refunded","data":{"reference":"x","\u001b[31m":1}}`
	ofFile, plugin := writeFile(t, "of-file\n"), withSecrets(nil, "old", "PLANTED")
	for name, test := range map[string]struct {
		plugin Plugin
		head   string
		args   []string
		want   []string // parts of the report
		failed string   // the error; "" if something fits
	}{
		"the default": {plugin, "X-Axra-Signature: " + hmacOf("PLANTED", body), nil,
			[]string{"It fits: header X-Axra-Signature, scheme body, webhook secret 2.", "\t\tsignature {\n\t\t\theader X-Axra-Signature\n\t\t\tscheme body\n\t\t}", "The event is payment.refunded"}, ""},
		"another header": {plugin, "X-Sig: " + hmacOf("old", body), nil, []string{"\t\tsignature {\n\t\t\theader X-Sig\n\t\t\tscheme body\n\t\t}", "webhook secret 1."}, ""},
		"the secret of a file": {withSecrets(errors.New("wrong")), "X-Sig: " + hmacOf("of-file", body), []string{"--secret-file", ofFile},
			[]string{"header X-Sig, scheme body, webhook secret 1."}, ""},
		"another secret": {plugin, "X-Axra-Signature: " + hmacOf("other", body), nil,
			[]string{"Nothing fits", "X-Axra-Signature", "another secret", "it says that it is payment.refunded", "data.reference"}, "no signature scheme that this version can verify fits"},
		"no signature":                  {plugin, "Content-Type: application/json", nil, []string{"Nothing fits", "none", "It is not from Axra", "A proxy in front of Caddy"}, "fits"},
		"a masked token":                {plugin, "X-Hook-Token: ***", nil, []string{"masked", "X-Hook-Token"}, "fits"},
		"no secret":                     {withSecrets(nil), "X-Sig: 00", nil, nil, "there is no secret to try"},
		"an empty secret":               {plugin, "X-Sig: 00", []string{"--secret-file", writeFile(t, "\n")}, nil, "there is no secret to try"},
		"a configuration that is wrong": {withSecrets(errors.New("is wrong")), "X-Sig: 00", nil, nil, "is wrong"},
		"a file that is not there":      {plugin, "X-Sig: 00", []string{"--secret-file", ofFile + "x"}, nil, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			file := writeFile(t, test.head+"\n\n"+body)
			out, _, err := execute(t, test.plugin, append([]string{"webhook", "inspect", file}, test.args...)...)
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
}

func TestInspectReportsToPrograms(t *testing.T) {
	file := writeFile(t, "X-Sig: "+hmacOf("s", "[]")+"\n\n[]\n")
	verifier := &webhook.Verifier{Secrets: [][]byte{[]byte("s")}, Header: "X-Sig", Scheme: webhook.SchemeBody}
	plugin := Plugin{WebhookSecrets: func(string, string) ([][]byte, *webhook.Verifier, error) { return verifier.Secrets, verifier, nil }}
	out, _, err := execute(t, plugin, "webhook", "inspect", "--json", file)
	var report webhookReport
	if err := errors.Join(err, json.Unmarshal([]byte(out), &report)); err != nil {
		t.Fatal(err)
	}
	if len(report.Fits) != 1 || !report.Configured || report.Fits[0].Header != "X-Sig" || !strings.Contains(report.Fits[0].Body, "line break") || report.EventError == "" {
		t.Errorf("%s", out)
	}
	out, _, err = execute(t, plugin, "webhook", "inspect", file)
	wantParts(t, out, "The configuration verifies it.", "The body is not an event")
	_, _, errBody := execute(t, plugin, "webhook", "inspect", writeFile(t, "{}"))
	wantError(t, errBody, "not a captured request")
	if err != nil {
		t.Error(err)
	}
}

func TestAReplayIsAcceptedOrExplained(t *testing.T) {
	c := newCaddy(t)
	for outcome := range outcomes {
		answer(c, admin.ReplayWebhook, admin.Replayed{Event: "payment.completed", Session: "cs_1", Outcome: outcome})
		out, _, err := c.run(t, "webhook", "replay", writeFile(t, "X-Sig: 00\n\n{}"))
		if (err != nil) != outcomes[outcome].idle || !strings.Contains(out, "payment.completed of cs_1: "+outcome+": "+outcomes[outcome].words) {
			t.Errorf("%s: %v %s", outcome, err, out)
		}
	}
	if request := c.calls[0]; !strings.Contains(request, `"X-Sig":["00"]`) || !strings.Contains(request, `"e30="`) {
		t.Errorf("sent %s", request)
	}
	c.answers["webhook replay"] = func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"error":"no good signature"}`, http.StatusForbidden)
	}
	_, _, err := c.run(t, "webhook", "replay", writeFile(t, "{}"))
	wantError(t, err, "no good signature")
}

func TestTheRejectedWebhookIsPrinted(t *testing.T) {
	c := newCaddy(t)
	answer(c, admin.RejectedWebhooks, []webhook.Captured{
		{Method: "POST", Path: "/hook", Header: http.Header{"X-Sig": {"00"}}, Body: []byte("{}"), Reason: "bad", At: paidAt, Signed: true}, {Method: "POST"},
	})
	out, aside, err := c.run(t, "webhook", "rejected")
	if err != nil || !strings.HasPrefix(out, "POST /hook HTTP/1.1\r\n") {
		t.Errorf("%v %q", err, out)
	}
	wantParts(t, aside, "rejected at 2026-11-30 12:00:00 UTC: bad")
	answer(c, admin.RejectedWebhooks, []webhook.Captured{})
	_, _, err = c.run(t, "webhook", "rejected")
	wantError(t, err, "no rejected webhook is kept")
	if out, _, err := c.run(t, "webhook", "rejected", "--json"); err != nil || out != "[]\n" {
		t.Errorf("for programs: %v %q", err, out)
	}
}
