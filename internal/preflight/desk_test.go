package preflight_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/spf13/cobra"

	_ "github.com/caddy-axra/paywall"
	"github.com/caddy-axra/paywall/internal/pgtest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	pgtest.Stop()
	os.Exit(code)
}

// marker is content that is sold.
const marker = "SOLD CONTENT"

func mustDo(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// desk is where somebody checks a configuration before going live.
type desk struct {
	t       testing.TB
	root    string // files of the site
	storage string
	config  string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, root: t.TempDir(), storage: t.TempDir(), config: filepath.Join(t.TempDir(), "Caddyfile")}
	t.Setenv("XDG_DATA_HOME", d.storage)
	t.Setenv("AXRA_API_KEY", "bk_live_good")
	t.Setenv("AXRA_API_SECRET", "bs_live_good")
	t.Setenv("AXRA_WEBHOOK_SECRET", "bs_live_good")
	d.write("index.html", "free")
	d.write("premium/index.html", marker)
	d.write("premium/article.html", marker)
	return d
}

func (d *desk) write(name, content string) {
	d.t.Helper()
	path := filepath.Join(d.root, filepath.FromSlash(name))
	mustDo(d.t, os.MkdirAll(filepath.Dir(path), 0o700))
	mustDo(d.t, os.WriteFile(path, []byte(content), 0o600))
}

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

// remark is a finding as programs read it.
type remark struct{ Level, Check, Subject, Message, Fix string }

type verdict struct {
	Findings []remark
	err      error
}

// check checks a Caddyfile, in which ROOT and STORAGE stand for the desk's.
func (d *desk) check(config string, args ...string) verdict {
	d.t.Helper()
	config = strings.NewReplacer("ROOT", d.root, "STORAGE", d.storage).Replace(config)
	mustDo(d.t, os.WriteFile(d.config, []byte(config), 0o600))
	output, err := axra(d.t, append([]string{"check", "--json", "--adapter", "caddyfile", "--config", d.config}, args...)...)
	var read verdict
	if err := json.Unmarshal([]byte(output), &read); err != nil {
		d.t.Fatalf("%v in\n%s", err, output)
	}
	read.err = err
	for _, secret := range []string{"bk_live_good", "bs_live_good", "bk_test_sandbox", "bs_test_sandbox"} {
		if strings.Contains(output, secret) {
			d.t.Errorf("a secret is printed:\n%s", output)
		}
	}
	return read
}

// find returns the finding of a check whose message holds a phrase.
func (v verdict) find(check, phrase string) (remark, bool) {
	for _, found := range v.Findings {
		if found.Check == check && strings.Contains(found.Subject+": "+found.Message, phrase) {
			return found, true
		}
	}
	return remark{}, false
}

// bad are the errors and warnings.
func (v verdict) bad() []remark {
	return slices.DeleteFunc(slices.Clone(v.Findings), func(f remark) bool { return f.Level == "ok" || f.Level == "unchecked" })
}

const (
	setup = `{
	storage file_system STORAGE
	axra {
		api_key        {env.AXRA_API_KEY}
		webhook_secret {env.AXRA_WEBHOOK_SECRET}
	}
}
`
	gate = "axra_paywall /premium/* {\n price 5.00 usd\n }\n"
	hook = "axra_webhook /webhooks/axra\n"
	good = setup + "example.com {\n" + hook + gate + "root ROOT\n file_server\n}\n"
)

// Each Caddyfile has a fault, which is found; its twin is repaired, and clean.
type faultCase struct {
	name         string
	prepare      func(*desk)
	bad, fixed   string
	level, check string
	phrase       string // of the finding
	fix          string // a phrase of its fix
}

// inMessage: the message says how to mend it, so there is no fix besides.
const inMessage = "in the message"

func (c faultCase) run(t *testing.T) {
	d := newDesk(t)
	if c.prepare != nil {
		c.prepare(d)
	}
	read := d.check(c.bad)
	found, ok := read.find(c.check, c.phrase)
	if !ok || found.Level != c.level {
		t.Fatalf("no %s of %s says %q:\n%+v", c.level, c.check, c.phrase, read.Findings)
	}
	if c.fix == inMessage {
		if found.Fix != "" {
			t.Errorf("the fix %q says no more than the message", found.Fix)
		}
	} else if !strings.Contains(found.Fix, c.fix) || found.Fix == "" {
		t.Errorf("the fix %q does not say %q", found.Fix, c.fix)
	}
	if failed := read.err != nil; failed != (c.level == "error") {
		t.Errorf("the command ends with %v", read.err)
	}
	if c.fixed == "" {
		return
	}
	if read := d.check(c.fixed); len(read.bad()) > 0 || read.err != nil {
		t.Errorf("the repaired one is not clean: %v\n%+v", read.err, read.bad())
	}
}

func run(t *testing.T, cases []faultCase) {
	for _, c := range cases {
		t.Run(c.name, c.run)
	}
}

func site(directives string) string {
	return setup + "example.com {\n" + directives + "\n}\n"
}

// logFilter is the filter that the reference shows.
func logFilter(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("../../docs/reference.md")
	mustDo(t, err)
	_, after, _ := strings.Cut(string(raw), "### Logs\n")
	_, after, _ = strings.Cut(after, "\tlog {\n")
	filter, _, found := strings.Cut(after, "\n\t}\n}\n```")
	if !found {
		t.Fatal("docs/reference.md shows no filter")
	}
	return filter
}

// testCache is a cache as plugins have them.
type testCache struct{}

func (testCache) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.test_cache", New: func() caddy.Module { return new(testCache) }}
}

func (testCache) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return next.ServeHTTP(w, r)
}

func init() {
	caddy.RegisterModule(testCache{})
	httpcaddyfile.RegisterHandlerDirective("test_cache", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return new(testCache), nil
	})
	httpcaddyfile.RegisterDirectiveOrder("test_cache", httpcaddyfile.Before, "templates")
}
