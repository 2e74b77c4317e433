package preflight_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-axra/paywall/internal/pgtest"
)

func TestCheckReportsWhatDoesNotLoad(t *testing.T) {
	for name, c := range map[string]struct{ config, phrase string }{
		"syntax":    {"example.com {", "adapting config"},
		"directive": {site("axra_paywal"), "unrecognized directive"},
		"provision": {strings.Replace(good, "price", "offer {\n template ROOT/none.html\n }\n price", 1), "axra_paywall: gate \"/premium/*\""},
		"no axra":   {"example.com {\n respond hello\n}", "no global option axra"},
		"no option": {"example.com {\n" + gate + "}", "axra_paywall needs the axra app"},
	} {
		read := newDesk(t).check(c.config)
		if len(read.Findings) != 1 || read.err == nil {
			t.Errorf("%s: %+v", name, read.Findings)
			continue
		}
		if found := read.Findings[0]; found.Check != "configuration" || !strings.Contains(found.Message, c.phrase) || strings.Contains(found.Message, "goroutine") {
			t.Errorf("%s: %+v", name, found)
		}
		if hasFix := read.Findings[0].Fix != ""; hasFix {
			t.Errorf("%s: the fix is %q", name, read.Findings[0].Fix)
		}
	}
}

func TestCheckEndsWhereRoutesInvokeThemselves(t *testing.T) {
	loop := "&(loop) {\n invoke loop\n " + strings.ReplaceAll(gate, "price", "pass one\n price") + "}\n"
	read := newDesk(t).check(setup + loop + "example.com {\n" + hook + "invoke loop\n root ROOT\n file_server\n}\n")
	if len(read.Findings) == 0 {
		t.Error("nothing was found out")
	}
}

func TestCheckSpeaksToPeople(t *testing.T) {
	d := newDesk(t)
	d.check(site(hook + "root ROOT\n route {\n file_server\n" + gate + "}"))
	output, err := axra(t, "check", "--config", d.config)
	for _, line := range []string{"error      order: gate /premium/*: no request reaches it", "fix: write axra_paywall", "unchecked  outside: what is in front of Caddy: a CDN", "errors: 1, warnings: 0"} {
		if !strings.Contains(output, line) {
			t.Errorf("%q is not in\n%s", line, output)
		}
	}
	if err == nil || strings.Contains(output, "{\"level\"") || strings.Contains(output, "INFO") {
		t.Errorf("%v\n%s", err, output)
	}
}

func TestExamplesPassTheCheck(t *testing.T) {
	files, err := filepath.Glob("../../examples/*.caddyfile")
	mustDo(t, err)
	t.Setenv("AXRA_OLD_WEBHOOK_SECRET", "bs_live_old")
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			mustDo(t, err)
			if strings.Contains(string(raw), "database postgres") {
				t.Setenv("AXRA_DATABASE_URL", pgtest.Shared(t).NewDatabase(t))
			}
			d := newDesk(t)
			if read := d.check(strings.NewReplacer("/var/www", "ROOT", "/srv", "ROOT", "/var/lib/axra", "STORAGE").Replace(string(raw))); read.err != nil {
				t.Errorf("%+v", read.bad())
			}
		})
	}
	if len(files) == 0 {
		t.Error("no examples")
	}
}
