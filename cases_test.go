package paywall_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// with returns a copy of the header with fields set, or removed where the value is empty.
func with(header http.Header, pairs ...string) http.Header {
	changed := header.Clone()
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			changed.Del(pairs[i])
			continue
		}
		changed.Set(pairs[i], pairs[i+1])
	}
	return changed
}

// openAs is open with headers of another browser.
func (v *visitor) openAs(header http.Header, target string) reply {
	v.w.t.Helper()
	return v.do(http.MethodGet, target, header, nil)
}

// FA1 and FA2: navigations that do not look like those of a desktop browser buy as others do.
func TestFA1FA2NavigationsOfAllBrowsersBuy(t *testing.T) {
	w := newWorld(t, worldOptions{})
	for name, header := range map[string]http.Header{
		"FA1 in-app browser":                with(navigation, "X-Requested-With", "com.example.browser"),
		"FA1 in-app browser, old":           with(navigation, "X-Requested-With", "com.facebook.katana", "Sec-Fetch-Mode", "", "Sec-Fetch-Dest", ""),
		"FA2 service worker":                with(navigation, "Sec-Fetch-Dest", "empty"),
		"FA2 service worker, accepting all": with(navigation, "Sec-Fetch-Dest", "empty", "Accept", "*/*"),
		"both":                              with(navigation, "Sec-Fetch-Dest", "empty", "X-Requested-With", "com.example.browser"),
	} {
		t.Run(name, func(t *testing.T) {
			v := w.visitor()
			first := v.openAs(header, "/premium/article.html")
			first.wantCheckout(t, w)
			w.hold(true)
			back := v.pay(v.browse(first.location()), cardGood)
			v.openAs(header, back.location()).wantPage(t, http.StatusPaymentRequired, "Waiting for confirmation")
			w.hold(false)
			w.delivered()
			if paid := v.openAs(header, back.location()); paid.location() != "/premium/article.html" {
				t.Fatalf("the return leads to %d %q\n%s", paid.status, paid.location(), paid.body)
			}
			v.openAs(header, "/premium/article.html").wantPaid(t)
			v.openAs(header, "/premium/article.html?axra_receipt").wantPage(t, http.StatusOK, "Your receipt")
		})
	}
}

// FA3: whoever is taken for a program and accepts HTML can buy by a button, and gets in afterwards.
func TestFA3WhoIsTakenForAProgramBuysByAButton(t *testing.T) {
	oneGate, twoPasses := newWorld(t, worldOptions{}).config, twoPasses
	template := strings.Replace(fiveLines, "access 30d", "access 30d\n\t\toffer {\n\t\t\ttitle \"The premium section\"\n\t\t}", 1)
	teaser := strings.Replace(fiveLines, "access 30d", "access 30d\n\t\tteaser {\n\t\t\trespond \"TEASER\"\n\t\t}", 1)
	misjudged := map[string]http.Header{
		"XHR":                with(navigation, "X-Requested-With", "XMLHttpRequest"),
		"fetch":              with(navigation, "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"),
		"a phone called bot": with(navigation, "User-Agent", "Mozilla/5.0 (Linux; Android 14; CUBOT X90) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36 (compatible; Googlebot/2.1)"),
		"prefetched":         with(navigation, "Sec-Purpose", "prefetch"),
	}
	for site, config := range map[string]string{"one gate": oneGate, "offer page": template, "two passes": twoPasses, "teaser": teaser} {
		w := newWorld(t, worldOptions{Caddyfile: config})
		for name, header := range misjudged {
			t.Run(site+"/"+name, func(t *testing.T) {
				v := w.visitor()
				before := w.creations()
				target := "/premium/article.html"
				button := "Continue to checkout"
				switch site {
				case "teaser":
					target += "?axra_checkout"
				case "two passes":
					button = "Buy b for 2.00 USD"
				case "offer page":
					button = "Buy"
				}
				refused := v.openAs(header, target)
				if refused.status != http.StatusPaymentRequired || w.creations() != before {
					t.Fatalf("answers %d, creates %d sessions", refused.status, w.creations()-before)
				}
				wantFormActions(t, refused, w.axra.URL)
				checkout := v.submitAs(header, refused, button)
				checkout.wantCheckout(t, w)
				back := v.pay(v.browse(checkout.location()), cardGood)
				w.delivered()
				if paid := v.openAs(header, back.location()); paid.location() != "/premium/article.html" {
					t.Fatalf("the return leads to %d %q\n%s", paid.status, paid.location(), paid.body)
				}
				v.openAs(header, "/premium/article.html").wantPaid(t)
			})
		}
	}
}

// submitAs presses a button as a browser with those headers does.
func (v *visitor) submitAs(header http.Header, page reply, button string) reply {
	v.w.t.Helper()
	action, values := findForm(v.w.t, page, button)
	target, err := page.url.Parse(action)
	mustDo(v.w.t, err)
	header = with(header, "Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "same-origin")
	return v.do(http.MethodPost, target.String(), header, strings.NewReader(values.Encode()))
}

// wantFormActions: a browser holds a form's redirects, too, to the form-action of the page's policy.
func wantFormActions(t *testing.T, page reply, checkout string) {
	t.Helper()
	for directive := range strings.SplitSeq(page.header.Get("Content-Security-Policy"), ";") {
		if name, sources, _ := strings.Cut(strings.TrimSpace(directive), " "); name == "form-action" {
			if !strings.Contains(sources+" ", "'self' ") || !strings.Contains(sources+" ", checkout+" ") {
				t.Errorf("form-action %s: want 'self' and %s", sources, checkout)
			}
			return
		}
	}
	t.Error("the page's policy has no form-action")
}

// FA3: a browser with a payment under way gets it, whatever its headers say.
func TestFA3AReturnIsHonouredWhateverTheHeadersSay(t *testing.T) {
	w := newWorld(t, worldOptions{})
	for name, header := range map[string]http.Header{
		"script":               with(navigation, "X-Requested-With", "XMLHttpRequest", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"),
		"accepts anything":     {"Accept": {"*/*"}},
		"no headers":           nil,
		"prefetch":             with(navigation, "Sec-Purpose", "prefetch"),
		"says to be a crawler": with(navigation, "User-Agent", "Googlebot/2.1"),
	} {
		t.Run(name, func(t *testing.T) {
			v := w.visitor()
			w.hold(true)
			back := v.pay(v.browse("/premium/article.html"), cardGood)
			v.openAs(header, back.location()).wantPage(t, http.StatusPaymentRequired, "Waiting for confirmation")
			w.hold(false)
			w.delivered()
			if paid := v.openAs(header, back.location()); paid.location() != "/premium/article.html" {
				t.Fatalf("the return leads to %d %q\n%s", paid.status, paid.location(), paid.body)
			}
			v.openAs(header, "/premium/article.html").wantPaid(t)
		})
	}
	t.Run("S1 another browser", func(t *testing.T) {
		back := w.visitor().pay(w.visitor().browse("/premium/article.html"), cardGood)
		w.delivered()
		for range 2 {
			answer := w.visitor().openAs(http.Header{"Accept": {"*/*"}}, back.location())
			if answer.status != http.StatusPaymentRequired || len(answer.header.Values("Set-Cookie")) > 0 {
				t.Errorf("answers %d, sets %q", answer.status, answer.header.Values("Set-Cookie"))
			}
		}
	})
}

// C2: a form of another site, or of a program's cross-site page, starts nothing, and is no dead end.
func TestC2AFormOfAnotherSiteGetsAPageWithAButton(t *testing.T) {
	w := newWorld(t, worldOptions{})
	v := w.visitor()
	page := v.do(http.MethodPost, "/premium/article.html?axra_checkout", with(navigation, "Sec-Fetch-Site", "cross-site"), nil)
	page.wantPage(t, http.StatusPaymentRequired, "Continue to checkout")
	if w.creations() != 0 {
		t.Errorf("%d sessions", w.creations())
	}
	v.submitAs(navigation, page, "Continue to checkout").wantCheckout(t, w)
}

// routesByPathInfo is an application that serves what follows a script's name, as front controllers do.
func routesByPathInfo(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		route := r.URL.Path
		for _, ending := range []string{".php", ".phtml", ".PHP", ".php7", ".cgi", ".pl", ".aspx", ".cfm", ".jsp", ".py", ".rb", ".dll"} {
			if at := strings.LastIndex(route, ending+"/"); at >= 0 {
				route = route[at+len(ending):]
			}
		}
		if strings.HasPrefix(r.URL.RawQuery, "/") { // as CodeIgniter does
			route, _, _ = strings.Cut(r.URL.RawQuery, "&")
		}
		if strings.HasPrefix(route, "/premium") || strings.HasPrefix(route, "/blog/premium") {
			io.WriteString(rw, marker) //nolint:errcheck // a test server
			return
		}
		io.WriteString(rw, "free") //nolint:errcheck // a test server
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// FB1: what follows a script's name is a path by which applications route; it is gated like that path.
func TestFB1WhatFollowsAScriptIsGated(t *testing.T) {
	upstream := "reverse_proxy " + routesByPathInfo(t)
	const gated, never, free = "gated", "never paid bytes", "free"
	targets := []struct{ target, want string }{
		{"/index.php/premium/post", gated},
		{"/index.php/premium", gated},
		{"/index.php/premium/", gated},
		{"/index.php/premium/index.html", gated},
		{"/index.php//premium/post", gated},
		{"/INDEX.PHP/premium/post", gated},
		{"/app.php7/premium/post", gated},
		{"/cgi-bin/app.cgi/premium/post", gated},
		{"/app.pl/premium/post", gated},
		{"/app.phtml/premium/post", gated},
		{"/Default.aspx/premium/post", gated},
		{"/index.cfm/premium/post", gated},
		{"/app.jsp/premium/post", gated},
		{"/app.py/premium/post", gated},
		{"/app.rb/premium/post", gated},
		{"/isapi.dll/premium/post", gated},
		{"/sub/index.php/premium/post", gated},
		{"/index.php/a.php/premium/post", gated},
		{"/index.php%2Fpremium/post", gated},
		{"/index.php/free/../premium/post", never},
		{"/index.php;x/premium/post", never},
		{"/index%2Ephp/premium/post", gated},
		{"/index.php/%70remium/post", gated},
		{"/index.php%5Cpremium/post", never},
		{"/a.php/b.php/c.php/d.php/e.php/f.php/premium/post", never},
		{"/?/premium/post", gated},
		{"/index.php?/premium/post&x=1", gated},
		{"/index.php?/%70remium/post", never},
		{"/index.php", free},
		{"/index.php/about", free},
		{"/docs/v1.2/premium/post", free},
		{"/index.php?q=/premium/post", free},
	}
	for name, gate := range map[string]string{
		"path":       "/premium/*",
		"paths":      "@paid {\n\t\tprice 5.00 usd\n\t}\n\t@paid path /premium /premium/*\n\taxra_paywall /nothing",
		"expression": "@paid {\n\t\tprice 5.00 usd\n\t}\n\t@paid `path('/premium*') && !path('/premium/free')`\n\taxra_paywall /nothing",
	} {
		config := strings.NewReplacer("GATE", gate, "UPSTREAM", upstream).Replace(gateBefore)
		w := newWorld(t, worldOptions{Caddyfile: config})
		for _, row := range targets {
			status, body := w.rawGet(row.target, "Accept: text/html", "Sec-Fetch-Mode: navigate")
			paid := strings.Contains(body, marker)
			switch {
			case paid:
				t.Errorf("%s: %s: paid bytes", name, row.target)
			case row.want == gated && status != http.StatusSeeOther:
				t.Errorf("%s: %s: answers %d", name, row.target, status)
			case row.want == free && (status != http.StatusOK || body != "free"):
				t.Errorf("%s: %s: answers %d %q", name, row.target, status, body)
			}
		}
	}
	t.Run("a gate around all but something", func(t *testing.T) {
		config := strings.NewReplacer("GATE", "@paid {\n\t\tprice 5.00 usd\n\t}\n\t@paid not path / /index.php /assets/* /free/*\n\taxra_paywall /nothing", "UPSTREAM", upstream).Replace(gateBefore)
		w := newWorld(t, worldOptions{Caddyfile: config})
		for target, free := range map[string]bool{
			"/assets/index.php/premium/post": false,
			"/?/premium/post":                false,
			"/index.php?/premium/post":       false,
			"/assets/app.js":                 true,
			"/assets/index.php/free/post":    true,
			"/index.php":                     true,
			"/":                              true,
		} {
			status, body := w.rawGet(target, "Accept: text/html", "Sec-Fetch-Mode: navigate")
			if strings.Contains(body, marker) || free != (status == http.StatusOK) {
				t.Errorf("%s: answers %d %q", target, status, body)
			}
		}
	})
}

// FB1: a buyer of a section gets what a front controller serves of it.
func TestFB1ABuyerGetsInByTheFrontController(t *testing.T) {
	config := strings.NewReplacer("GATE", "/premium/*", "UPSTREAM", "reverse_proxy "+routesByPathInfo(t)).Replace(gateBefore)
	w := newWorld(t, worldOptions{Caddyfile: config})
	v := w.visitor()
	v.buy("/index.php/premium/post", cardGood).wantPaid(t)
	v.open("/premium/post").wantPaid(t)
}

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
		/sheets/dear.txt  25.00
		/sheets/folder    25.00
		default           1.00
	}
	map {path} {sku} {
		/keyed/dear.txt  dear
		/keyed/cheap.txt cheap
		default          cheap
	}
	@eager path /eager/dear.txt
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

// FB2: no spelling of a dear file's address is sold at another price than the canonical one.
func TestFB2OtherSpellingsAreNotSoldByThemselves(t *testing.T) {
	lenientFiles := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		io.WriteString(rw, marker+" "+r.URL.Path) //nolint:errcheck // a test server
	}))
	t.Cleanup(lenientFiles.Close)
	w := newWorld(t, worldOptions{Caddyfile: strings.ReplaceAll(sheets, "UPSTREAM", "reverse_proxy "+lenientFiles.URL)})
	spellings := []string{
		"/%sdear.txt/", "/%s/dear.txt", "//%sdear.txt", "/%sdear.txt/index.html", "/%sdear.txt//", "/%sdear.txt/index.html/",
		"/%s./dear.txt", "/%sx/../dear.txt", "/%sdear.txt%%2f", "/%sdear.txt/%%2e", "/%sd%%65ar.txt/", "/index.php/%sdear.txt",
		"/%sdear.txt/.", "/%sdear.txt/INDEX.HTML", "/%sdear.php/x", "/?/%sdear.txt", "/%sdear.txt;x", "/%sdear.txt%%20",
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
				if program.status == http.StatusCreated && !strings.Contains(program.body, "25") {
					t.Errorf("a program buys it: %s", program.body)
				}
			})
		}
	}
	t.Run("the canonical address itself", func(t *testing.T) {
		v := w.visitor()
		v.buy("/sheets/dear.txt", cardGood).wantPaid(t)
		for _, spelling := range []string{"/sheets/dear.txt/", "/sheets/dear.txt"} {
			v.open(spelling).wantPaid(t)
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
		"/keyed/dear.txt", "/keyed//dear.txt", "/keyed/dear.txt/", "//keyed/dear.txt", "/keyed/dear.txt/index.html", "/index.php/keyed/dear.txt", "/keyed/dear.php/x",
	} {
		if answer := v.open(target); strings.Contains(answer.body, marker) {
			t.Errorf("%s opens by the key of another", target)
		}
	}
	v.open("/keyed/cheap.txt/").wantPaid(t)
	if _, err := url.Parse(v.open("/keyed/dear.txt").location()); err != nil {
		t.Error(err)
	}
}
