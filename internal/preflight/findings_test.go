package preflight_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckFindsFaultsOfTheOrder(t *testing.T) {
	rest := "root ROOT\n file_server\n"
	run(t, []faultCase{
		{"gate after file_server in route", nil,
			site(hook + "root ROOT\n route {\n file_server\n" + gate + "}"), site(hook + "root ROOT\n route {\n" + gate + "file_server\n}"),
			"error", "order", "no request reaches it: example.com/premium/ is answered by file_server", "write it first"},
		{"gate after reverse_proxy in route", nil,
			site(hook + "route {\n reverse_proxy localhost:9\n" + gate + "}"), site(hook + "route {\n" + gate + "reverse_proxy localhost:9\n}"),
			"error", "order", "is answered by reverse_proxy", "write it first"},
		{"gate after a handle that takes its paths", nil,
			site(hook + "root ROOT\n handle /premium/* {\n file_server\n }\n handle {\n" + gate + "file_server\n}"),
			site(hook + "root ROOT\n handle /premium/* {\n" + gate + "file_server\n }\n handle {\n file_server\n }"),
			"error", "order", "is answered by file_server", "write it first"},
		{"gate in a handle of other paths", nil,
			site(hook + "root ROOT\n handle /members/* {\n" + gate + "}\n file_server"), good,
			"error", "order", "no request reaches it", "takes its paths"},
		{"a part of the paths answered before", nil,
			site(hook + "root ROOT\n route {\n file_server /premium/free/*\n" + gate + "file_server\n}"),
			site(hook + "root ROOT\n route {\n" + gate + "file_server /premium/free/*\n file_server\n}"),
			"error", "order", "file_server answers example.com/premium/free/ before it, for free", ""},
		{"a respond before the gate", nil,
			site(hook + "root ROOT\n route {\n respond /premium/hello hello\n" + gate + "file_server\n}"),
			site(hook + gate + "respond /premium/hello hello\n" + rest),
			"warning", "order", "respond answers example.com/premium/hello before it", "unless that is meant for everybody"},
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
			"warning", "caches", "because of test_cache before the gate", "after axra_paywall"},
		{"FD2", nil, site(hook + "header >Surrogate-Control \"max-age=600\"\n" + gate + rest), good,
			"warning", "caches", "a deferred `header Surrogate-Control \"max-age=600\"`", "without `>`"},
		{"a header that is set late", nil,
			site(hook + "header >Cache-Control \"public, max-age=600\"\n" + gate + rest),
			site(hook + "header Cache-Control \"public, max-age=600\"\n" + gate + rest),
			"warning", "caches", "a deferred `header Cache-Control \"public, max-age=600\"`", "without `>`"},
	})
}

// What depends on more than paths cannot be told, and is not called a fault.
func TestCheckNotesWhatItCannotTell(t *testing.T) {
	rest := hook + "root ROOT\n file_server\n"
	for name, config := range map[string]string{
		"a header":      site(rest + "@members header X-Member yes\n handle @members {\n" + gate + "}"),
		"a method":      site(rest + "@posts method POST\n axra_paywall @posts {\n price 5.00 usd\n }"),
		"a placeholder": site(rest + "@section path {env.TEST_SECTION}\n axra_paywall @section {\n price 5.00 usd\n }"),
	} {
		t.Run(name, func(t *testing.T) {
			read := newDesk(t).check(config)
			if noted, ok := read.find("order", "whether a request reaches it"); !ok || noted.Level != "unchecked" || len(read.bad()) > 0 {
				t.Errorf("%+v", read.Findings)
			}
		})
	}
}

func TestCheckFindsAWebhookThatIsNotReached(t *testing.T) {
	rest := gate + "root ROOT\n file_server\n"
	run(t, []faultCase{
		{"none", nil, site(rest), good, "error", "webhook", "no payment would open a gate", "axra_webhook /webhooks/axra"},
		{"none here", nil, strings.Replace(site(rest), "axra {", "axra {\n database sqlite STORAGE/ledger.db", 1), good, "warning", "webhook", "no payment would open a gate", "axra_webhook /webhooks/axra"},
		{"inside handle", nil,
			site("handle /hooks/* {\n axra_webhook /webhooks/axra\n }\n" + rest), good,
			"error", "webhook", "no request reaches it", "outside `route` and `handle`"},
		{"in a handle of other paths", nil,
			site("root ROOT\n handle /webhooks/* {\n file_server\n }\n handle {\n" + hook + gate + "file_server\n}"), good,
			"error", "webhook", "is answered by file_server", "outside `route` and `handle`"},
		{"behind a gate in route", nil,
			site("route {\n axra_paywall {\n price 5.00 usd\n }\n" + hook + "}\n root ROOT\n file_server"),
			site("route {\n" + hook + "axra_paywall {\n price 5.00 usd\n }\n }\n root ROOT\n file_server"),
			"error", "webhook", "a gate covers the webhook", "before the gate"},
		{"behind a password", nil,
			site("route {\n basic_auth {\n bob $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n }\n" + hook + "}\n" + rest), good,
			"error", "webhook", "basic_auth is in front of the webhook", "outside `route`"},
		{"behind forward_auth", nil,
			site("route {\n forward_auth localhost:9 {\n uri /auth\n }\n" + hook + "}\n" + rest), good,
			"error", "webhook", "forward_auth is in front of the webhook", ""},
		{"behind a redirect", nil,
			site("route {\n redir /webhooks/* https://www.example.com{uri}\n" + hook + "}\n" + rest), good,
			"error", "webhook", "is answered by redir", ""},
		{"behind respond", nil,
			site("route {\n respond /webhooks/* 204\n" + hook + "}\n" + rest), good,
			"error", "webhook", "is answered by respond", ""},
		{"without a path", nil, site("axra_webhook\n" + rest), good, "error", "webhook", "answers every request of the site", "give it a path"},
		{"for one method only", nil, site("@posts method POST\n axra_webhook @posts\n" + rest), good, "error", "webhook", "answers every request of the site", "give it a path"},
		{"on a host of the office", nil,
			setup + "example.com {\n" + rest + "}\nhooks.internal {\n" + hook + "}\n",
			setup + "example.com {\n" + rest + "}\nhooks.example.com {\n" + hook + "}\n",
			"warning", "webhook", "https://hooks.internal/webhooks/axra: Axra cannot reach it", "be reached from the internet"},
	})
}

func TestCheckFindsAKeySetInPlaceOfTheSite(t *testing.T) {
	with := func(jwks string) string {
		return strings.Replace(site(hook+jwks+gate+"root ROOT\n file_server"), "axra {", "axra {\n signing_algorithm EdDSA", 1)
	}
	repaired := with("axra_jwks /.well-known/jwks.json\n")
	run(t, []faultCase{
		{"without a path", nil, with("axra_jwks\n"), repaired, "error", "order", "axra_jwks answers every request", "axra_jwks /.well-known/jwks.json"},
		{"for all paths", nil, with("axra_jwks /*\n"), repaired, "error", "order", "axra_jwks answers every request", ""},
		{"inside a handle of all paths", nil, with("handle {\n axra_jwks\n }\n"), with("handle /keys {\n axra_jwks\n }\n"), "error", "order", "axra_jwks answers every request", ""},
		{"by a regular expression", nil, with("axra_jwks\n"), with("@keys path_regexp ^/keys$\n axra_jwks @keys\n"), "error", "order", "axra_jwks answers every request", ""},
	})
}

func TestCheckFindsFaultsOfAddresses(t *testing.T) {
	rest := hook + gate + "root ROOT\n file_server\n}\n"
	proxied := strings.Replace(setup, "{\n", "{\n servers {\n trusted_proxies static 10.0.0.0/8\n }\n", 1)
	run(t, []faultCase{
		{"no host name", nil, setup + ":8080 {\n" + rest,
			strings.Replace(proxied, "axra {", "axra {\n site_url https://example.com", 1) + ":8080 {\n" + rest,
			"error", "addresses", "is in a site without a host name", inMessage},
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
			"error", "addresses", "two gates of example.com would sell under the same name", inMessage},
		{"a pass that nobody sells", nil,
			site(hook + gate + "@paid axra_paid monht\n respond @paid thanks"), "",
			"error", "addresses", "no gate sells a pass \"monht\"", inMessage},
	})
}

func TestCheckFindsFaultsOfSecretsAndTheEnvironment(t *testing.T) {
	set := func(pairs ...string) func(*desk) {
		return func(d *desk) {
			for i := 0; i < len(pairs); i += 2 {
				d.t.Setenv(pairs[i], pairs[i+1])
			}
		}
	}
	priced := strings.Replace(good, "5.00 usd", "{env.TEST_PRICE} usd", 1)
	run(t, []faultCase{
		{"an empty key", set("AXRA_API_KEY", ""), good, "", "error", "configuration", "api_key {env.AXRA_API_KEY} is empty", "--envfile"},
		{"another empty secret", set("AXRA_API_KEY", "", "AXRA_WEBHOOK_SECRET", " "), good, "", "error", "configuration", "is empty", "--envfile"},
		{"a file that is not there", nil, strings.Replace(good, "{env.AXRA_API_KEY}", "{file.STORAGE/none}", 1), good, "error", "configuration", "/none} is empty", ""},
		{"a file for all to read", func(d *desk) {
			mustDo(d.t, os.WriteFile(filepath.Join(d.storage, "open"), []byte("bk_live_good"), 0o600))
			mustDo(d.t, os.Chmod(filepath.Join(d.storage, "open"), 0o644)) //nolint:gosec // that is the fault
			mustDo(d.t, os.WriteFile(filepath.Join(d.storage, "shut"), []byte("bk_live_good"), 0o600))
		}, strings.Replace(good, "{env.AXRA_API_KEY}", "{file.STORAGE/open}", 1), strings.Replace(good, "{env.AXRA_API_KEY}", "{file.STORAGE/shut}", 1),
			"warning", "secrets", "can be read by every user", "chmod 600"},
		{"a key in place of the secret", set("AXRA_WEBHOOK_SECRET", "bk_live_good"), good, "", "error", "secrets", "is no webhook_secret", "a secret with bs_"},
		{"a secret in place of the key", set("AXRA_API_KEY", "bs_live_good"), strings.Replace(good, "axra {", "axra {\n endpoint https://pay.example.com", 1), "", "error", "secrets", "is no api_key", "a key begins with bk_"},
		{"quotation marks", set("AXRA_WEBHOOK_SECRET", `"bs_live_good"`), good, "", "error", "secrets", "spaces or quotation marks", ""},
		{"a sandbox secret beside a live key", set("AXRA_WEBHOOK_SECRET", "bs_test_sandbox"), good, "", "error", "secrets", "a sandbox secret beside a live key", ""},
		{"a test key", set("AXRA_API_KEY", "bk_test_sandbox", "AXRA_WEBHOOK_SECRET", "bs_test_sandbox"), good, "", "warning", "secrets", "takes no real money", "the live key"},
		{"a test key at the live endpoint", set("AXRA_API_KEY", "bk_test_sandbox"), strings.Replace(good, "axra {", "axra {\n endpoint https://api.useaxra.com/api/v1", 1), "",
			"error", "configuration", "api_key is a sandbox key", inMessage},
		{"an endpoint of somebody else", nil, strings.Replace(good, "axra {", "axra {\n endpoint https://pay.example.com", 1), good, "warning", "secrets", "none of Axra's addresses", "leave out `endpoint`"},
		{"a price that is not set", set("TEST_PRICE", ""), priced, good, "error", "environment", "it uses {env.TEST_PRICE}", "--envfile"},
		{"a price of a pass", set("TEST_PRICE", ""), strings.Replace(good, "axra {", "axra {\n pass month {\n price {env.TEST_PRICE} usd\n }", 1), good, "error", "environment", "pass month", ""},
		{"a description that is not set", set("TEST_PRICE", ""), strings.Replace(good, "price", "description {env.TEST_PRICE}\n price", 1), good, "error", "environment", "it uses {env.TEST_PRICE}", ""},
	})
	t.Run("a price that is set", func(t *testing.T) {
		d := newDesk(t)
		t.Setenv("TEST_PRICE", "4.50")
		if read := d.check(priced); len(read.bad()) > 0 {
			t.Errorf("%+v", read.bad())
		}
	})
}
