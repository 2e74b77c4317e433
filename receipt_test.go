package paywall_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/ledger"
)

// member is the five lines with more options.
func member(options ...string) string {
	return strings.Replace(fiveLines, "access 30d", "access 30d\n\t\tpass member\n\t\t"+strings.Join(options, "\n\t\t"), 1)
}

const (
	receiptPage = "/premium/article.html?axra_receipt"
	day         = 24 * time.Hour
)

func TestReceipt(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member("receipt", `description "Member of {path}"`)})
	v := w.visitor()
	v.open(receiptPage).wantCheckout(t, w) // nothing to show yet
	receipt := v.buy("/premium/article.html?x=1", cardGood)
	for _, words := range []string{"Your receipt", "5.00 USD", "Member of /premium/article.html", "1 of 3", "<svg"} {
		if receipt.status != http.StatusOK || !strings.Contains(receipt.body, words) {
			t.Fatalf("after the payment %d, without %q:\n%s", receipt.status, words, receipt.body)
		}
	}
	if until := w.now().Add(30 * day).UTC().Format(time.DateOnly); !strings.Contains(receipt.body, until) {
		t.Errorf("access is not said to last until %s", until)
	}
	v.open(link(t, receipt, "Continue to the page")).wantPaid(t)
	v.open("/premium/other.html").wantPaid(t)
	v.open(receiptPage).wantPage(t, http.StatusOK, "Your receipt")
	w.visitor().open(receiptPage).wantCheckout(t, w)
	if answer := v.do(http.MethodGet, receiptPage, nil, nil); !strings.Contains(answer.body, marker) {
		t.Errorf("a program that has paid sees %d %s", answer.status, answer.body)
	}
}

func TestReceiptWithoutTheOption(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member("devices 1")})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	receipt := v.open(receiptPage)
	receipt.wantPage(t, http.StatusOK, "1 of 1")
	if strings.Contains(receipt.body, "axra_device") || strings.Contains(receipt.body, "axra_link") {
		t.Error("a receipt offers what the owner has not")
	}
}

func TestReceiptOfOneOfSeveralPasses(t *testing.T) {
	w := newShop(t)
	v := w.visitor()
	v.buyPass("/premium/article.html", "day").wantPaid(t)
	v.buyPass("/premium/article.html", "month").wantPaid(t)
	for pass, price := range map[string]string{"day": "2.00 USD", "month": "9.00 USD"} {
		v.open("/premium/article.html?axra_receipt="+pass).wantPage(t, http.StatusOK, price)
	}
}

func TestD2AReceiptThatCannotBeReadAsksForNoMoney(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member("receipt")})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood)
	extend := link(t, v.open(receiptPage), "Extend access")
	w.breakLedger()
	w.restart()
	for _, target := range []string{receiptPage, extend} {
		v.open(target).wantPage(t, http.StatusServiceUnavailable, "Your payment is safe")
	}
	if w.creations() != 1 {
		t.Errorf("%d sessions", w.creations())
	}
}

func TestVisitorsComeBackToThePageTheyWantedLast(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member()})
	v := w.visitor()
	v.open("/premium/article.html").wantCheckout(t, w)
	again := v.open("/premium/other.html?x=1")
	again.wantCheckout(t, w)
	back := v.pay(v.browse(again.location()), cardGood)
	w.delivered()
	if answer := v.open(back.location()); w.creations() != 1 || answer.location() != "/premium/other.html?x=1" {
		t.Errorf("back at %q after %d sessions", answer.location(), w.creations())
	}
}

// buyLonger goes from the receipt through the checkout for more time.
func (v *visitor) buyLonger(target string) reply {
	v.w.t.Helper()
	extend := link(v.w.t, v.open(target+"?axra_receipt"), "Extend access")
	if extend == "" {
		v.w.t.Fatal("the receipt does not offer more time")
	}
	return v.buy(extend, cardGood)
}

func (w *world) wantOpenUntil(v *visitor, target string, after time.Duration) {
	w.t.Helper()
	begin := w.now()
	w.pass(after - time.Hour)
	v.browse(target).wantPaid(w.t)
	w.pass(2 * time.Hour)
	if answer := v.browse(target); strings.Contains(answer.body, marker) {
		w.t.Fatalf("still open %s after %s", w.now().Sub(begin), after)
	}
}

func TestBuyingAgainExtendsFromTheEnd(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member("receipt")})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood)
	w.pass(20 * day)
	receipt := v.buyLonger("/premium/article.html")
	if until := w.now().Add(40 * day).UTC().Format(time.DateOnly); !strings.Contains(receipt.body, until) {
		t.Errorf("access is not said to last until %s", until)
	}
	v.buyLonger("/premium/article.html")
	if w.creations() != 3 {
		t.Errorf("%d sessions for three purchases", w.creations())
	}
	w.wantOpenUntil(v, "/premium/article.html", 70*day)
}

func TestAnExtensionIsNotAskedForTwice(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member()})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	extend := link(t, v.open(receiptPage), "Extend access")
	first, second := v.open(extend), v.open(extend)
	first.wantCheckout(t, w)
	if first.location() != second.location() {
		t.Error("two checkouts for one extension")
	}
	// The tab is closed after the payment; what is bought is found by itself.
	v.pay(v.browse(first.location()), cardGood)
	w.delivered()
	v.open(receiptPage)
	if answer := v.browse(extend); w.creations() != 3 && answer.status == http.StatusOK {
		t.Errorf("%d sessions", w.creations())
	}
	w.pass(time.Minute) // recheck
	v.open("/premium/article.html").wantPaid(t)
	w.wantOpenUntil(v, "/premium/article.html", 60*day-time.Minute)
}

func TestALateExtensionDoesNotCloseWhatIsOpen(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member()})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	w.hold(true)
	back := v.pay(v.browse(link(t, v.open(receiptPage), "Extend access")), cardGood)
	v.open(back.location()).wantPage(t, http.StatusPaymentRequired, "Waiting for confirmation")
	v.open("/premium/other.html").wantPaid(t)
	w.hold(false)
	w.delivered()
	v.browse(back.location()).wantPaid(t)
	w.wantOpenUntil(v, "/premium/article.html", 60*day)
}

func (w *world) hold(hold bool) {
	if hold {
		w.sandbox.Hold()
	} else {
		w.sandbox.Release()
	}
}

func TestT7ARefundedExtensionEndsWithWhatItExtended(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member()})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	v.buyLonger("/premium/article.html").wantPaid(t)
	if err := w.sandbox.Refund(w.lastPayment().ID); err != nil {
		t.Fatal(err)
	}
	w.delivered()
	w.wantOpenUntil(v, "/premium/article.html", 30*day)
}

func TestS4WhatIsExtendedIsTheVeryThing(t *testing.T) {
	w := newShop(t)
	v := w.visitor()
	v.buyPass("/premium/article.html", "day").wantPaid(t)
	v.open("/archive/?axra_checkout=month&axra_extend=1").wantCheckout(t, w) // a new purchase
	v.buy("/premium/article.html?axra_checkout=month&axra_extend=1", cardGood).wantPaid(t)
	w.wantOpenUntil(v, "/archive/", 30*day)
}

func TestAProgramExtends(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member()})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	access := v.bearer("/premium/")
	program := w.visitor()
	var checkout struct{ CheckoutURL, StatusURL, StatusToken string }
	decode(t, program.do(http.MethodPost, "/premium/article.html?axra_checkout=member", access, nil), &checkout)
	w.visitor().pay(w.visitor().browse(checkout.CheckoutURL), cardGood)
	w.delivered()
	var status struct {
		State, AccessToken string
		Until              time.Time
	}
	decode(t, program.do(http.MethodGet, checkout.StatusURL, http.Header{"Authorization": {"Bearer " + checkout.StatusToken}}, nil), &status)
	if want := w.now().Add(60 * day); status.State != "paid" || status.Until.Sub(want).Abs() > time.Minute {
		t.Errorf("%s until %s, want %s", status.State, status.Until, want)
	}
}

func TestNobodyPaysForWhatHasNoEnd(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: strings.Replace(member(), "access 30d", "access forever", 1)})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	if receipt := v.open(receiptPage); strings.Contains(receipt.body, "axra_extend") || !strings.Contains(receipt.body, "no expiry") {
		t.Errorf("the receipt says\n%s", receipt.body)
	}
	v.browse("/premium/article.html?axra_checkout=member&axra_extend=1").wantPaid(t)
	access := v.bearer("/premium/")
	if answer := v.do(http.MethodPost, "/premium/article.html?axra_checkout=member", access, nil); answer.status != http.StatusConflict {
		t.Errorf("a program is answered %d %s", answer.status, answer.body)
	}
	if w.creations() != 1 {
		t.Errorf("%d sessions", w.creations())
	}
}

// What was bought for longer is not replaced by what was bought for shorter.
func TestTheLongerPurchaseStays(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member()})
	v := w.visitor()
	late := v.open("/premium/article.html")
	v.buy("/premium/article.html?axra_restart=1", cardGood).wantPaid(t)
	v.buyLonger("/premium/article.html").wantPaid(t)
	back := v.pay(v.browse(late.location()), cardGood)
	w.delivered()
	v.browse(back.location()).wantPaid(t)
	v.open(receiptPage).wantPage(t, http.StatusOK, "Extend access") // which that does not hinder
	v.open(receiptPage).wantPage(t, http.StatusOK, w.now().Add(60*day).UTC().Format(time.DateOnly))
	w.pass(20 * day)
	for _, payment := range w.sandbox.Payments() {
		if payment.ID != w.lastPayment().ID {
			if err := w.sandbox.Refund(payment.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.delivered()
	v.browse("/premium/article.html").wantPaid(t) // it counts when the longer one is refunded
	w.wantOpenUntil(v, "/premium/article.html", 10*day)
}

func TestTheReceiptSaysWhatWasPaid(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member()})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	first := ledger.PurchaseID(w.lastPayment().SessionID)
	w.load(strings.Replace(member(), "5.00 usd", "9.00 usd", 1))
	v.open(receiptPage).wantPage(t, http.StatusOK, ">5.00 USD<")
	v.open(receiptPage).wantPage(t, http.StatusOK, "Extend access: <bdi>9.00 USD · 30 days</bdi>")
	w.pass(time.Minute) // payments are listed by the second
	v.buyLonger("/premium/article.html").wantPaid(t)
	receipt := v.open(receiptPage)
	receipt.wantPage(t, http.StatusOK, "5.00 USD &#43; 9.00 USD")
	if !strings.Contains(receipt.body, first[:10]) || strings.Contains(receipt.body, w.lastPayment().SessionID) {
		t.Error("the receipt names the purchase by its reference, and no checkout session")
	}
}

func TestWhatIsUsedUpIsNotExtended(t *testing.T) {
	config := func(option string) string {
		return strings.Replace(fiveLines, "access 30d", "access 30d\n\t\tpass member\n\t\tlinks\n\t\tper_path\n\t\t"+option, 1)
	}
	w := newWorld(t, worldOptions{Caddyfile: config("downloads 1")})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	w.load(config(""))
	w.pass(25 * time.Hour)
	receipt := v.open(receiptPage)
	receipt.wantPage(t, http.StatusOK, "1 of 1")
	for _, offer := range []string{"axra_extend", "axra_device", "axra_link"} {
		if strings.Contains(receipt.body, offer) {
			t.Errorf("the receipt offers %s", offer)
		}
	}
}

// Nobody pays twice, also who buys by a form or by a program.
func TestAFormDoesNotPayTwice(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member()})
	v := w.visitor()
	w.hold(true)
	back := v.pay(v.browse("/premium/article.html"), cardGood)
	v.open(back.location()).wantPage(t, http.StatusPaymentRequired, "Waiting for confirmation")
	const target = "/premium/article.html?axra_checkout=member"
	form := navigation.Clone()
	form.Set("Sec-Fetch-Site", "same-origin")
	v.do(http.MethodPost, target, form, nil).wantPage(t, http.StatusPaymentRequired, "Waiting for confirmation")
	if answer := v.do(http.MethodPost, target, nil, nil); answer.status != http.StatusConflict {
		t.Errorf("a program with the browser's cookies: %d", answer.status)
	}
	w.hold(false)
	w.delivered()
	if answer := v.do(http.MethodPost, target, nil, nil); answer.status != http.StatusConflict {
		t.Errorf("a program, after the payment: %d", answer.status)
	}
	if answer := v.do(http.MethodPost, target, form, nil); answer.location() != "/premium/article.html" {
		t.Errorf("after the payment: %d %q", answer.status, answer.location())
	}
	v.open("/premium/article.html").wantPaid(t)
	if w.creations() != 1 {
		t.Errorf("%d sessions", w.creations())
	}
}

const twoPasses = `{
	SETUP
	axra {
		api_key        {env.AXRA_API_KEY}
		webhook_secret {env.AXRA_WEBHOOK_SECRET}
		endpoint       ENDPOINT
		pass a {
			price  1.00 usd
			access 30d
		}
		pass b {
			price  2.00 usd
			access 30d
		}
	}
}
http://localhost:PORT {
	axra_webhook /webhooks/axra
	axra_paywall /premium/* {
		passes a b
	}
	axra_paywall /bonly/* {
		passes b
	}
	root ROOT
	file_server
}
`

// keptBeside is a visitor with a long pass b, and a short one that is kept beside it.
func keptBeside(t *testing.T) (*world, *visitor) {
	t.Helper()
	w := newWorld(t, worldOptions{Caddyfile: twoPasses})
	w.write("bonly/a.html", marker)
	v := w.visitor()
	late := v.open("/premium/article.html?axra_checkout=b")
	v.buy("/premium/article.html?axra_checkout=b&axra_restart=1", cardGood).wantPaid(t)
	v.buy(link(t, v.open("/premium/article.html?axra_receipt=b"), "Extend access"), cardGood).wantPaid(t)
	back := v.pay(v.browse(late.location()), cardGood)
	w.delivered()
	v.browse(back.location()).wantPaid(t)
	return w, v
}

func TestWhatIsKeptCountsWhenTheLongerIsRefunded(t *testing.T) {
	w, v := keptBeside(t)
	kept := w.lastPayment().ID
	all := w.sandbox.Payments()
	v.buy("/premium/article.html?axra_checkout=a", cardGood).wantPaid(t)
	for _, payment := range all {
		if payment.ID != kept {
			mustDo(t, w.sandbox.Refund(payment.ID))
		}
	}
	w.delivered()
	before := w.creations()
	v.browse("/premium/article.html?axra_checkout=b").wantPaid(t)
	v.browse("/bonly/a.html").wantPaid(t)
	if w.creations() > before {
		t.Error("what is kept is sold again")
	}
}

func TestWhatIsKeptHindersNoOtherPurchase(t *testing.T) {
	w, v := keptBeside(t)
	form := navigation.Clone()
	form.Set("Sec-Fetch-Site", "same-origin")
	v.do(http.MethodPost, "/premium/article.html?axra_checkout=a", form, nil).wantCheckout(t, w)
	if answer := w.visitor().do(http.MethodPost, "/premium/article.html?axra_checkout=a", nil, nil); answer.status != http.StatusCreated {
		t.Errorf("a program: %d", answer.status)
	}
}
