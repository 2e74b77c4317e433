package paywall_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/caddy-axra/paywall/internal/sitetest"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// A golden file holds a Caddyfile, the separator, and what comes of it: JSON, or
// the exact text of an error.
const separator = "----------\n"

// plantedSecret is the value of an environment variable that Caddyfiles in the
// golden files expand; nothing that the plugin says may repeat it.
const plantedSecret = "bs_live_planted-secret-value"

// TestAdapt adapts every Caddyfile of testdata/adapt.
func TestAdapt(t *testing.T) {
	golden(t, "adapt", func(t *testing.T, name, input string) string {
		adapted, err := adapt(t, input)
		if err != nil {
			t.Fatalf("%s is refused: %v", name, err)
		}
		var indented bytes.Buffer
		if err := json.Indent(&indented, adapted, "", "\t"); err != nil {
			t.Fatal(err)
		}
		return indented.String() + "\n"
	})
}

// TestAdaptErrors adapts every Caddyfile of testdata/invalid. The error names
// file and line; what it says in full is in the golden file.
func TestAdaptErrors(t *testing.T) {
	t.Setenv("PAYWALL_TEST_SECRET", plantedSecret)
	golden(t, "invalid", func(t *testing.T, name, input string) string {
		adapted, err := adapt(t, input)
		if err == nil {
			t.Fatalf("%s is accepted:\n%s", name, adapted)
		}
		if strings.Contains(err.Error(), plantedSecret) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error repeats a secret: %v", err)
		}
		if !strings.Contains(err.Error(), "Caddyfile:") {
			t.Errorf("the error names no file and line: %v", err)
		}
		return err.Error() + "\n"
	})
}

// golden runs produce on each file of a folder of testdata.
func golden(t *testing.T, folder string, produce func(t *testing.T, name, input string) string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", folder, "*.caddyfiletest"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files in %s: %v", folder, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".caddyfiletest")
		t.Run(name, func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			content = bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n"))
			input, want, found := strings.Cut(string(content), separator)
			if !found {
				t.Fatalf("%s holds no line %q", file, separator)
			}
			got := produce(t, name, input)
			if *update {
				if err := os.WriteFile(file, []byte(input+separator+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("%s:\n--- got\n%s\n--- want\n%s", file, got, want)
			}
		})
	}
}

// adapt turns a Caddyfile into JSON. Golden Caddyfiles are written as
// `caddy fmt` writes them, for they are what people copy.
func adapt(t *testing.T, input string) ([]byte, error) {
	t.Helper()
	if formatted := caddyfile.Format([]byte(input)); string(formatted) != input {
		t.Errorf("the Caddyfile is not formatted; it should be:\n%s", formatted)
	}
	adapted, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), nil)
	for _, warning := range warnings {
		t.Errorf("warning: %s", warning)
	}
	return adapted, err
}

// quiet begins every Caddyfile that is provisioned here.
const quiet = "admin off\n\tpersist_config off\n\tauto_https off\n\tstorage file_system {$PAYWALL_TEST_STORAGE}"

// TestConfigErrors provisions configurations that Caddy must refuse, and looks
// for the fix in the error.
func TestConfigErrors(t *testing.T) {
	const (
		gate = "http://example.com {\n\taxra_paywall /premium/* {\n\t\tprice 5.00 usd\n\t}\n}\n"
		hook = "http://example.com {\n\taxra_webhook /webhooks/axra\n}\n"
	)
	for _, test := range []struct {
		name string
		env  map[string]string
		axra string // the block of the global option; "" for none
		site string
		want string
	}{
		{"W2 webhook secret unset", nil, "webhook_secret {env.PW_HOOK}", hook,
			"axra: webhook_secret {env.PW_HOOK} is empty"},
		{"W2 webhook secret blank", map[string]string{"PW_HOOK": " \n"}, "webhook_secret {env.PW_HOOK}", hook,
			"axra: webhook_secret {env.PW_HOOK} is empty"},
		{"W2 webhook without secrets", map[string]string{"PW_KEY": "bk_test_PLANTED"}, "api_key {env.PW_KEY}", hook,
			"axra_webhook: the global option axra has no webhook_secret, so no event could be verified: add `webhook_secret {env.AXRA_WEBHOOK_SECRET}`"},
		{"database URL unset", map[string]string{"PW_KEY": "bk_live_PLANTED"}, "api_key {env.PW_KEY}\n\t\tdatabase postgres {env.PW_DB}", gate,
			"axra: database postgres {env.PW_DB} is empty in the running Caddy: set that variable and restart, or use {file./path}"},
		{"key unset", nil, "api_key {env.PW_KEY}", gate,
			"axra: api_key {env.PW_KEY} is empty"},
		{"live key, test secret", map[string]string{"PW_KEY": "bk_live_PLANTED", "PW_SECRET": "bs_test_PLANTED"},
			"api_key {env.PW_KEY}\n\t\tapi_secret {env.PW_SECRET}", gate,
			"axra: api_key is a live key and api_secret a sandbox secret: take both from the same Axra account page"},
		{"endpoint from the environment", map[string]string{"PW_KEY": "bk_test_PLANTED", "PW_ENDPOINT": "http://api.useaxra.com"},
			"api_key {env.PW_KEY}\n\t\tendpoint {env.PW_ENDPOINT}", gate,
			"plain http is accepted for localhost only"},
		{"site_url from the environment", map[string]string{"PW_KEY": "bk_test_PLANTED", "PW_SITE": "http://example.com"},
			"api_key {env.PW_KEY}\n\t\tsite_url {env.PW_SITE}", gate,
			"plain http is accepted for localhost only"},
		{"gate's site_url unset", map[string]string{"PW_KEY": "bk_test_PLANTED"}, "api_key {env.PW_KEY}",
			"http://example.com {\n\taxra_paywall {\n\t\tprice 5.00 usd\n\t\tsite_url {env.PW_SITE}\n\t}\n}\n",
			"site_url {env.PW_SITE} is empty"},
		{"gate without api_key", map[string]string{"PW_HOOK": "bs_test_PLANTED"}, "webhook_secret {env.PW_HOOK}", gate,
			"axra_paywall: the global option axra has no api_key: add `api_key {env.AXRA_API_KEY}`"},
		{"gate without axra", nil, "", gate,
			"axra_paywall needs the axra app: add the global option axra, with `api_key {env.AXRA_API_KEY}`"},
		{"webhook without axra", nil, "", hook,
			"axra_webhook needs the axra app: add the global option"},
	} {
		t.Run(test.name, func(t *testing.T) {
			global := quiet
			if test.axra != "" {
				global += "\n\taxra {\n\t\t" + test.axra + "\n\t}"
			}
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			config := mustAdapt(t, "{\n\t"+global+"\n}\n\n"+test.site)
			refused(t, config, test.want)
		})
	}
}

// TestConfigErrorsJSON does the same for configurations that no Caddyfile leads to.
func TestConfigErrorsJSON(t *testing.T) {
	t.Setenv("PW_KEY", "bk_test_PLANTED")
	t.Setenv("PW_HOOK", "bs_test_PLANTED")
	const key = `"api_key":"{env.PW_KEY}"`
	for _, test := range []struct{ name, app, gate, want string }{
		{"no price", key, `{}`, "axra_paywall: gate \"default\": has no price: add `price 5.00 usd`"},
		{"no currency", key, `{"price":{"amount":"5.00"}}`, "price: currency \"\": not an ISO 4217 currency code"},
		{"no amount", key, `{"price":{"currency":"usd"}}`, "price: amount \"\": not a plain decimal amount such as 5.00"},
		{"amount below the minimum", key, `{"price":{"amount":"0.49","currency":"usd"},"pass":"p"}`,
			"axra_paywall: gate \"p\": price: amount 0.49 USD: below the smallest amount Axra accepts, 0.50"},
		{"key without per_path", key, `{"price":{"amount":"5.00","currency":"usd"},"key":"{sku}"}`, "write `per_path` too"},
		{"key without placeholder", key, `{"price":{"amount":"5.00","currency":"usd"},"per_path":true,"key":"sku"}`, "must hold a placeholder"},
		{"unknown pass", key, `{"passes":["day"]}`, "pass \"day\" is not defined: correct the name, or add `pass day { price 5.00 usd }`"},
		{"header prefix", key, `{"price":{"amount":"5.00","currency":"usd"},"request_headers":"X_Axra"}`, "ends in a hyphen"},
		{"template that is not there", key, `{"price":{"amount":"5.00","currency":"usd"},"offer_page":{"template":"/none.html"}}`, "give the path of a file"},
		{"number as amount", key, `{"price":{"amount":5,"currency":"usd"}}`, "cannot unmarshal number"},
		{"unknown field", key, `{"price":{"amount":"5.00","currency":"usd"},"prise":1}`, `unknown field "prise"`},
		{"bad access", key, `{"price":{"amount":"5.00","currency":"usd"},"access":"soon"}`, "write 12h, 30d or forever"},
		{"negative access", key, `{"price":{"amount":"5.00","currency":"usd"},"access":"-1h"}`, "write 12h, 30d or forever"},
		{"short expires_in", key, `{"price":{"amount":"5.00","currency":"usd"},"expires_in":"299s"}`, "write `expires_in 30m`"},
		{"negative expires_in", key, `{"price":{"amount":"5.00","currency":"usd"},"expires_in":-1}`, "write `expires_in 30m`"},
		{"reserved metadata", key, `{"price":{"amount":"5.00","currency":"usd"},"metadata":{"paywall_v":"1"}}`, "the key is reserved: choose another"},
		{"pass of control characters", key, `{"price":{"amount":"5.00","currency":"usd"},"pass":"a\nb"}`, "no control characters"},
		{"relative cancel_url", key, `{"price":{"amount":"5.00","currency":"usd"},"cancel_url":"pricing"}`, "write `cancel_url /pricing`"},
		{"unknown matcher", key, `{"price":{"amount":"5.00","currency":"usd"},"match":[{"moon":{}}]}`, "axra_paywall: loading matchers: "},
		{"literal api_key", `"api_key":"bk_live_PLANTED"`, ``, "axra: api_key must be a placeholder"},
		{"W2 empty webhook secret", key + `,"webhook_secrets":["{env.PW_HOOK}",""]`, ``,
			"axra: webhook_secret is empty: anyone could sign with it; remove it or give it a value"},
		{"unknown scheme", key + `,"signature":{"scheme":"none"}`, ``, `axra: signature: unknown signature scheme "none": write one of ["body" "timestamp.body" "t,v1" "standard_webhooks"]`},
		{"a secret in another encoding", key + `,"webhook_secrets":["{env.PW_HOOK}"],"signature":{"secret_encoding":"hex"}`, ``,
			`axra: signature: secret encoding: secret 1 is not hex: correct it, or leave out secret_encoding`},
		{"unknown signing algorithm", key + `,"signing_algorithm":"none"`, ``, `axra: signing_algorithm "none" is unknown: write HS256 or EdDSA`},
		{"negative recheck", key + `,"recheck":-1`, ``, "axra: recheck, grace and download_window must be greater than zero"},
		{"negative grace", key + `,"grace":"-1m"`, ``, "axra: recheck, grace and download_window must be greater than zero"},
		{"limit of nothing", key + `,"limits":{"total":{"events":0,"per":"1m"}}`, ``, "axra: limit total must allow at least one session"},
		{"literal URL with a password", key + `,"database":{"url":"postgres://shop:PLANTED@localhost/shop"}`, ``, "must be a placeholder"},
	} {
		t.Run(test.name, func(t *testing.T) {
			handle := ""
			if test.gate != "" {
				handle = `{"handler":"axra_paywall"`
				if rest := strings.TrimPrefix(test.gate, "{"); rest != "}" {
					handle += "," + rest
				} else {
					handle += "}"
				}
			}
			refused(t, []byte(`{"admin":{"disabled":true,"config":{"persist":false}},
				"storage":{"module":"file_system","root":`+quote(t, t.TempDir())+`},
				"apps":{"axra":{`+test.app+`},"http":{"servers":{"s":{"listen":["127.0.0.1:0"],
				"automatic_https":{"disable":true},
				"routes":[{"match":[{"host":["example.com"]}],"handle":[`+handle+`]}]}}}}}`), test.want)
		})
	}
}

// TestConfigAccepted provisions what must not be refused, and looks for secrets
// in what Caddy would show of it.
func TestConfigAccepted(t *testing.T) {
	secretFile := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secretFile, []byte("bs_live_PLANTED\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	databaseFile := filepath.Join(t.TempDir(), "database_url")
	mustDo(t, os.WriteFile(databaseFile, []byte("postgres://shop:PLANTED@127.0.0.1:1/shop\n"), 0o600))
	gate := "http://example.com {\n\taxra_paywall /premium/* {\n\t\tprice 5.00 usd\n\t}\n}\n"
	hook := "http://example.com {\n\taxra_webhook /webhooks/axra\n}\n"
	for _, test := range []struct {
		name string
		env  map[string]string
		axra string
		site string
	}{
		{"key alone", map[string]string{"PW_KEY": "bk_live_PLANTED"}, "api_key {env.PW_KEY}", gate},
		{"webhook alone", map[string]string{"PW_HOOK": "bs_live_PLANTED"}, "webhook_secret {env.PW_HOOK}", hook},
		{"webhook secret from the API secret", map[string]string{"PW_KEY": "bk_live_PLANTED"},
			"api_key {env.PW_KEY}\n\t\tapi_secret {file." + secretFile + "}", hook},
		{"test key on localhost", map[string]string{"PW_KEY": "bk_test_PLANTED"},
			"api_key {env.PW_KEY}\n\t\tendpoint http://localhost:8403/api/v1", gate},
		{"endpoint and site_url from the environment",
			map[string]string{"PW_KEY": "bk_test_PLANTED", "PW_ENDPOINT": "http://127.0.0.1:8403", "PW_SITE": "https://example.com"},
			"api_key {env.PW_KEY}\n\t\tendpoint {env.PW_ENDPOINT}\n\t\tsite_url {env.PW_SITE}", gate},
		{"database in the environment", map[string]string{"PW_KEY": "bk_live_PLANTED", "PW_DB": " postgres://shop:PLANTED%2F@127.0.0.1:1/shop\n"},
			"api_key {env.PW_KEY}\n\t\tdatabase postgres {env.PW_DB}", gate},
		{"database in a file", map[string]string{"PW_KEY": "bk_live_PLANTED"}, "api_key {env.PW_KEY}\n\t\tdatabase postgres {file." + databaseFile + "}", gate},
		{"no gate at all", nil, "", "http://example.com {\n\trespond ok\n}\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			config := mustAdapt(t, "{\n\t"+quiet+"\n\taxra {\n\t\t"+test.axra+"\n\t}\n}\n\n"+test.site)
			if bytes.Contains(config, []byte("PLANTED")) {
				t.Errorf("a secret stands in the adapted configuration: %s", config)
			}
			if err := validate(t, config); err != nil {
				t.Errorf("refused: %v", err)
			}
		})
	}
}

// TestConfigStart loads configurations whose faults show only when all sites are known.
func TestConfigStart(t *testing.T) {
	t.Setenv("PW_KEY", "bk_test_PLANTED")
	t.Setenv("PW_SITE", "https://example.com")
	gate := func(matcher string, lines ...string) string {
		return "\taxra_paywall " + matcher + "{\n\t\tprice " + strings.Join(lines, "\n\t\t") + "\n\t}\n"
	}
	const (
		noHost  = "is in a site without a host name, so visitors could not be sent back to it: give the site block its host name, or add `site_url https://example.com`"
		oneName = "under the same name"
	)
	for _, test := range []struct{ name, axra, sites, want string }{
		{"no host and no site_url", "", "http://:PORT {\n" + gate("/premium/* ", "5.00 usd") + "}\n", `axra_paywall: gate "/premium/*" ` + noHost},
		{"a star for a host", "", "http://*:PORT {\n" + gate("", "5.00 usd") + "}\n", `axra_paywall: gate "default" ` + noHost},
		{"no host in the second site", "", "http://example.com:PORT {\n" + gate("", "5.00 usd") + "}\n\nhttp://:PORT {\n" + gate("", "5.00 usd", "pass other") + "}\n",
			`axra_paywall: gate "other" ` + noHost},
		{"no host, nested", "", "http://:PORT {\n\thandle /shop/* {\n\t\troute {\n" + gate("", "5.00 usd", "pass nested") + "\t\t}\n\t}\n}\n",
			`axra_paywall: gate "nested" ` + noHost},
		{"no host, invoked", "", "&(paid) {\n" + gate("", "5.00 usd", "pass invoked") + "}\n\nhttp://:PORT {\n\tinvoke paid\n}\n",
			`axra_paywall: gate "invoked" ` + noHost},
		{"site_url of the app", "site_url {env.PW_SITE}", "http://:PORT {\n" + gate("", "5.00 usd") + "}\n", ""},
		{"site_url of the gate", "", "http://:PORT {\n" + gate("", "5.00 usd", "site_url https://example.com") + "}\n", ""},
		{"localhost", "", "http://localhost:PORT {\n" + gate("", "5.00 usd") + "}\n", ""},
		{"two prices for one pass", "", "http://example.com:PORT {\n" + gate("/a/* ", "5.00 usd", "pass all") + gate("/b/* ", "6.00 usd", "pass all") + "}\n",
			oneName + ` "all"`},
		{"two currencies for one pass", "", "http://example.com:PORT {\n" + gate("/a/* ", "5.00 usd", "pass all") + gate("/b/* ", "5.00 eur", "pass all") + "}\n", oneName},
		{"two lengths of access for one pass", "", "http://example.com:PORT {\n" + gate("/a/* ", "5.00 usd", "pass all", "access 1d") + gate("/b/* ", "5.00 usd", "pass all") + "}\n", oneName},
		{"the default pass twice", "", "http://example.com:PORT {\n" + gate("", "5.00 usd") + gate("* ", "6.00 usd") + "}\n", oneName + ` "default"`},
		{"one matcher, two prices", "", "http://example.com:PORT {\n\thandle /a/* {\n" + gate("/premium/* ", "5.00 usd") + "\t}\n\thandle {\n" + gate("/premium/* ", "6.00 usd") + "\t}\n}\n", oneName},
		{"two sites of one site_url", "", "http://a.example.com:PORT {\n" + gate("", "5.00 usd", "site_url https://example.com") + "}\n\nhttp://b.example.com:PORT {\n" +
			gate("", "6.00 usd", "site_url https://example.com") + "}\n", oneName},
		{"one offer on two gates", "", "http://example.com:PORT {\n" + gate("/a/* ", "5.00 usd", "pass all") + gate("/b/* ", "5.0 USD", "pass all") + "}\n", ""},
		{"one pass name on two sites", "", "http://a.example.com:PORT {\n" + gate("", "5.00 usd") + "}\n\nhttp://b.example.com:PORT {\n" + gate("", "6.00 usd") + "}\n", ""},
		{"a shared snippet", "", "(gate) {\n" + gate("{args[0]} ", "{args[1]} usd") + "}\n\nhttp://example.com:PORT {\n\timport gate /a/* 1.00\n\timport gate /b/* 2.00\n}\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			global := quiet + "\n\taxra {\n\t\tapi_key {env.PW_KEY}\n\t\tendpoint http://localhost:1/api/v1\n\t\t" + test.axra + "\n\t}"
			sites := strings.ReplaceAll(test.sites, "PORT", sitetest.FreePort(t))
			config := mustAdapt(t, "{\n\t"+global+"\n}\n\n"+sites)
			err := caddy.Load(config, true)
			defer func() {
				if err := caddy.Stop(); err != nil {
					t.Error(err)
				}
			}()
			judge(t, err, test.want)
		})
	}
}

// mustAdapt adapts a Caddyfile with storage of its own.
func mustAdapt(t *testing.T, input string) []byte {
	t.Helper()
	t.Setenv("PAYWALL_TEST_STORAGE", t.TempDir())
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(adapted, []byte("PLANTED")) {
		t.Errorf("a secret stands in the adapted configuration: %s", adapted)
	}
	return adapted
}

// validate is `caddy validate`.
func validate(t *testing.T, config []byte) error {
	t.Helper()
	var parsed caddy.Config
	if err := json.Unmarshal(config, &parsed); err != nil {
		t.Fatal(err)
	}
	return caddy.Validate(&parsed)
}

func refused(t *testing.T, config []byte, want string) {
	t.Helper()
	judge(t, validate(t, config), want)
}

// judge compares an error with a part of it that must be there; "" for none.
func judge(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case err == nil && want != "":
		t.Errorf("accepted; it should be refused with: %s", want)
	case err != nil && want == "":
		t.Errorf("refused: %v", err)
	case err != nil && !strings.Contains(err.Error(), want):
		t.Errorf("got  %v\nwant %s", err, want)
	case err != nil && strings.Contains(err.Error(), "PLANTED"):
		t.Errorf("the error repeats a secret: %v", err)
	}
}

func quote(t *testing.T, text string) string {
	t.Helper()
	quoted, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(quoted)
}
