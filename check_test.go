package paywall_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-axra/paywall/internal/sitetest"
)

// axra runs `caddy axra` with arguments and returns what it prints.
func axra(t testing.TB, args ...string) (output string, err error) {
	t.Helper()
	cmd := &cobra.Command{Use: "axra", SilenceErrors: true, SilenceUsage: true}
	caddycmd.Commands()["axra"].CobraFunc(cmd)
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	err = cmd.ExecuteContext(t.Context())
	return out.String(), err
}

// checked is what `caddy axra check` finds.
type checked struct {
	Findings []struct{ Level, Check, Subject, Message string }
}

func check(t testing.TB, config string, args ...string) (read checked) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "Caddyfile")
	mustDo(t, os.WriteFile(file, []byte(config), 0o600))
	output, _ := axra(t, append([]string{"check", "--json", "--adapter", "caddyfile", "--config", file}, args...)...)
	if err := json.Unmarshal([]byte(output), &read); err != nil {
		t.Fatalf("%v in\n%s", err, output)
	}
	return read
}

// checkSite checks a Caddyfile of a world.
func checkSite(w *sitetest.World, config string, args ...string) checked {
	w.T.Helper()
	return check(w.T, w.Expand(config), args...)
}

// level is that of the finding of a check whose message holds a phrase, "" for none.
func (c checked) level(check, phrase string) string {
	for _, found := range c.Findings {
		if found.Check == check && strings.Contains(found.Subject+": "+found.Message, phrase) {
			return found.Level
		}
	}
	return ""
}

func TestCheckLiveCallsAxraWithoutBuyingAnything(t *testing.T) {
	w := newWorld(t, sitetest.Options{})
	withSecret := strings.Replace(sitetest.FiveLines, "axra {", "axra {\n\t\tapi_secret {env.AXRA_API_SECRET}", 1)
	for _, c := range []struct {
		name, variable, value, config string
		level, phrase                 string
	}{
		{"a good key", "AXRA_API_KEY", "bk_test_sandbox", sitetest.FiveLines, "ok", "Axra accepts api_key, and nothing was created"},
		{"a wrong key", "AXRA_API_KEY", "bk_test_wrong", sitetest.FiveLines, "error", "asked with api_key: "},
		{"key and secret", "AXRA_API_SECRET", "bs_test_sandbox", withSecret, "ok", "Axra accepts api_key and api_secret"},
		{"a wrong secret", "AXRA_API_SECRET", "bs_test_wrong", withSecret, "error", "asked with api_key and api_secret"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(c.variable, c.value)
			read := checkSite(w, c.config, "--live")
			if level := read.level("axra", c.phrase); level != c.level {
				t.Errorf("%+v", read.Findings)
			}
		})
	}
	if sessions := w.Sandbox.Sessions(); len(sessions) > 0 {
		t.Errorf("sessions were created: %d", len(sessions))
	}
	if read := checkSite(w, sitetest.FiveLines, "--live"); read.level("webhook from outside", w.Site+"/webhooks/axra: the webhook answers") != "ok" {
		t.Errorf("%+v", read.Findings)
	}
	calls := len(w.Sandbox.Calls())
	if checkSite(w, sitetest.FiveLines); len(w.Sandbox.Calls()) != calls {
		t.Error("Axra is called without --live")
	}
}
