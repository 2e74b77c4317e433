package cli

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/caddy-axra/paywall/internal/preflight"
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
	file := writeFile(t, "")
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
			if config != file || adapter != "a" || !live {
				t.Errorf("checks %s %s %t", config, adapter, live)
			}
			return &preflight.Diagnosis{Findings: []preflight.Finding{{Level: test.level, Check: "order", Message: "in words"}}}
		}}
		out, _, err := execute(t, plugin, append([]string{"check", "--config", file, "--adapter", "a", "--live"}, test.args...)...)
		if (err != nil) != test.failed || !strings.Contains(out, "in words") {
			t.Errorf("%v: %v\n%s", test, err, out)
		}
	}
}

func TestACheckOfNoFileSaysSo(t *testing.T) {
	_, _, err := execute(t, Plugin{}, "check", "--config", "/nope")
	wantError(t, err, "there is no file /nope: name the configuration with --config")
}

func TestAMisspeltCommandIsAnError(t *testing.T) {
	for _, args := range [][]string{{"lst"}, {"keys", "rotat"}, {"webhook", "inspct"}} {
		_, _, err := execute(t, Plugin{}, args...)
		wantError(t, err, "unknown command")
	}
}
