package checkout_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

const goldPage = "/premium/gold/a.html"

// boughtOuter is a visitor who has paid for the outer of two gates.
func boughtOuter(t *testing.T, products ...product) (s *shop, v *visitor, outerID string) {
	t.Helper()
	s = newShop(t, member(), newGateConfig("/premium/gold/*", products))
	v = s.visitor()
	outerID = v.start(article)
	v.browse(s.pay(outerID)).wantPaid()
	return s, v, outerID
}

func TestS6NestedLatePaymentIsWaitedFor(t *testing.T) {
	t.Parallel()
	s, v, _ := boughtOuter(t, sold("gold", "50"))
	id := v.start(goldPage)
	v.browse(s.back(id)).wantPage(http.StatusPaymentRequired, "Waiting for confirmation")
	if state := v.poll(s.back(id)); state != "waiting" {
		t.Errorf("the page's script is told %q", state)
	}
	s.pass(31 * time.Minute)
	v.open(goldPage).wantPage(http.StatusPaymentRequired, "Waiting for confirmation")
	s.wantCreated(2)
	v.browse(s.pay(id)).wantPaid()
}

func TestNestedProductIsChosen(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(), newGateConfig("/premium/gold/*", []product{sold("a", "3"), sold("b", "4")}))
	v := s.visitor()
	outer := v.open(goldPage + "?axra_checkout=a")
	outer.wantRefused(http.StatusPaymentRequired)
	if strings.Contains(outer.body, "3.00") {
		t.Error("the inner gate comes first")
	}
	v.buy(article).wantPaid()
	v.open(goldPage).wantPage(http.StatusPaymentRequired, "3.00 USD")
	v.buy(goldPage + "?axra_checkout=a").wantPaid()
	v.open(goldPage+"?axra_receipt=a").wantPage(http.StatusOK, "3.00 USD")
	v.open(goldPage+"?axra_receipt").wantPage(http.StatusOK, "5.00 USD")
	// A program could not send both tokens.
	v.do(http.MethodPost, goldPage+"?axra_checkout=b", http.Header{"Accept": {"application/json"}}).wantRefused(http.StatusPaymentRequired)
}

func TestNestedRefundIsBoughtAgain(t *testing.T) {
	t.Parallel()
	s, v, _ := boughtOuter(t, sold("gold", "50"))
	id := v.start(goldPage)
	v.browse(s.pay(id)).wantPaid()
	s.refund(id)
	v.open(goldPage).wantPage(http.StatusPaymentRequired, "This payment was refunded")
	v.open(goldPage + "?axra_restart=1").wantCheckout()
}

func TestS6NestedCancel(t *testing.T) {
	t.Parallel()
	s, v, _ := boughtOuter(t, sold("gold", "50"))
	order := s.axra.order(v.start(goldPage))
	v.browse(order.CancelURL).wantPage(http.StatusPaymentRequired, "Checkout was not completed")
	s.pass(time.Hour)
	v.browse(order.CancelURL).wantPage(http.StatusPaymentRequired, "Checkout was not completed") // of a checkout that is marked already
}

// A device link of the inner gate's purchase, and a return to the outer one whose token has been given.
func TestNestedParametersReachTheirGate(t *testing.T) {
	t.Parallel()
	s, v, outerID := boughtOuter(t, sold("gold", "50"))
	v.open(article + "?axra_session=" + outerID).wantRedirect(article)
	v.buy(goldPage).wantPaid()
	inner := link(t, v.open(goldPage+"?axra_receipt=gold"), "Link for the other device")
	phone := s.visitor()
	phone.openOnDevice(v.deviceLink()).wantPaid()
	phone.openOnDevice(inner).wantPaid()
	phone.open(goldPage).wantPaid()
}
