package checkout_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/payments"
)

// number is a page that is sold by itself.
func number(n int) string { return fmt.Sprintf("/premium/%d/x.html", n) }

// What has ended takes no room.
func TestWhoBuysEveryDayMayGoOn(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(keyed, accessFor("1d")))
	v := s.visitor()
	for i := range 40 {
		v.buy(number(i)).wantPaid()
		s.pass(25 * time.Hour)
	}
}

func TestWhoHasMuchMayExtend(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(keyed))
	v := s.visitor()
	bought := 0
	for v.open(number(bought)).status == http.StatusSeeOther {
		v.buy(number(bought)).wantPaid()
		bought++
	}
	v.open(number(bought)).wantPage(http.StatusPaymentRequired, "This browser holds too many purchases")
	if bought < 20 {
		t.Errorf("there is room for %d purchases", bought)
	}
	v.browse(s.pay(v.open(v.extension(number(0))).wantCheckout())).wantPaid()
}

// C3: another site cannot push out the checkout that is being paid.
func TestC3RestartsOfAnotherSitePushNothingOut(t *testing.T) {
	t.Parallel()
	s := newShop(t, member())
	v := s.visitor()
	id := v.start(article)
	for range 29 {
		s.pass(time.Second)
		v.do(http.MethodGet, article+"?axra_restart=1", but(navigation, "Sec-Fetch-Site", "cross-site"))
	}
	v.browse(s.pay(id)).wantPaid()
	s.wantCreated(1)
}

// S7: a visitor who has returned may have paid, by a transfer that takes a while: no later checkout pushes that one out.
func TestS7AReturnIsNotForgotten(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(keyed))
	v := s.visitor()
	id := v.start(number(0))
	v.open(s.back(id)).wantPage(http.StatusPaymentRequired, "Waiting for confirmation")
	for i := range 25 {
		v.start(number(i + 1))
	}
	s.pay(id)
	v.browse(number(0)).wantPaid()
}

// D2: a ledger that cannot be read cannot tell which checkouts may be forgotten.
func TestD2ManyCheckoutsWhileTheLedgerFails(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(keyed))
	v := s.visitor()
	for i := range 24 {
		v.open(number(i)).wantCheckout()
	}
	s.exec("ALTER TABLE purchases RENAME TO away") // the change feed can still be read
	v.open(number(99)).wantPage(http.StatusServiceUnavailable, "Your payment is safe")
	s.exec("ALTER TABLE away RENAME TO purchases")
	v.open(number(99)).wantCheckout()
}

func TestS7PaymentsUnderWayAreNeverForgotten(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(keyed))
	v := s.visitor()
	ids := make([]string, 24)
	for i := range ids {
		ids[i] = v.open(number(i)).wantCheckout()
		s.say(ids[i], payments.Processing)
	}
	for _, id := range ids {
		v.browse(s.pay(id)).wantPaid()
	}
}

// S7: of many tabs, the newest can all be redeemed; and those that were paid, or whose payment is on its way, however
// old.
func TestS7TheNewestCheckoutsOfManyTabsAreKept(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(keyed))
	v := s.visitor()
	paid := s.pay(v.open(number(0)).wantCheckout())
	ids := make([]string, 26)
	for i := 1; i < len(ids); i++ {
		ids[i] = v.open(number(i)).wantCheckout()
		switch i {
		case 1:
			v.open(s.back(ids[i])).wantPage(http.StatusPaymentRequired, "Waiting for confirmation")
		case 2:
			s.say(ids[i], payments.Processing)
		case 3:
			v.open(s.axra.order(ids[i]).CancelURL).wantPage(http.StatusPaymentRequired, "Checkout was not completed")
		}
	}
	for i := range ids {
		if i == 1 || i == 2 || i >= 10 {
			v.browse(s.pay(ids[i])).wantPaid()
		}
	}
	v.browse(paid).wantPaid()
	if again := v.open(number(4)).wantCheckout(); again == ids[4] { // it was forgotten, and can be bought all the same
		t.Error("all checkouts are kept")
	}
}

func TestS7CancelledCheckoutsGoBeforeOneThatIsOpen(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(keyed))
	v := s.visitor()
	open := v.open(number(0)).wantCheckout() // this tab is at the checkout
	for i := 1; i < 20; i++ {
		id := v.open(number(i)).wantCheckout()
		v.open(s.axra.order(id).CancelURL).wantPage(http.StatusPaymentRequired, "Checkout was not completed")
	}
	v.open(number(99)).wantCheckout()
	v.browse(s.pay(open)).wantPaid()
}

func TestTooManyPurchasesAreSaidBeforeAnythingIsCharged(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(keyed))
	cookies := make([]string, 26)
	for i := range cookies {
		cookies[i] = fmt.Sprintf("__Host-axra_t_%08x=%s", i, strings.Repeat("x", 400))
	}
	full, few := strings.Join(cookies, "; "), strings.Join(cookies[:10], "; ")
	s.program().do(http.MethodGet, number(1), but(navigation, "Cookie", full)).wantPage(http.StatusPaymentRequired, "This browser holds too many purchases")
	s.wantCreated(0)
	s.program().do(http.MethodGet, number(1), but(navigation, "Cookie", few)).wantCheckout()
	// A program keeps no cookie.
	if answer := s.program().do(http.MethodPost, number(1)+"?axra_checkout=member", http.Header{"Cookie": {full}}); answer.status != http.StatusCreated {
		t.Errorf("a program: %d", answer.status)
	}
}

// FB4: one purchase opens all spellings of an address, whatever a link says.
func TestFB4OtherEscapesAreOnePurchase(t *testing.T) {
	t.Parallel()
	s := newShop(t, newGateConfig("/premium/*", []product{sold("a", "1.00")}, with(func(p *gate.ProductConfig) { p.PerPath = true })))
	const canonical = "/premium/na%C3%AFve~.html"
	v := s.visitor()
	v.open("/premium/na%c3%afve%7e.html").wantRedirect(canonical)
	id := v.open(canonical).wantCheckout()
	v.open(s.pay(id)).wantRedirect(canonical)
	for _, link := range []string{canonical, "/premium/na%c3%afve~.html", "/premium/na%C3%AFve%7E.html", "/premium/n%61%C3%AFve~.html"} {
		v.browse(link).wantPaid()
	}
}
