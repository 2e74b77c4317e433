package paywall_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
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

// FB2: no spelling of a expensive file's address is sold at another price than the canonical one.
func TestFB2OtherSpellingsAreNotSoldByThemselves(t *testing.T) {
	lenientFiles := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		io.WriteString(rw, marker+" "+r.URL.Path) //nolint:errcheck // a test server
	}))
	t.Cleanup(lenientFiles.Close)
	w := newWorld(t, worldOptions{Caddyfile: strings.ReplaceAll(sheets, "UPSTREAM", "reverse_proxy "+lenientFiles.URL)})
	spellings := []string{
		"/%sexpensive.txt/", "/%s/expensive.txt", "//%sexpensive.txt", "/%sexpensive.txt/index.html", "/%sexpensive.txt//", "/%sexpensive.txt/index.html/",
		"/%s./expensive.txt", "/%sx/../expensive.txt", "/%sexpensive.txt%%2f", "/%sexpensive.txt/%%2e", "/%s%%65xpensive.txt/", "/index.php/%sexpensive.txt",
		"/%sexpensive.txt/.", "/%sexpensive.txt/INDEX.HTML", "/%sexpensive.php/x", "/?/%sexpensive.txt", "/%sexpensive.txt;x", "/%sexpensive.txt%%20",
	}
	for _, folder := range []string{"sheets", "eager"} {
		for _, spelling := range spellings {
			target := strings.ReplaceAll(strings.ReplaceAll(spelling, "%s", folder+"/"), "%%", "%")
			t.Run(target, func(t *testing.T) {
				v := w.visitor()
				answer := v.open(target)
				switch {
				case answer.status == http.StatusBadRequest:
					return // refused
				case strings.HasPrefix(answer.location(), w.axra.URL):
					t.Fatalf("sold as it is spelled: %s", answer.location())
				case answer.status != http.StatusSeeOther:
					t.Fatalf("answers %d\n%s", answer.status, answer.body)
				}
				checkout := v.browse(answer.next())
				if !strings.Contains(checkout.body, "25.00") {
					t.Errorf("sold for another price than 25.00 after a redirect to %s", answer.location())
				}
				program := v.do(http.MethodPost, target+"?axra_checkout", http.Header{"Accept": {"application/json"}}, nil)
				if program.status != http.StatusBadRequest {
					t.Errorf("a program's POST: %d %s", program.status, program.body)
				}
			})
		}
	}
	t.Run("the canonical address itself", func(t *testing.T) {
		v := w.visitor()
		v.buy("/sheets/expensive.txt", cardGood).wantPaid(t)
		for _, spelling := range []string{"/sheets/expensive.txt/", "/sheets/expensive.txt"} {
			v.open(spelling).wantPaid(t)
		}
	})
	t.Run("a program at the canonical address", func(t *testing.T) {
		program := w.visitor().do(http.MethodPost, "/sheets/expensive.txt?axra_checkout", http.Header{"Accept": {"application/json"}}, nil)
		if program.status != http.StatusCreated || !strings.Contains(program.body, `"amount":25.00`) {
			t.Errorf("%d %s", program.status, program.body)
		}
	})
	t.Run("a folder whose table entry has a slash", func(t *testing.T) {
		for _, target := range []string{"/sheets/slashed", "/sheets/slashed/"} {
			if checkout := w.visitor().browse(target); !strings.Contains(checkout.body, "25.00") {
				t.Errorf("%s is sold for another price", target)
			}
		}
	})
	t.Run("a folder", func(t *testing.T) {
		v := w.visitor()
		answer := v.open("/sheets/folder/?q=1")
		if answer.location() != "/sheets/folder?q=1" {
			t.Fatalf("%d %q", answer.status, answer.location())
		}
		v.buy("/sheets/folder/?q=1", cardGood).wantPaid(t)
		v.open("/sheets/folder/").wantPaid(t) // no loop, wherever the site redirects then
	})
}

// FB2: a folder has one address for the gate and another for file_server; nobody is sent to and fro.
func TestFB2AFolderIsNoLoop(t *testing.T) {
	for name, option := range map[string]string{"checkout": "", "preview": "preview 3 per 30d", "teaser": "teaser {\n\t\t\trespond TEASER\n\t\t}"} {
		t.Run(name, func(t *testing.T) {
			config := strings.ReplaceAll(sheets, "UPSTREAM", "root ROOT\n\tfile_server")
			config = strings.Replace(config, "price {price} usd\n\t\tper_path", "price {price} usd\n\t\tper_path\n\t\t"+option, 1)
			w := newWorld(t, worldOptions{Caddyfile: config})
			w.write("sheets/folder/index.html", marker)
			v := w.visitor()
			page := v.browse("/sheets/folder/") // which fails after ten redirects
			if name == "checkout" {
				if !strings.Contains(page.body, "25.00") {
					t.Errorf("another price than 25.00 at %s", page.url)
				}
				back := v.pay(page, cardGood)
				w.delivered()
				v.browse(back.location()).wantPaid(t)
				v.browse("/sheets/folder").wantPaid(t)
			}
		})
	}
}

// FB2: the root is its own canonical path, where prices are looked up.
func TestFB2TheRootIsNoLoop(t *testing.T) {
	config := strings.NewReplacer("/sheets/* {", "* {", "/sheets/folder ", "/ ", "UPSTREAM", "root ROOT\n\tfile_server").Replace(sheets)
	w := newWorld(t, worldOptions{Caddyfile: config})
	for _, target := range []string{"/", "/index.html", "//"} {
		if checkout := w.visitor().browse(target); !strings.Contains(checkout.body, "25.00") { // browse fails after ten redirects
			t.Errorf("%s is sold for another price", target)
		}
	}
}

// FB2: a path that the site rewrites keeps the key that its table has for it.
func TestFB2ARewrittenPathKeepsItsKey(t *testing.T) {
	upstream := "root ROOT\n\ttry_files {path} {path}/index.html\n\tfile_server"
	config := strings.Replace(strings.ReplaceAll(sheets, "UPSTREAM", upstream), "/keyed/cheap.txt cheap", "/keyed/folder/index.html folder", 1)
	w := newWorld(t, worldOptions{Caddyfile: config})
	w.write("keyed/folder/index.html", marker)
	v := w.visitor()
	v.buy("/keyed/folder", cardGood).wantPaid(t)
	if answer := v.open("/keyed/other.txt"); answer.status != http.StatusSeeOther { // another key than folder's
		t.Errorf("%d", answer.status)
	}
}

// FB2: a key from the path stays as it is; a folder has the key of its index page.
func TestFB2AFolderIsAKey(t *testing.T) {
	config := strings.Replace(strings.ReplaceAll(sheets, "UPSTREAM", "root ROOT\n\tfile_server"), "per_path {sku}", "per_path {dir}", 1)
	w := newWorld(t, worldOptions{Caddyfile: config})
	w.write("keyed/course/index.html", marker)
	w.write("keyed/course/one.html", marker)
	w.write("keyed/other/index.html", marker)
	v := w.visitor()
	v.buy("/keyed/course/", cardGood).wantPaid(t)
	v.open("/keyed/course/one.html").wantPaid(t)
	if answer := v.open("/keyed/other/"); answer.status != http.StatusSeeOther {
		t.Errorf("another folder: %d", answer.status)
	}
}

// FB2: paths of one price are sold under one spelling, too.
func TestFB2PathsOfOnePriceAreSoldOnce(t *testing.T) {
	config := strings.Replace(fiveLines, "access 30d", "per_path", 1)
	w := newWorld(t, worldOptions{Caddyfile: config})
	v := w.visitor()
	if answer := v.open("/premium//article.html?x=1"); answer.location() != "/premium/article.html?x=1" {
		t.Errorf("%d %q", answer.status, answer.location())
	}
	v.buy("/premium//article.html", cardGood).wantPaid(t)
	v.open("/premium/article.html").wantPaid(t)
	for _, target := range []string{"/index.php/premium/article.html", "/premium/article.html?axra_here=1&/premium/other.html", "/?/premium/other.html"} {
		if answer := v.do(http.MethodGet, target, nil, nil); answer.status != http.StatusBadRequest {
			t.Errorf("%s: %d", target, answer.status)
		}
	}
}

// FB2: a key that was bought opens no other thing by another spelling of its address.
func TestFB2AKeyIsOfTheCanonicalPath(t *testing.T) {
	lenientFiles := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		io.WriteString(rw, marker) //nolint:errcheck // a test server
	}))
	t.Cleanup(lenientFiles.Close)
	w := newWorld(t, worldOptions{Caddyfile: strings.ReplaceAll(sheets, "UPSTREAM", "reverse_proxy "+lenientFiles.URL)})
	v := w.visitor()
	v.buy("/keyed/cheap.txt", cardGood).wantPaid(t)
	for _, target := range []string{
		"/keyed/expensive.txt", "/keyed//expensive.txt", "/keyed/expensive.txt/", "//keyed/expensive.txt", "/keyed/expensive.txt/index.html", "/keyed/expensive.txt/index.htm/index.htm", "/index.php/keyed/expensive.txt", "/keyed/expensive.php/x",
	} {
		if answer := v.open(target); strings.Contains(answer.body, marker) {
			t.Errorf("%s opens by the key of another", target)
		}
	}
	v.open("/keyed/cheap.txt/").wantPaid(t)
}
