package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/caddy-axra/paywall/internal/admin"
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
	ok := Plugin{Check: func(context.Context, string, string, bool) Diagnosis { return diagnosis{} }}
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

// diagnosis has a number of errors and of warnings.
type diagnosis [2]int

func (d diagnosis) Errors() int   { return d[0] }
func (d diagnosis) Warnings() int { return d[1] }
func (d diagnosis) WriteText(w io.Writer) error {
	_, err := io.WriteString(w, "in words\n")
	return err
}

func TestTheExitCodeOfACheck(t *testing.T) {
	for _, test := range []struct {
		found  diagnosis
		args   []string
		failed bool
	}{
		{diagnosis{0, 0}, nil, false},
		{diagnosis{0, 1}, nil, false},
		{diagnosis{0, 1}, []string{"--strict"}, true},
		{diagnosis{1, 0}, nil, true},
		{diagnosis{1, 0}, []string{"--json"}, true},
	} {
		plugin := Plugin{Check: func(_ context.Context, config, adapter string, live bool) Diagnosis {
			if config != "c" || adapter != "a" || !live {
				t.Errorf("checks %s %s %t", config, adapter, live)
			}
			return test.found
		}}
		out, _, err := execute(t, plugin, append([]string{"check", "--config", "c", "--adapter", "a", "--live"}, test.args...)...)
		if (err != nil) != test.failed || !strings.Contains(out, "in words") && !strings.HasPrefix(out, "[") {
			t.Errorf("%v %v: %v\n%s", test.found, test.args, err, out)
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

// Configuration, a file and the environment may each hold secrets, and each may be wrong.
func TestWhichSecretsAreTried(t *testing.T) {
	wrong := errors.New("the configuration is wrong")
	for name, test := range map[string]struct {
		env, file  string
		configured []string
		err        error
		args       []string
		want       []string
		phrase     string
	}{
		"none":                            {phrase: "there is no secret to try"},
		"all, each once":                  {env: "e", file: "f\n", configured: []string{"c", "e"}, want: []string{"f", "c", "e"}},
		"a wrong configuration is named":  {env: "e", err: wrong, args: []string{"--config", "x"}, phrase: "is wrong"},
		"a wrong one nobody named":        {env: "e", err: wrong, want: []string{"e"}},
		"a wrong one, and nothing else":   {err: wrong, phrase: "is wrong"},
		"a secret of the service, a file": {file: "f", err: ErrEmptySecret, args: []string{"--config", "x"}, want: []string{"f"}},
		"a secret of the service":         {env: "e", err: ErrEmptySecret, args: []string{"--config", "x"}, phrase: "is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("AXRA_WEBHOOK_SECRET", test.env)
			plugin := Plugin{WebhookSecrets: func(string, string) (secrets [][]byte, _ *webhook.Verifier, err error) {
				for _, secret := range test.configured {
					secrets = append(secrets, []byte(secret))
				}
				return secrets, nil, test.err
			}}
			args := append([]string{"webhook", "inspect", writeFile(t, "X-Sig: 00\n\n{}"), "--json"}, test.args...)
			if test.file != "" {
				args = append(args, "--secret-file", writeFile(t, test.file))
			}
			out, _, err := execute(t, plugin, args...)
			if test.phrase != "" {
				wantError(t, err, test.phrase)
				return
			}
			var reports []struct {
				Tried []string `json:"secrets_tried"`
			}
			if jsonErr := json.Unmarshal([]byte(out), &reports); jsonErr != nil || len(reports[0].Tried) != len(test.want) {
				t.Errorf("tried %+v, want %v: %v", reports, test.want, err)
			}
		})
	}
}

func TestAReplayTakesEachRequestOfAFile(t *testing.T) {
	c := newCaddy(t)
	c.answers["POST webhook/replay"] = func(w http.ResponseWriter, _ *http.Request) {
		if len(c.calls) == 1 {
			http.Error(w, `{"error":"no good signature"}`, http.StatusForbidden)
			return
		}
		_ = json.NewEncoder(w).Encode(admin.Replayed{Event: "payment.completed", Outcome: "paid", Session: "cs_1"})
	}
	two := writeFile(t, `[{"headers":{"X-Sig":["0"]},"body_base64":"e30="},{"headers":{"X-Sig":["1"]},"body_base64":"e30="}]`)
	out, aside, err := c.run(t, "webhook", "replay", two)
	if err != nil || len(c.calls) != 2 {
		t.Errorf("%v, %d calls", err, len(c.calls))
	}
	wantParts(t, out, "payment.completed of cs_1: paid: the payment is recorded")
	wantParts(t, aside, "not taken: no good signature")
	_, _, err = c.run(t, "webhook", "replay", two, "--trust")
	wantError(t, err, "holds 2 requests")
	_, _, err = c.run(t, "webhook", "replay", writeFile(t, "[]"))
	wantError(t, err, "no request in it")
	for outcome := range outcomes {
		answer(c, admin.ReplayWebhook, admin.Replayed{Event: "payment.completed", Outcome: outcome})
		out, _, err := c.run(t, "webhook", "replay", writeFile(t, "{}"), "--trust")
		if (err != nil) != outcomes[outcome].idle || !strings.Contains(out, outcomes[outcome].words) {
			t.Errorf("%s: %v %s", outcome, err, out)
		}
	}
}

func TestTheRejectedWebhookIsPrinted(t *testing.T) {
	c := newCaddy(t)
	answer(c, admin.RejectedWebhooks, []webhook.Captured{
		{Method: "POST", Path: "/hook", Header: http.Header{"X-Sig": {"00"}}, Body: []byte("{}"), Reason: "bad", At: paidAt, Signed: true}, {Method: "POST"},
	})
	out, aside, err := c.run(t, "webhook", "refused")
	if err != nil || !strings.HasPrefix(out, "POST /hook HTTP/1.1\r\n") {
		t.Errorf("%v %q", err, out)
	}
	wantParts(t, aside, "refused at 2026-11-30 12:00:00 UTC: bad", "--json also shows another one")
	answer(c, admin.RejectedWebhooks, []webhook.Captured{})
	_, _, err = c.run(t, "webhook", "refused")
	wantError(t, err, "no refused webhook is kept")
	if out, _, err := c.run(t, "webhook", "refused", "--json"); err != nil || out != "[]\n" {
		t.Errorf("for programs: %v %q", err, out)
	}
}
