package checkout_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/gate"
)

const receiptPage = article + "?axra_receipt"

// extension is where the receipt leads to for more time.
func (v *visitor) extension(target string) string {
	v.s.t.Helper()
	address := link(v.s.t, v.open(target+"?axra_receipt"), "Extend access")
	if address == "" {
		v.s.t.Fatal("the receipt does not offer more time")
	}
	return address
}

// buyLonger buys more time, and returns the session.
func (v *visitor) buyLonger(target string) (sessionID string) {
	v.s.t.Helper()
	id := v.start(v.extension(target))
	v.browse(v.s.pay(id))
	return id
}

// wantOpenFor lets time go by to just before the end, and to just after it.
func (v *visitor) wantOpenFor(d time.Duration, target string) {
	v.s.t.Helper()
	v.s.pass(d - time.Hour)
	v.browse(target).wantPaid()
	v.s.pass(2 * time.Hour)
	if answer := v.browse(target); strings.Contains(answer.body, marker) {
		v.s.t.Fatalf("still open after %s", d)
	}
}

func (s *shop) dateIn(d time.Duration) string { return s.now().Add(d).UTC().Format(time.DateOnly) }

func TestAReceiptSaysWhatWasBought(t *testing.T) {
	t.Parallel()
	described := with(func(p *gate.ProductConfig) { p.Description = "Member of {http.request.uri.path}" })
	s := newShop(t, member(receipt, described))
	v := s.visitor()
	v.open(receiptPage).wantCheckout() // nothing to show yet
	shown := v.buy(article + "?x=1")
	for _, words := range []string{"Your receipt", "5.00 USD", "Member of " + article, "1 of 3", "<svg", s.dateIn(30 * day)} {
		shown.wantPage(http.StatusOK, words)
	}
	v.open(link(t, shown, "Continue to the page")).wantPaid()
	v.open(receiptPage).wantPage(http.StatusOK, "Your receipt")
	s.visitor().open(receiptPage).wantCheckout()
	v.get(receiptPage).wantPaid() // to a program it is the page
}

func TestAReceiptOffersWhatTheOwnerHas(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		gate          gateConfig
		offers, lacks string
	}{
		"another device":                    {member(), "axra_device", "axra_link"},
		"no other device":                   {member(devices(1)), "1 of 1", "axra_device"},
		"private addresses":                 {member(links(0)), "axra_link", "nothing"},
		"more time":                         {member(), "axra_extend", "nothing"},
		"no more time than for ever":        {member(accessFor("forever")), "no expiry", "axra_extend"},
		"no more time where it is retired":  {member(with(func(p *gate.ProductConfig) { p.Retired = true })), "Your receipt", "axra_extend"},
		"no more time by single pages":      {member(with(func(p *gate.ProductConfig) { p.PerPath = true })), "Your receipt", "axra_extend"},
		"no more time of counted downloads": {member(downloads(2)), "Your receipt", "axra_extend"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onSale := test.gate
			onSale.products = []product{test.gate.products[0]}
			onSale.products[0].config.Retired = false
			onSale.products[0].config.PerPath = onSale.products[0].config.Downloads > 0
			s := newShop(t, onSale)
			v, _ := s.buyer()
			s.configure(test.gate)
			shown := v.open(receiptPage)
			shown.wantPage(http.StatusOK, test.offers)
			if strings.Contains(shown.body, test.lacks) {
				t.Errorf("the receipt holds %s", test.lacks)
			}
		})
	}
}

func TestAReceiptSaysWhatWasPaid(t *testing.T) {
	t.Parallel()
	s := newShop(t, member())
	v := s.visitor()
	first := v.start(article)
	v.browse(s.pay(first)).wantPaid()
	s.configure(newGateConfig("/premium/*", []product{sold("member", "9.00")}))
	v.open(receiptPage).wantPage(http.StatusOK, ">5.00 USD<")
	v.open(receiptPage).wantPage(http.StatusOK, "Extend access: <bdi>9.00 USD · 30 days</bdi>")
	s.pass(time.Second)
	second := v.buyLonger(article)
	shown := v.open(receiptPage)
	shown.wantPage(http.StatusOK, "5.00 USD &#43; 9.00 USD")
	shown.wantPage(http.StatusOK, s.bought(first).ID[:10])
	if strings.Contains(shown.body, first) || strings.Contains(shown.body, second) {
		t.Error("the receipt names a checkout session, which is a credential")
	}
}

func TestD2AReceiptThatCannotBeReadAsksForNoMoney(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(receipt))
	v := s.visitor()
	v.buy(article)
	extend := v.extension(article)
	s.breakLedger()
	s.restart(member(receipt))
	v.open(receiptPage).wantPage(http.StatusServiceUnavailable, "Your payment is safe")
	v.open(extend).wantPage(http.StatusServiceUnavailable, "Your payment is safe")
	s.wantCreated(1)
}

func TestAnExtensionIsNotAskedForTwice(t *testing.T) {
	t.Parallel()
	s := newShop(t, member())
	v, _ := s.buyer()
	extend := v.extension(article)
	id := v.open(extend).wantCheckout()
	if again := v.open(extend).wantCheckout(); again != id {
		t.Error("two checkouts for one extension")
	}
	s.pay(id) // the tab is closed after the payment: what was bought is found by itself
	v.open(receiptPage).wantRedirect(article + "?axra_receipt=member")
	v.open(article).wantPaid()
	s.wantCreated(2)
	v.wantOpenFor(60*day, article)
}

func TestT7ARefundedExtensionEndsWithWhatItExtended(t *testing.T) {
	t.Parallel()
	s := newShop(t, member())
	v, _ := s.buyer()
	s.refund(v.buyLonger(article))
	v.wantOpenFor(30*day, article)
}

// S4: what is extended is the very product that was bought.
func TestS4AnotherProductIsNotExtended(t *testing.T) {
	t.Parallel()
	s := newShop(t, newGateConfig("/premium/*", []product{sold("day", "2.00"), sold("month", "9.00")}))
	v := s.visitor()
	first := v.start(article + "?axra_checkout=day")
	v.browse(s.pay(first)).wantPaid()
	second := v.start(article + "?axra_checkout=month&axra_extend=1")
	v.browse(s.pay(second)).wantPaid()
	if s.bought(first).ID == s.bought(second).ID || len(s.bought(first).Payments) != 1 {
		t.Error("a month was added to the day")
	}
	v.wantOpenFor(30*day, article)
}

func TestNoVisitorPaysForMoreTimeWithoutAnEnd(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(accessFor("forever")))
	v, _ := s.buyer()
	v.browse(article + "?axra_checkout=member&axra_extend=1").wantPaid()
	s.program().do(http.MethodPost, article+"?axra_checkout=member", v.bearer(article)).wantRefused(http.StatusConflict)
	s.wantCreated(1)
}

func TestWhatIsUsedUpIsNotExtended(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(links(0), downloads(1)))
	v, _ := s.buyer()
	s.configure(member(links(0), with(func(p *gate.ProductConfig) { p.PerPath = true })))
	s.pass(25 * time.Hour)
	shown := v.open(receiptPage)
	shown.wantPage(http.StatusOK, "1 of 1")
	for _, offer := range []string{"axra_extend", "axra_device", "axra_link"} {
		if strings.Contains(shown.body, offer) {
			t.Errorf("the receipt offers %s", offer)
		}
	}
}

// No buyer pays twice, also who buys by a form or by a program.
func TestAFormDoesNotPayTwice(t *testing.T) {
	t.Parallel()
	s := newShop(t, member())
	v := s.visitor()
	id := v.start(article)
	v.open(s.back(id)).wantPage(http.StatusPaymentRequired, "Waiting for confirmation")
	const target = article + "?axra_checkout=member"
	form := but(navigation, "Sec-Fetch-Site", "same-origin")
	v.do(http.MethodPost, target, form).wantPage(http.StatusPaymentRequired, "Waiting for confirmation")
	v.do(http.MethodPost, target, nil).wantRefused(http.StatusConflict) // a program with the browser's cookies
	s.pay(id)
	v.do(http.MethodPost, target, nil).wantRefused(http.StatusConflict)
	v.do(http.MethodPost, target, form).wantRedirect(article)
	v.open(article).wantPaid()
	s.wantCreated(1)
}

// What was bought for longer is not replaced by what was bought for shorter, which counts when that is refunded, and
// hinders no other purchase.
func TestTheLongerPurchaseStays(t *testing.T) {
	t.Parallel()
	a, b := sold("a", "1.00"), sold("b", "2.00")
	s := newShop(t, newGateConfig("/premium/*", []product{a, b}), newGateConfig("/other/*", []product{b}))
	v := s.visitor()
	short := v.open(article + "?axra_checkout=b").wantCheckout()
	first := v.start(article + "?axra_checkout=b&axra_restart=1")
	v.browse(s.pay(first)).wantPaid()
	second := v.start(link(t, v.open(article+"?axra_receipt=b"), "Extend access"))
	v.browse(s.pay(second)).wantPaid()
	v.browse(s.pay(short)).wantPaid()
	v.open(article+"?axra_receipt=b").wantPage(http.StatusOK, s.dateIn(60*day))
	v.buy(article + "?axra_checkout=a").wantPaid()
	s.refund(first)
	s.refund(second)
	before := s.axra.created()
	v.browse(article + "?axra_checkout=b").wantPaid()
	v.browse("/other/a.html").wantPaid()
	s.wantCreated(before)
}
