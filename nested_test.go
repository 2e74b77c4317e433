package paywall_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/sandbox"
)

func gateBehindGate(inner string) string {
	return strings.Replace(fiveLines, "\troot ROOT", "\taxra_paywall /premium/gold/* {\n"+inner+"\n }\n\troot ROOT", 1)
}

const goldPage = "/premium/gold/a.html"

func TestS6NestedLatePaymentIsWaitedFor(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: gateBehindGate("pass gold\n price 50 usd")})
	w.write("premium/gold/a.html", marker)
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	w.hold(true)
	back := v.pay(v.browse("/premium/gold/a.html"), cardGood)
	before := w.creations()
	v.browse(back.location()).wantPage(t, http.StatusPaymentRequired, "Waiting for confirmation")
	w.pass(31 * time.Minute)
	v.open("/premium/gold/a.html").wantPage(t, http.StatusPaymentRequired, "Waiting for confirmation")
	if w.creations() > before {
		t.Errorf("%d sessions", w.creations())
	}
	w.hold(false)
	w.delivered()
	v.browse(back.location()).wantPaid(t)
}

func TestNestedPassIsChosen(t *testing.T) {
	config := gateBehindGate("passes a b")
	config = strings.Replace(config, "endpoint       ENDPOINT", "endpoint       ENDPOINT\n pass a {\n price 3 usd\n access 1d\n }\n pass b {\n price 4 usd\n }", 1)
	w := newWorld(t, worldOptions{Caddyfile: config})
	w.write(goldPage[1:], marker)
	v := w.visitor()
	if answer := v.open(goldPage + "?axra_checkout=a"); answer.status != http.StatusPaymentRequired || strings.Contains(answer.body, "3.00") {
		t.Errorf("the outer gate comes first: %d", answer.status)
	}
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	v.open(goldPage).wantPage(t, http.StatusPaymentRequired, "3.00 USD")
	v.buyPass(goldPage, "a").wantPaid(t)
	v.open(goldPage+"?axra_receipt=a").wantPage(t, http.StatusOK, "3.00 USD")
	v.open(goldPage+"?axra_receipt").wantPage(t, http.StatusOK, "5.00 USD")
	if answer := v.do(http.MethodPost, goldPage+"?axra_checkout=b", http.Header{"Accept": {"application/json"}}, nil); answer.status != http.StatusPaymentRequired {
		t.Errorf("a program, which could not fetch the token: %d %s", answer.status, answer.body)
	}
}

// A gate that does not cover a request says nothing else about it than the one before that
// has let it through.
func TestNestedPlaceholdersSpeakOfTheGateThatWasPassed(t *testing.T) {
	config := gateBehindGate("pass gold\n price 50 usd")
	config = strings.Replace(config, "\troot ROOT", "\t@paid axra_paid\n\troute {\n\t\trespond @paid \"paid [{http.axra.paid}|{http.axra.pass}]\"\n\t\trespond \"free [{http.axra.paid}|{http.axra.pass}]\"\n\t}\n\troot ROOT", 1)
	w := newWorld(t, worldOptions{Caddyfile: config})
	v, stranger := w.visitor(), w.visitor()
	v.buy("/premium/article.html", cardGood)
	v.buy("/premium/gold/a.html", cardGood)
	for _, c := range []struct {
		visitor    *visitor
		path, want string
	}{
		{v, "/premium/article.html", "paid [true|/premium/*]"},
		{v, "/premium/gold/a.html", "paid [true|gold]"},
		{v, "/free", "paid [false|]"}, // who has paid, on a page that nobody has to pay for
		{stranger, "/free", "free [false|]"},
	} {
		if answer := c.visitor.open(c.path); answer.body != c.want {
			t.Errorf("%s: %d %q, not %q", c.path, answer.status, answer.body, c.want)
		}
	}
}

// boughtOuter is a visitor who has paid for the outer gate.
func boughtOuter(t *testing.T, inner string, conf sandbox.Config) (*world, *visitor) {
	t.Helper()
	w := newWorld(t, worldOptions{Caddyfile: gateBehindGate(inner), Sandbox: conf})
	w.write("premium/gold/a.html", marker)
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	return w, v
}

func TestNestedRefundIsBoughtAgain(t *testing.T) {
	w, v := boughtOuter(t, "pass gold\n price 50 usd", sandbox.Config{})
	v.buy(goldPage, cardGood).wantPaid(t)
	mustDo(t, w.sandbox.Refund(w.lastPayment().ID))
	w.delivered()
	v.open(goldPage).wantPage(t, http.StatusPaymentRequired, "This payment was refunded")
	v.open(goldPage+"?axra_restart=1").wantCheckout(t, w)
}

func TestS6NestedCancel(t *testing.T) {
	for _, closes := range []bool{false, true} {
		w, v := boughtOuter(t, "pass gold\n price 50 usd", sandbox.Config{CancelCloses: closes})
		back := v.submit(v.browse(goldPage), "Cancel", nil)
		v.browse(back.next()).wantPage(t, http.StatusPaymentRequired, "Checkout was not completed")
		w.stop()
	}
}

// A return to the outer gate whose token has been given is still its own.
func TestNestedOwnReturnIsTidied(t *testing.T) {
	w, v := boughtOuter(t, "pass gold\n price 50 usd", sandbox.Config{})
	back := v.open("/premium/article.html?axra_session=" + w.lastPayment().SessionID)
	if back.status != http.StatusSeeOther || back.location() != "/premium/article.html" {
		t.Errorf("%d, to %q", back.status, back.location())
	}
}

// The owner is told, and not where one payment opens both.
func TestNestedGatesAreWarnedAbout(t *testing.T) {
	const warning = "a visitor has to pay twice"
	for name, test := range map[string]struct {
		config string
		warned bool
	}{
		"nested":   {gateBehindGate("pass gold\n price 50 usd"), true},
		"one pass": {gateBehindGate("price 5 usd\n access 30d\n pass /premium/*"), false},
		"beside":   {strings.Replace(gateBehindGate("pass gold\n price 50 usd"), "/premium/gold/*", "/gold/*", 1), false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, worldOptions{Caddyfile: test.config})
			if log := w.log(); strings.Contains(log, warning) != test.warned {
				t.Errorf("warned %t", !test.warned)
			}
		})
	}
}
