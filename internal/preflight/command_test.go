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

func TestCheckIsStrictWhenAsked(t *testing.T) {
	d := newDesk(t)
	warned := good + "http://other.example.com {\n" + gate + "}\n"
	if read := d.check(warned); read.err != nil || len(read.bad()) == 0 {
		t.Errorf("%v %+v", read.err, read.bad())
	}
	if read := d.check(warned, "--strict"); read.err == nil {
		t.Error("warnings pass")
	}
	if read := d.check(good, "--strict"); read.err != nil {
		t.Error(read.err)
	}
}

func TestCheckReadsEnvironmentFiles(t *testing.T) {
	d := newDesk(t)
	for _, name := range []string{"FROM_FILE_KEY", "FROM_FILE_SECRET"} {
		t.Setenv(name, "") // so that it is restored
		mustDo(t, os.Unsetenv(name))
	}
	file := filepath.Join(t.TempDir(), "env")
	mustDo(t, os.WriteFile(file, []byte("FROM_FILE_KEY=bk_live_good\n# a comment\nFROM_FILE_SECRET=\"bs_live_good\"\n"), 0o600))
	config := strings.NewReplacer("AXRA_API_KEY", "FROM_FILE_KEY", "AXRA_WEBHOOK_SECRET", "FROM_FILE_SECRET").Replace(good)
	if read := d.check(config); read.err == nil {
		t.Error("empty secrets pass")
	}
	if read := d.check(config, "--envfile", file); len(read.bad()) > 0 {
		t.Errorf("%+v", read.bad())
	}
	if _, err := axra(t, "check", "--config", d.config, "--envfile", file+".none"); err == nil || !strings.Contains(err.Error(), "environment") {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestCheckSpeaksToPeople(t *testing.T) {
	d := newDesk(t)
	d.check(site(hook + "root ROOT\n route {\n file_server\n" + gate + "}"))
	output, err := axra(t, "check", "--config", d.config)
	for _, line := range []string{"order\n", "  error    gate /premium/*: it is never reached", "           fix: write axra_paywall", "not checked\n", "CDN", "errors: 1, warnings: 0"} {
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
