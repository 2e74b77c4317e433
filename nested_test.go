package paywall_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func gateBehindGate(inner string) string {
	return strings.Replace(fiveLines, "\troot ROOT", "\taxra_paywall /premium/gold/* {\n"+inner+"\n }\n\troot ROOT", 1)
}

func TestS6BehindAnotherGateALatePaymentIsWaitedFor(t *testing.T) {
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

func TestBehindAnotherGateAPassIsChosen(t *testing.T) {
	config := gateBehindGate("passes a b")
	config = strings.Replace(config, "endpoint       ENDPOINT", "endpoint       ENDPOINT\n pass a {\n price 3 usd\n access 1d\n }\n pass b {\n price 4 usd\n }", 1)
	w := newWorld(t, worldOptions{Caddyfile: config})
	const target = "/premium/gold/a.html"
	w.write("premium/gold/a.html", marker)
	v := w.visitor()
	if answer := v.open(target + "?axra_checkout=a"); answer.status != http.StatusPaymentRequired || strings.Contains(answer.body, "3.00") {
		t.Errorf("the outer gate comes first: %d", answer.status)
	}
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	v.open(target).wantPage(t, http.StatusPaymentRequired, "3.00 USD")
	v.buyPass(target, "a").wantPaid(t)
	v.open(target+"?axra_receipt=a").wantPage(t, http.StatusOK, "3.00 USD")
	v.open(target+"?axra_receipt").wantPage(t, http.StatusOK, "5.00 USD")
	if answer := v.do(http.MethodPost, target+"?axra_checkout=b", http.Header{"Accept": {"application/json"}}, nil); answer.status != http.StatusPaymentRequired {
		t.Errorf("a program, which could not fetch the token: %d %s", answer.status, answer.body)
	}
}
