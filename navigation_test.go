package paywall_test

import (
	"net/http"
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
	template := strings.Replace(fiveLines, "access 30d", "access 30d\n\t\toffer {\n\t\t\ttitle \"The premium section\"\n\t\t}", 1)
	teaser := strings.Replace(fiveLines, "access 30d", "access 30d\n\t\tteaser {\n\t\t\trespond \"TEASER\"\n\t\t}", 1)
	misjudged := map[string]http.Header{
		"XHR":                with(navigation, "X-Requested-With", "XMLHttpRequest"),
		"fetch":              with(navigation, "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"),
		"a phone called bot": with(navigation, "User-Agent", "Mozilla/5.0 (Linux; Android 14; CUBOT X90) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36 (compatible; Googlebot/2.1)"),
		"prefetched":         with(navigation, "Sec-Purpose", "prefetch"),
	}
	for site, config := range map[string]string{"one gate": fiveLines, "offer page": template, "two passes": twoPasses, "teaser": teaser} {
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
		w.stop() // a reload to another ledger is refused
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
	old := with(navigation, "Sec-Fetch-Mode", "", "Sec-Fetch-Dest", "") // a browser without Fetch metadata
	for origin, want := range map[string]int{"https://evil.example": http.StatusPaymentRequired, "null": http.StatusSeeOther, w.site: http.StatusSeeOther} {
		answer := w.visitor().do(http.MethodPost, "/premium/article.html?axra_checkout", with(old, "Origin", origin), nil)
		if answer.status != want {
			t.Errorf("from %s: %d, want %d", origin, answer.status, want)
		}
	}
}

// FA3: the button of who extends a purchase sells more time, and no second purchase.
func TestFA3WhoIsTakenForAProgramExtendsByAButton(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member()})
	script := with(navigation, "X-Requested-With", "XMLHttpRequest")
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	offer := v.openAs(script, link(t, v.open(receiptPage), "Extend access"))
	offer.wantPage(t, http.StatusPaymentRequired, "Continue to checkout")
	back := v.pay(v.browse(v.submitAs(script, offer, "Continue to checkout").location()), cardGood)
	w.delivered()
	v.browse(back.location()).wantPaid(t)
	if receipt := v.open(receiptPage); !strings.Contains(receipt.body, "5.00 USD &#43; 5.00 USD") {
		t.Errorf("the receipt does not show two payments of one purchase:\n%s", receipt.body)
	}
}
