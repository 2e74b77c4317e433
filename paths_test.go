package paywall_test

import (
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/sitetest"
)

// sheets sells files at prices from a table, and by a key from a table.
const sheets = `{
	SETUP
	axra {
		api_key        {env.AXRA_API_KEY}
		webhook_secret {env.AXRA_WEBHOOK_SECRET}
		endpoint       ENDPOINT
	}
}
http://localhost:PORT {
	axra_webhook /webhooks/axra
	map {path} {price} {
		/sheets/expensive.txt  25.00
		/sheets/folder    25.00
		/sheets/slashed/  25.00
		default           1.00
	}
	map {path} {sku} {
		/keyed/expensive.txt  expensive
		/keyed/cheap.txt cheap
		default          cheap
	}
	@eager path /eager/expensive.txt
	vars {
		eager_price 1.00
	}
	vars @eager eager_price 25.00
	axra_paywall /sheets/* {
		price {price} usd
		per_path
	}
	axra_paywall /eager/* {
		price {vars.eager_price} usd
		per_path
	}
	axra_paywall /keyed/* {
		price 1.00 usd
		per_path {sku}
	}
	UPSTREAM
}
`

// FB2: no spelling of a file's address is sold at another price than the canonical one, or opens by another key.
func TestFB2OtherSpellingsAreNotSoldByThemselves(t *testing.T) {
	everything := sitetest.Echo(t, func(rw http.ResponseWriter, r *http.Request) {
		io.WriteString(rw, sitetest.Marker+" "+r.URL.Path) //nolint:errcheck // a test server
	})
	w := newWorld(t, sitetest.Options{Caddyfile: strings.ReplaceAll(sheets, "UPSTREAM", "reverse_proxy "+everything)})
	spellings := []string{
		"/%sexpensive.txt/", "//%sexpensive.txt", "/%sexpensive.txt/index.html/", "/%sx/../expensive.txt", "/%sexpensive.txt%%2f", "/%s%%65xpensive.txt/",
		"/index.php/%sexpensive.txt", "/%sexpensive.php/x", "/?/%sexpensive.txt", "/%sexpensive.txt;x",
	}
	ofCheapKey := w.Visitor()
	ofCheapKey.Buy("/keyed/cheap.txt").WantPaid(t)
	for _, folder := range []string{"sheets", "eager", "keyed"} {
		for _, spelling := range spellings {
			target := strings.ReplaceAll(strings.ReplaceAll(spelling, "%s", folder+"/"), "%%", "%")
			t.Run(target, func(t *testing.T) {
				if folder == "keyed" {
					if answer := ofCheapKey.Open(target); strings.Contains(answer.Body, sitetest.Marker) {
						t.Error("it opens by the key of another")
					}
					return
				}
				v := w.Visitor()
				answer := v.Open(target)
				switch {
				case answer.Status == http.StatusBadRequest:
					return // refused
				case answer.Status != http.StatusSeeOther || strings.HasPrefix(answer.Location(), w.Axra.URL):
					t.Fatalf("sold as it is spelled: %d to %s", answer.Status, answer.Location())
				}
				if page := v.Browse(answer.Next()); !strings.Contains(page.Body, "25.00") {
					t.Errorf("sold for another price than 25.00 after a redirect to %s", answer.Location())
				}
				program := v.Do(http.MethodPost, target+"?axra_checkout", http.Header{"Accept": {"application/json"}}, nil)
				if program.Status != http.StatusBadRequest {
					t.Errorf("a program's POST: %d %s", program.Status, program.Body)
				}
				w.Pass(time.Minute)
			})
		}
	}
	for _, target := range []string{"/sheets/expensive.txt", "/sheets/slashed", "/sheets/folder/?q=1"} { // browse fails after ten redirects
		v := w.Visitor()
		if checkout := v.Browse(target); !strings.Contains(checkout.Body, "25.00") {
			t.Errorf("%s is sold for another price", target)
		}
		v.Buy(target).WantPaid(t)
		v.Open(target + "/").WantPaid(t)
	}
}

// FB2: a folder has one address for the gate and another for file_server; nobody is sent to and fro.
func TestFB2AFolderIsNoLoop(t *testing.T) {
	w := newWorld(t, sitetest.Options{})
	w.Write("sheets/folder/index.html", sitetest.Marker)
	w.Write("teaser.txt", "TEASER")
	for name, option := range map[string]string{"checkout": "", "preview": "preview 3 per 30d", "teaser": "teaser /teaser.txt"} {
		t.Run(name, func(t *testing.T) {
			config := strings.ReplaceAll(sheets, "UPSTREAM", "root ROOT\n\tfile_server")
			config = strings.NewReplacer("/sheets/* {", "* {", "/sheets/folder ", "/ 25.00\n\t\t/sheets/folder ",
				"price {price} usd\n\t\tper_path", "price {price} usd\n\t\tper_path\n\t\t"+option).Replace(config)
			w.Load(config)
			for _, target := range []string{"/sheets/folder/", "/", "/index.html", "//"} {
				v := w.Visitor()
				page := v.Browse(target) // which fails after ten redirects
				if name != "checkout" {
					continue
				}
				if !strings.Contains(page.Body, "25.00") {
					t.Errorf("another price than 25.00 at %s", page.URL)
				}
				back := v.Pay(page)
				w.Delivered()
				v.Browse(back.Location())
				if answer := v.Browse(target); answer.Status != http.StatusOK {
					t.Errorf("%s: %d after the payment", target, answer.Status)
				}
			}
		})
	}
}

// keyed sells what a placeholder names.
func keyed(key string) string {
	config := strings.Replace(sitetest.FiveLines, "access 30d", "pass p\n\t\tper_path "+key, 1)
	return strings.Replace(config, "endpoint ", "limit_per_client 1000 1m\n\t\tendpoint ", 1)
}

// A key, and a path in each spelling, are bought once and come back.
func TestKeysAndPathsAreBoughtOnce(t *testing.T) {
	w := newWorld(t, sitetest.Options{})
	w.Write("premium/it's (1) größe.html", sitetest.Marker)
	for _, test := range []struct{ name, config, bought, also, other string }{
		{"of the query", keyed("{query.sku}"), "/premium/article.html?sku=1", "/premium/other.html?x=y&sku=1", "/premium/article.html?sku=2"},
		{"of the address", keyed("{http.request.orig_uri}"), "/premium/article.html?x=1", "/premium/article.html?x=1", "/premium/article.html?x=2"},
		{"of the folder", keyed("{dir}"), "/premium/", article, "/premium/course/"},
		{"after a rewrite", strings.Replace(keyed("{query.file}"), "\troot ROOT", "\trewrite /dl /premium/{query.file}.html\n\troot ROOT", 1),
			"/dl?file=article", "/dl?file=article", "/dl?file=other"},
		{"a path", keyed(""), "/premium//article.html?x=1", article, "/premium/other.html"},
		{"a name", keyed(""), "/premium/it's%20(1)%20gr%C3%B6%C3%9Fe.html", "/premium/it%27s%20%281%29%20gr%C3%B6%C3%9Fe.html", "/premium/other.html"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.Load(test.config)
			v := w.Visitor()
			w.Sandbox.Hold()
			back := v.Pay(v.Browse(test.bought))
			v.Open(back.Location()).WantPage(t, http.StatusPaymentRequired, "Waiting for confirmation")
			w.Sandbox.Release()
			w.Delivered()
			v.Browse(back.Location()).WantPaid(t)
			v.Open(test.also).WantPaid(t)
			v.Open(test.other).WantCheckout(t, w)
			token := v.Bearer(strings.Split(test.also, "?")[0])
			if answer := w.Visitor().Do(http.MethodGet, test.other+"&"+smuggled(strings.SplitN(test.bought+"?", "?", 3)[1]), token, nil); strings.Contains(answer.Body, sitetest.Marker) {
				t.Error("T4: it opens another by a query that the gate alone reads")
			}
		})
	}
}

// smuggled is a query as a checkout would bring it back, for whoever believes that.
func smuggled(query string) string {
	return "axra_query=" + base64.RawURLEncoding.EncodeToString([]byte(query))
}

// S4 and T4: matchers, rewrites and handlers around the gate read the query that the application reads.
func TestS4T4NobodyHidesTheQueryFromTheGate(t *testing.T) {
	app := sitetest.Echo(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, sitetest.Marker+" "+r.URL.Query().Get("tier")+r.URL.Query().Get("p"))
	})
	w := newWorld(t, sitetest.Options{})
	const silver, gold = "axra_paywall {\n pass silver\n price 1 usd\n }\n", "axra_paywall {\n pass gold\n price 500 usd\n }\n"
	proxy := "reverse_proxy " + app
	for name, site := range map[string]string{
		"a query matcher":     "@gold query tier=gold\n axra_paywall /premium/* {\n pass silver\n price 1 usd\n }\n axra_paywall @gold {\n pass gold\n price 500 usd\n }\n" + proxy,
		"an expression":       "@gold expression `{query.tier} == \"gold\"`\n axra_paywall @gold {\n pass gold\n price 500 usd\n }\n" + silver + proxy,
		"not a query matcher": "@gold not query tier=silver\n axra_paywall @gold {\n pass gold\n price 500 usd\n }\n" + silver + proxy,
		"a handler around it": "@gold query tier=gold\n handle @gold {\n" + gold + proxy + "\n }\n handle {\n" + silver + proxy + "\n }",
	} {
		t.Run(name, func(t *testing.T) {
			before, _, _ := strings.Cut(sitetest.FiveLines, "\taxra_paywall")
			w.Load(before + site + "\n}\n")
			v := w.Visitor()
			v.Buy("/premium/x?tier=silver").WantBody(t, sitetest.Marker+" silver")
			v.Open("/premium/x?tier=gold").WantCheckout(t, w)
			for _, query := range []string{"tier=gold", "tier=gold&" + smuggled("tier=silver"), "tier=silver&" + smuggled("tier=gold"), smuggled("tier=gold")} {
				if answer := v.Do(http.MethodGet, "/premium/x?"+query, v.Bearer("/premium/x"), nil); strings.HasSuffix(answer.Body, "gold") {
					t.Errorf("%s: gold for silver", query)
				}
			}
		})
	}
}
