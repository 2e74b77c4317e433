package paywall_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/spf13/cobra"

	"github.com/caddy-axra/paywall"
	"github.com/caddy-axra/paywall/internal/pgtest"
	"github.com/caddy-axra/paywall/ledger"
)

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
	Findings  []remark
	Unchecked []string
	err       error
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

// bad are the findings that are not ok.
func (v verdict) bad() []remark {
	return slices.DeleteFunc(slices.Clone(v.Findings), func(f remark) bool { return f.Level == "ok" })
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

func TestCheckFindsFaultsOfTheOrder(t *testing.T) {
	rest := "root ROOT\n file_server\n"
	run(t, []faultCase{
		{"gate after file_server in route", nil,
			site(hook + "root ROOT\n route {\n file_server\n" + gate + "}"), site(hook + "root ROOT\n route {\n" + gate + "file_server\n}"),
			"error", "order", "never reached: for example.com/premium/axra-check file_server answers", "write it first"},
		{"gate after reverse_proxy in route", nil,
			site(hook + "route {\n reverse_proxy localhost:9\n" + gate + "}"), site(hook + "route {\n" + gate + "reverse_proxy localhost:9\n}"),
			"error", "order", "reverse_proxy answers before it", "write it first"},
		{"gate after a handle that takes its paths", nil,
			site(hook + "root ROOT\n handle /premium/* {\n file_server\n }\n handle {\n" + gate + "file_server\n}"),
			site(hook + "root ROOT\n handle /premium/* {\n" + gate + "file_server\n }\n handle {\n file_server\n }"),
			"error", "order", "never reached", "write it first"},
		{"gate in a handle of other paths", nil,
			site(hook + "root ROOT\n handle /members/* {\n" + gate + "}\n file_server"), good,
			"error", "order", "no request reaches it", "correct the paths"},
		{"a part of the paths answered before", nil,
			site(hook + "root ROOT\n route {\n file_server /premium/free/*\n" + gate + "file_server\n}"),
			site(hook + "root ROOT\n route {\n" + gate + "file_server /premium/free/*\n file_server\n}"),
			"error", "order", "file_server answers example.com/premium/free/axra-check before it, for free", ""},
		{"a respond before the gate", nil,
			site(hook + "root ROOT\n route {\n respond /premium/hello hello\n" + gate + "file_server\n}"),
			site(hook + gate + "respond /premium/hello hello\n" + rest),
			"warning", "order", "respond answers example.com/premium/hello before it", "exempt its path"},
		{"gates one behind the other", nil,
			site(hook + gate + "@pages path *.html\n axra_paywall @pages {\n price 1.00 usd\n pass pages\n }\n" + rest),
			site(hook + gate + "@rest {\n path *.html\n not path /premium/*\n }\n axra_paywall @rest {\n price 1.00 usd\n pass pages\n }\n" + rest),
			"warning", "overlap", "a visitor has to pay twice", "not path"},
		{"secret addresses in the access log", nil,
			site("log\n" + hook + gate + rest),
			strings.Replace(site("log\n"+hook+gate+rest), "{\n", "{\n log {\n"+logFilter(t)+"\n }\n", 1),
			"warning", "logs", "example.com: its logs keep secret addresses", "the global option `log`"},
		{"secret addresses in a log of its own", nil,
			strings.Replace(site("log {\n output stdout\n}\n"+hook+gate+rest), "{\n", "{\n log {\n"+logFilter(t)+"\n }\n", 1),
			strings.Replace(site("log {\n output stdout\n"+logFilter(t)+"\n}\n"+hook+gate+rest), "{\n", "{\n log {\n"+logFilter(t)+"\n }\n", 1),
			"warning", "logs", "in request>uri", "a `format` or `output` of its own"},
		{"a cache before the gate", nil,
			strings.Replace(good, "{\n", "{\n order test_cache before axra_paywall\n", 1) + "www.example.com {\n test_cache\n" + hook + gate + rest + "}",
			strings.Replace(good, "{\n", "{\n order test_cache after axra_paywall\n", 1) + "www.example.com {\n test_cache\n" + hook + gate + rest + "}",
			"warning", "caches", "test_cache stands before it", "order test_cache after axra_paywall"},
		{"a header that is set late", nil,
			site(hook + "header >Cache-Control \"public, max-age=600\"\n" + gate + rest),
			site(hook + "header Cache-Control \"public, max-age=600\"\n" + gate + rest),
			"warning", "caches", "deferred `header` sets Cache-Control \"public, max-age=600\"", "without `>`"},
	})
}

func TestCheckFindsAWebhookThatIsNotReached(t *testing.T) {
	rest := gate + "root ROOT\n file_server\n"
	run(t, []faultCase{
		{"none", nil, site(rest), good, "error", "webhook", "nobody who pays would get in", "axra_webhook /webhooks/axra"},
		{"none here", nil, strings.Replace(site(rest), "axra {", "axra {\n database sqlite STORAGE/ledger.db", 1), good, "warning", "webhook", "until another Caddy hears of it", "axra_webhook /webhooks/axra"},
		{"inside handle", nil,
			site("handle /hooks/* {\n axra_webhook /webhooks/axra\n }\n" + rest), good,
			"error", "webhook", "what is around it does not match", "take it out"},
		{"in a handle of other paths", nil,
			site("root ROOT\n handle /webhooks/* {\n file_server\n }\n handle {\n" + hook + gate + "file_server\n}"), good,
			"error", "webhook", "file_server answers before it", "outside `route` and `handle`"},
		{"behind a gate in route", nil,
			site("route {\n axra_paywall {\n price 5.00 usd\n }\n" + hook + "}\n root ROOT\n file_server"),
			site("route {\n" + hook + "axra_paywall {\n price 5.00 usd\n }\n }\n root ROOT\n file_server"),
			"error", "webhook", "a gate covers the webhook", "before the gate"},
		{"behind a password", nil,
			site("route {\n basic_auth {\n bob $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n }\n" + hook + "}\n" + rest), good,
			"error", "webhook", "basic_auth stands before the webhook", "exempt its path from basic_auth"},
		{"behind forward_auth", nil,
			site("route {\n forward_auth localhost:9 {\n uri /auth\n }\n" + hook + "}\n" + rest), good,
			"error", "webhook", "forward_auth stands before the webhook", ""},
		{"behind a redirect", nil,
			site("route {\n redir /webhooks/* https://www.example.com{uri}\n" + hook + "}\n" + rest), good,
			"error", "webhook", "a redirect answers before the webhook", ""},
		{"behind respond", nil,
			site("route {\n respond /webhooks/* 204\n" + hook + "}\n" + rest), good,
			"error", "webhook", "respond answers before it", ""},
		{"without a path", nil, site("axra_webhook\n" + rest), good, "error", "webhook", "answers every request of the site", "give it a path"},
		{"for one method only", nil, site("@posts method POST\n axra_webhook @posts\n" + rest), good, "error", "webhook", "answers every request of the site", "give it a path"},
		{"on a host of the office", nil,
			setup + "example.com {\n" + rest + "}\nhooks.internal {\n" + hook + "}\n",
			setup + "example.com {\n" + rest + "}\nhooks.example.com {\n" + hook + "}\n",
			"warning", "webhook", "Axra cannot reach hooks.internal", "be reached from the internet"},
	})
}

func TestCheckFindsAKeySetInPlaceOfTheSite(t *testing.T) {
	with := func(jwks string) string {
		return strings.Replace(site(hook+jwks+gate+"root ROOT\n file_server"), "axra {", "axra {\n signing_algorithm EdDSA", 1)
	}
	repaired := with("axra_jwks /.well-known/jwks.json\n")
	run(t, []faultCase{
		{"without a path", nil, with("axra_jwks\n"), repaired, "error", "key set", "axra_jwks has no path, so it answers every request", "axra_jwks /.well-known/jwks.json"},
		{"for all paths", nil, with("axra_jwks /*\n"), repaired, "error", "key set", "axra_jwks has no path", ""},
		{"inside a handle of all paths", nil, with("handle {\n axra_jwks\n }\n"), with("handle /keys {\n axra_jwks\n }\n"), "error", "key set", "axra_jwks has no path", ""},
		{"by a regular expression", nil, with("axra_jwks\n"), with("@keys path_regexp ^/keys$\n axra_jwks @keys\n"), "error", "key set", "axra_jwks has no path", ""},
	})
}

func TestCheckFindsFaultsOfAddresses(t *testing.T) {
	rest := hook + gate + "root ROOT\n file_server\n}\n"
	proxied := strings.Replace(setup, "{\n", "{\n servers {\n trusted_proxies static 10.0.0.0/8\n }\n", 1)
	run(t, []faultCase{
		{"no host name", nil, setup + ":8080 {\n" + rest,
			strings.Replace(proxied, "axra {", "axra {\n site_url https://example.com", 1) + ":8080 {\n" + rest,
			"error", "addresses", "stands in a site without a host name", inMessage},
		{"plain http", nil, proxied + "http://example.com {\n" + rest, good, "warning", "addresses", "served over plain HTTP", "remove `http://`"},
		{"nobody is trusted", nil,
			strings.Replace(setup, "axra {", "axra {\n site_url https://example.com", 1) + "http://example.com {\n" + rest,
			strings.Replace(proxied, "axra {", "axra {\n site_url https://example.com", 1) + "http://example.com {\n" + rest,
			"warning", "addresses", "no trusted_proxies are set", "trusted_proxies static"},
		{"this machine", nil, setup + "localhost {\n" + rest, "", "error", "addresses", "sent back to this machine", "public host name"},
		{"another host", nil,
			site(hook + strings.Replace(gate, "price", "site_url https://example.org\n price", 1) + "root ROOT\n file_server"), good,
			"warning", "addresses", "visitors of example.com are sent back to another host", "correct site_url"},
		{"no gate", nil, site(hook), good, "warning", "addresses", "there is no gate", ""},
		{"one name for two offers", nil,
			site(hook + strings.Replace(gate, "price", "pass one\n price", 1) + "axra_paywall /other/* {\n pass one\n price 1.00 usd\n }"), "",
			"error", "addresses", "two gates of example.com would sell under the one name", inMessage},
		{"a pass that nobody sells", nil,
			site(hook + gate + "@paid axra_paid monht\n respond @paid thanks"), "",
			"error", "addresses", "no gate sells a pass \"monht\"", inMessage},
	})
}

func TestCheckFindsFaultsOfSecretsAndPrices(t *testing.T) {
	set := func(pairs ...string) func(*desk) {
		return func(d *desk) {
			for i := 0; i < len(pairs); i += 2 {
				d.t.Setenv(pairs[i], pairs[i+1])
			}
		}
	}
	priced := strings.Replace(good, "5.00 usd", "{env.TEST_PRICE} usd", 1)
	run(t, []faultCase{
		{"an empty key", set("AXRA_API_KEY", ""), good, "", "error", "secrets", "{env.AXRA_API_KEY} is empty in the environment of this command", "--envfile"},
		{"another empty secret", set("AXRA_API_KEY", "", "AXRA_WEBHOOK_SECRET", " "), good, "", "error", "secrets", "{env.AXRA_WEBHOOK_SECRET} is empty", "--envfile"},
		{"a file that is not there", nil, strings.Replace(good, "{env.AXRA_API_KEY}", "{file.STORAGE/none}", 1), good, "error", "secrets", "/none is empty or cannot be read", ""},
		{"a file for all to read", func(d *desk) {
			mustDo(d.t, os.WriteFile(filepath.Join(d.storage, "open"), []byte("bk_live_good"), 0o600))
			mustDo(d.t, os.Chmod(filepath.Join(d.storage, "open"), 0o644)) //nolint:gosec // that is the fault
			mustDo(d.t, os.WriteFile(filepath.Join(d.storage, "shut"), []byte("bk_live_good"), 0o600))
		}, strings.Replace(good, "{env.AXRA_API_KEY}", "{file.STORAGE/open}", 1), strings.Replace(good, "{env.AXRA_API_KEY}", "{file.STORAGE/shut}", 1),
			"warning", "secrets", "can be read by every user", "chmod 600"},
		{"a key in place of the secret", set("AXRA_WEBHOOK_SECRET", "bk_live_good"), good, "", "error", "secrets", "holds an API key", ""},
		{"a secret in place of the key", set("AXRA_API_KEY", "bs_live_good"), strings.Replace(good, "axra {", "axra {\n endpoint https://pay.example.com", 1), "", "error", "secrets", "holds a secret", ""},
		{"quotation marks", set("AXRA_WEBHOOK_SECRET", `"bs_live_good"`), good, "", "error", "secrets", "spaces or quotation marks", ""},
		{"a test secret beside a live key", set("AXRA_WEBHOOK_SECRET", "bs_test_sandbox"), good, "", "error", "endpoint", "a sandbox secret beside a live key", ""},
		{"a test key", set("AXRA_API_KEY", "bk_test_sandbox", "AXRA_WEBHOOK_SECRET", "bs_test_sandbox"), good, "", "warning", "endpoint", "takes no real money", "the live key"},
		{"a test key at the live endpoint", set("AXRA_API_KEY", "bk_test_sandbox"), strings.Replace(good, "axra {", "axra {\n endpoint https://api.useaxra.com/api/v1", 1), "",
			"error", "configuration", "api_key is a sandbox key", inMessage},
		{"an endpoint of somebody else", nil, strings.Replace(good, "axra {", "axra {\n endpoint https://pay.example.com", 1), good, "warning", "endpoint", "none of Axra's addresses", "leave out `endpoint`"},
		{"no webhook secret", nil, strings.Replace(strings.Replace(good, "webhook_secret {env.AXRA_WEBHOOK_SECRET}", "database sqlite STORAGE/ledger.db", 1), hook, "", 1), "", "warning", "secrets", "", ""},
		{"a price that is not set", set("TEST_PRICE", ""), priced, good, "error", "prices", "{env.TEST_PRICE}, which is empty", "--envfile"},
		{"a price that is none", set("TEST_PRICE", "cheap"), priced, good, "error", "prices", "", "an amount and a currency"},
		{"a price of a pass", set("TEST_PRICE", ""), strings.Replace(good, "axra {", "axra {\n pass month {\n price {env.TEST_PRICE} usd\n }", 1), good, "error", "prices", "pass month", ""},
		{"a description that is not set", set("TEST_PRICE", ""), strings.Replace(good, "price", "description {env.TEST_PRICE}\n price", 1), good, "warning", "prices", "it uses {env.TEST_PRICE}", ""},
	})
	t.Run("a price that is set", func(t *testing.T) {
		d := newDesk(t)
		t.Setenv("TEST_PRICE", "4.50")
		if read := d.check(priced); len(read.bad()) > 0 {
			t.Errorf("%+v", read.bad())
		}
	})
}

func TestCheckFindsOpenFiles(t *testing.T) {
	handled := func(inside string) string {
		return site(hook + "root ROOT\n @inside path " + inside + "\n handle @inside {\n axra_paywall {\n price 5.00 usd\n }\n file_server\n }\n handle {\n file_server\n }")
	}
	named := strings.Replace(gate, "price", "pass one\n price", 1)
	run(t, []faultCase{
		{"a compressed copy", func(d *desk) { d.write("premium/article.html.br", "compressed") },
			handled("*.html"), good, "error", "files", "its compressed copy is free at example.com/premium/article.html.br", "cover *.br"},
		{"an index by its name", nil, handled("/premium/"), handled("/premium/*"),
			"error", "files", "example.com/premium/ is behind the gate, but the same file is free at example.com/premium/index.html", "cover that address too"},
		{"a folder without its slash", nil,
			strings.ReplaceAll(handled("/premium/*"), "file_server\n", "file_server {\n disable_canonical_uris\n }\n"),
			strings.ReplaceAll(handled("/premium*"), "file_server\n", "file_server {\n disable_canonical_uris\n }\n"),
			"error", "files", "free at example.com/premium", "cover that address too"},
		{"another route", nil,
			site(hook + "root ROOT\n handle_path /mirror/* {\n file_server\n }\n handle {\n" + gate + "file_server\n }"),
			site(hook + "root ROOT\n handle_path /mirror/* {\n" + named + "file_server\n }\n handle {\n" + named + "file_server\n }"),
			"error", "files", "free at example.com/mirror/premium/article.html", ""},
		{"a symbolic link", func(d *desk) { mustDo(d.t, os.Symlink("premium/article.html", filepath.Join(d.root, "free.html"))) },
			good, site(hook + gate + "root ROOT\n file_server {\n hide free.html\n }"),
			"error", "files", "free at example.com/free.html", "no link"},
		{"a link to the folder", func(d *desk) { mustDo(d.t, os.Symlink("premium", filepath.Join(d.root, "old"))) },
			good, "", "error", "files", "free at example.com/old/", "no link"},
		{"a hard link", func(d *desk) {
			mustDo(d.t, os.Link(filepath.Join(d.root, "premium", "article.html"), filepath.Join(d.root, "free.html")))
		},
			good, "", "error", "files", "free at example.com/free.html", ""},
		{"the name in other case", func(d *desk) { // what a file system shows that tells no case
			mustDo(d.t, os.Mkdir(filepath.Join(d.root, "PREMIUM"), 0o700))
			mustDo(d.t, os.Link(filepath.Join(d.root, "premium", "article.html"), filepath.Join(d.root, "PREMIUM", "ARTICLE.HTML")))
		}, site(hook + "root ROOT\n @paid path_regexp ^/premium/\n handle @paid {\n axra_paywall {\n price 5.00 usd\n }\n file_server\n }\n handle {\n file_server\n }"), good,
			"error", "files", "free at example.com/PREMIUM/ARTICLE.HTML", ""},
		{"another site", nil, good + "staging.example.com {\n root ROOT\n file_server\n}\n",
			good + "staging.example.com {\n basic_auth {\n bob $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n }\n root ROOT\n file_server\n}\n",
			"error", "files", "free at staging.example.com/premium/", ""},
		{"a list of names", func(d *desk) { d.write("books/one.pdf", marker) }, site(hook + "root ROOT\n @paid path /books/*.pdf\n axra_paywall @paid {\n price 5.00 usd\n pass books\n }\n file_server browse"),
			site(hook + "root ROOT\n @paid path /books/*\n axra_paywall @paid {\n price 5.00 usd\n pass books\n }\n file_server browse"),
			"warning", "files", "example.com/books/ lists the names", "remove `browse`"},
		{"a page in place of a section", func(d *desk) { d.write("premium/second.html", marker) }, strings.Replace(good, "/premium/*", "/premium", 1), good,
			"warning", "files", "it covers /premium only; below it is free: example.com/premium/article.html", "write `/premium/*`"},
		{"a page in place of a section, in its handle", func(d *desk) { d.write("issues/one.html", marker) }, handled("/issues"), handled("/issues/*"),
			"warning", "files", "it covers /issues only; below it is free: example.com/issues/one.html", "write `/issues/*`"},
		{"a gate before nothing", nil, strings.Replace(good, "/premium/*", "/premum/*", 1), good, "warning", "files", "no file is behind it", "correct the path"},
		{"no folder", nil, strings.Replace(good, "root ROOT", "root ROOT/none", 1), good, "warning", "files", "cannot be read", "correct `root`"},
	})
}

// ledgerFile is where the desk's ledger is.
func (d *desk) ledgerFile() string { return filepath.Join(d.storage, "caddy", "axra", "ledger.db") }

// makeLedger makes a ledger as Caddy does when it starts.
func (d *desk) makeLedger() {
	d.t.Helper()
	made := ledger.New(ledger.Options{Path: d.ledgerFile()})
	_, err := made.Open(d.t.Context())
	mustDo(d.t, err)
	mustDo(d.t, made.Close())
}

func TestCheckMakesNoLedger(t *testing.T) {
	d := newDesk(t)
	read := d.check(good)
	if found, ok := read.find("ledger", "new: it does not exist yet"); !ok || found.Level != "ok" || len(read.bad()) > 0 {
		t.Errorf("%+v", read.Findings)
	}
	left, err := os.ReadDir(d.storage)
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

func TestCheckLeavesALedgerAsItIs(t *testing.T) {
	d := newDesk(t)
	d.makeLedger()
	before, err := os.ReadFile(d.ledgerFile())
	mustDo(t, err)
	read := d.check(good)
	if found, ok := read.find("ledger", "can be read and written"); !ok || found.Level != "ok" || len(read.bad()) > 0 {
		t.Errorf("%+v", read.Findings)
	}
	after, err := os.ReadFile(d.ledgerFile())
	mustDo(t, err)
	if left, _ := os.ReadDir(filepath.Dir(d.ledgerFile())); !bytes.Equal(before, after) || len(left) != 1 {
		t.Errorf("it was changed, or left are %v", left)
	}
}

func TestCheckFindsFaultsOfTheLedger(t *testing.T) {
	const anyone = "is checked for other users than root"
	elsewhere := func(path string) string { return strings.Replace(good, "axra {", "axra {\n database sqlite "+path, 1) }
	cases := []faultCase{
		{"readable by everybody", func(d *desk) {
			d.makeLedger()
			mustDo(d.t, os.Chmod(d.ledgerFile(), 0o644)) //nolint:gosec // that is the fault
		}, good, "", "warning", "ledger", "holds the signing keys", "chmod 600"},
		{"a directory that others may write", func(d *desk) {
			d.makeLedger()
			mustDo(d.t, os.Chmod(filepath.Dir(d.ledgerFile()), 0o777)) //nolint:gosec // that is the fault
		}, good, "", "warning", "ledger", "may replace files there", "chmod go-w"},
		{"a directory in its place", nil, elsewhere("STORAGE"), elsewhere("STORAGE/ledger.db"), "error", "ledger", "is not a file", "absolute path on a local disk"},
		{"a file in place of a directory", func(d *desk) { d.write("../file", "") }, elsewhere("ROOT/../file/ledger.db"), "", "error", "ledger", "is not a directory", ""},
		{"a relative path", nil, elsewhere("ledger.db"), elsewhere("STORAGE/ledger.db"), "error", "configuration", "is not an absolute path", inMessage},
		{"another database", nil, strings.Replace(good, "axra {", "axra {\n database mysql", 1), good, "error", "configuration", "database mysql is unknown", inMessage},
	}
	if os.Geteuid() == 0 {
		cases = append(cases, faultCase{"a root shell has made it", func(d *desk) {
			d.makeLedger()
			mustDo(d.t, os.Chown(filepath.Dir(d.ledgerFile()), 1234, -1))
		}, good, "", "error", "ledger", "was it created by a root shell?", "chown"})
		t.Log("a directory without rights " + anyone)
	} else {
		cases = append(cases, faultCase{"a directory without rights", func(d *desk) {
			d.makeLedger()
			mustDo(d.t, os.Chmod(d.ledgerFile(), 0o400)) //nolint:gosec // that is the fault
		}, good, "", "error", "ledger", "may not read and write it", "chown"})
	}
	run(t, cases)
}

func TestCheckLooksAtTheClock(t *testing.T) {
	for _, c := range []struct {
		offset       time.Duration
		level, words string
	}{
		{0, "ok", "UTC"},
		{-60 * 366 * 24 * time.Hour, "error", "by this machine's clock"},
	} {
		d := newDesk(t)
		restore := paywall.SetClock(func() time.Time { return time.Now().Add(c.offset) })
		read := d.check(good)
		restore()
		if found, _ := read.find("clock", c.words); found.Level != c.level {
			t.Errorf("by %s: %+v", c.offset, read.Findings)
		}
	}
}

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
	files, err := filepath.Glob("examples/*.caddyfile")
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
