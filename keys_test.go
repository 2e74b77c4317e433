package paywall_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// keyed sells what a placeholder names.
func keyed(key string) string {
	config := strings.Replace(fiveLines, "access 30d", "pass p\n\t\tper_path "+key, 1)
	return strings.Replace(config, "endpoint ", "limit_per_client 1000 1m\n\t\tendpoint ", 1)
}

func TestAKeyOfTheQueryIsSoldAndComesBack(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: keyed("{query.sku}")})
	v := w.visitor()
	v.buy("/premium/article.html?sku=1", cardGood).wantPaid(t)
	v.open("/premium/other.html?x=y&sku=1").wantPaid(t)
	v.open("/premium/article.html?sku=2").wantCheckout(t, w)
	for _, target := range []string{"/premium/article.html?sku=1&sku=2", "/premium/article.html?sku=1&x=1;sku=2", "/premium/article.html?sku=2&axra_query=c2t1PTE"} {
		if answer := w.visitor().do(http.MethodGet, target, v.bearerOfKey(), nil); strings.Contains(answer.body, marker) {
			t.Errorf("%s: %d", target, answer.status)
		}
	}
}

func (v *visitor) bearerOfKey() http.Header { return v.bearer("/premium/article.html") }

func TestS6AKeyOfTheQueryIsWaitedFor(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: keyed("{query.sku}")})
	v := w.visitor()
	w.hold(true)
	back := v.pay(v.browse("/premium/article.html?sku=1"), cardGood)
	v.open(back.location()).wantPage(t, http.StatusPaymentRequired, "Waiting for confirmation")
	w.pass(31 * time.Minute)
	v.open("/premium/article.html?sku=1").wantPage(t, http.StatusPaymentRequired, "Waiting for confirmation")
	w.hold(false)
	w.delivered()
	v.browse("/premium/article.html?sku=1").wantPaid(t)
	if w.creations() != 1 {
		t.Errorf("%d sessions", w.creations())
	}
}

// A gate that looks at the query covers its own success URL.
func TestAGateOfAQueryMatcherLetsItsBuyersBack(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: strings.Replace(fiveLines, "axra_paywall /premium/* {",
		"@gold {\n path /premium/*\n query tier=gold\n }\n axra_paywall @gold {", 1)})
	v := w.visitor()
	v.buy("/premium/article.html?tier=gold", cardGood).wantPaid(t)
}

// What is bought is never pushed out of the browser, and never fills its requests.
func TestManyKeysLeaveRoom(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: keyed("{path.1}")})
	v := w.visitor()
	page := func(i int) string {
		target := fmt.Sprintf("/premium/%d/x.html", i)
		w.write(strings.TrimPrefix(target, "/"), marker)
		return target
	}
	bought := 0
	for ; bought < 20; bought++ {
		v.buy(page(bought), cardGood).wantPaid(t)
	}
	// Paid, but the tab has not come back yet; meanwhile others are opened.
	back := v.pay(v.open(v.open(page(100)).location()), cardGood)
	w.delivered()
	for i := range 12 {
		v.open(page(200 + i))
	}
	v.browse(back.location()).wantPaid(t)
	for ; bought < 60; bought++ {
		answer := v.open(page(bought))
		if answer.status == http.StatusTooManyRequests { // checkouts that are still open
			w.pass(time.Hour)
			answer = v.open(page(bought))
		}
		if answer.status != http.StatusSeeOther {
			break
		}
		v.pay(v.open(answer.location()), cardGood) // and never comes back to it
		w.delivered()
	}
	if bought == 60 {
		t.Error("any number is sold")
	}
	for _, target := range []string{page(0), page(100), page(bought - 1)} {
		v.browse(target).wantPaid(t)
	}
	if answer := v.open("/"); answer.status != http.StatusOK {
		t.Errorf("the free page: %d", answer.status)
	}
}

// A path may be spelled in several ways, which browsers do not take for one.
func TestAFileIsBoughtInAllSpellingsOfItsName(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: strings.Replace(fiveLines, "access 30d", "per_path", 1)})
	w.write("premium/it's (1) größe.html", marker)
	spellings := []string{"/premium/it's%20(1)%20gr%C3%B6%C3%9Fe.html", "/premium/it%27s%20%281%29%20gr%C3%B6%C3%9Fe.html"}
	for i, bought := range spellings {
		v := w.visitor()
		v.buy(bought, cardGood).wantPaid(t)
		v.open(spellings[1-i]).wantPaid(t)
	}
	if w.creations() != 2 {
		t.Errorf("%d sessions", w.creations())
	}
}

func TestR1AQueryThatComesBackIsOne(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: strings.Replace(fiveLines, "\troot ROOT", "\trespond /premium/echo \"MARK {uri}|{http.request.orig_uri}\"\n\troot ROOT", 1)})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	program := v.bearer("/premium/")
	for query, want := range map[string]string{
		"axra_query=aWQ9MQ&axra_session=x":                  "MARK /premium/echo|/premium/echo",
		"id=2&axra_query=aWQ9MQ":                            "MARK /premium/echo?id=2|/premium/echo?id=2",
		"a=1&axra_try=2&b":                                  "MARK /premium/echo?a=1&b|/premium/echo?a=1&b",
		"axra_query=YQ0KYg&a":                               "MARK /premium/echo?a|/premium/echo?a", // a line break in it
		"a=axra_x&" + url.QueryEscape("axra_query") + "x=1": "MARK /premium/echo?a=axra_x&axra_queryx=1|/premium/echo?a=axra_x&axra_queryx=1",
	} {
		if answer := w.visitor().do(http.MethodGet, "/premium/echo?"+query, program, nil); answer.body != want {
			t.Errorf("%s: %d %q, want %q", query, answer.status, answer.body, want)
		}
	}
}

func TestAKeyMayBeTheWholeAddress(t *testing.T) {
	for _, key := range []string{"{http.request.orig_uri}", "{http.request.uri}", "{http.request.orig_uri.path}"} {
		w := newWorld(t, worldOptions{Caddyfile: keyed(key)})
		v := w.visitor()
		v.buy("/premium/article.html?x=1&axra_checkout=p", cardGood).wantPaid(t)
		v.open("/premium/article.html?x=1").wantPaid(t)
		w.stop()
	}
}
