package checkout_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/payments"
)

// programCheckout is what a program is told about the checkout that it has started.
type programCheckout struct{ Session, CheckoutURL, StatusURL, StatusToken string }

// programStatus is the state of a checkout.
type programStatus struct {
	State, AccessToken string
	Until              time.Time
}

func bearer(raw string) http.Header { return http.Header{"Authorization": {"Bearer " + raw}} }

// startedByProgram starts a checkout as a program does.
func (s *shop) startedByProgram(target string) (started programCheckout) {
	s.t.Helper()
	answer := s.program().do(http.MethodPost, target+"?axra_checkout=member", nil)
	if answer.status != http.StatusCreated {
		s.t.Fatalf("a program is answered %d %s", answer.status, answer.body)
	}
	answer.decode(&started)
	return started
}

// status asks for the state of a checkout or a purchase.
func (s *shop) status(address string, header http.Header) (status programStatus) {
	s.t.Helper()
	s.program().do(http.MethodGet, address, header).decode(&status)
	return status
}

func TestAProgramBuys(t *testing.T) {
	t.Parallel()
	s := newShop(t, member())
	started := s.startedByProgram(article)
	if started.CheckoutURL != checkouts+started.Session {
		t.Errorf("the program is sent to %s", started.CheckoutURL)
	}
	header := bearer(started.StatusToken)
	wantState := func(want string) programStatus {
		t.Helper()
		status := s.status(started.StatusURL, header)
		if status.State != want || (status.AccessToken != "") != (want == "paid") {
			t.Fatalf("the state is %+v, want %s", status, want)
		}
		return status
	}
	wantState("waiting")
	for _, progress := range []payments.Stage{payments.Processing, payments.Failed} {
		s.say(started.Session, progress)
		wantState(string(progress))
	}
	s.say(started.Session, "")
	s.pass(31 * time.Minute)
	wantState("unpaid")
	s.pay(started.Session)
	issued := bearer(wantState("paid").AccessToken)
	s.program().do(http.MethodGet, article, issued).wantPaid()
	s.program().do(http.MethodPost, article+"?axra_checkout=member", nil)
	bought := s.bought(started.Session)
	if err := s.ledger.RemoveDevice(t.Context(), bought.ID, bought.Devices[0].ID); err != nil {
		t.Fatal(err)
	}
	s.program().do(http.MethodGet, started.StatusURL, header).wantRefused(http.StatusForbidden)
	s.refund(started.Session)
	wantState("refunded")
	s.program().do(http.MethodGet, article, issued).wantRefused(http.StatusPaymentRequired)
}

// T7: a purchase that is closed between its look-up and the adding of the device is told by its own state, or page.
func TestT7APurchaseThatIsClosedMeanwhileIsTold(t *testing.T) {
	t.Parallel()
	for state, title := range map[string]string{
		"refunded": "This payment was refunded", "disputed": "This payment is in dispute", "revoked": "Access was withdrawn",
	} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, member())
			v, phone, started := s.visitor(), s.visitor(), s.startedByProgram(article)
			id := v.start(article)
			back := s.pay(id)
			s.pay(started.Session)
			form := phone.open(s.deviceLink(origin, s.bought(id).Purchase))
			set := func(state string) { s.exec("UPDATE purchases SET status = '" + state + "'") }
			s.beforeDevice = func() { set(state) } // another node's change, of which this one has not heard
			if status := s.status(started.StatusURL, bearer(started.StatusToken)); status.State != state {
				t.Errorf("the program is told %+v", status)
			}
			set("active")
			v.open(back).wantPage(http.StatusPaymentRequired, title)
			set("active")
			phone.submit(form, "Open on this device", navigation).wantPage(http.StatusPaymentRequired, title)
		})
	}
}

// T6: only a checkout's own token tells its state.
func TestT6AnotherTokenTellsNoState(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(), newGateConfig("/other/*", []product{sold("other", "1.00")}))
	started := s.startedByProgram(article)
	for name, header := range map[string]http.Header{
		"nothing": nil, "garbage": bearer("x"), "the session": bearer(started.Session), "another scheme": {"Authorization": {"Basic " + started.StatusToken}},
	} {
		if answer := s.program().do(http.MethodGet, started.StatusURL, header); answer.status != http.StatusUnauthorized {
			t.Errorf("%s: answered %d %s", name, answer.status, answer.body)
		}
	}
	elsewhere := s.program().do(http.MethodGet, "/other/a.html?axra_status=1", bearer(started.StatusToken))
	elsewhere.wantRefused(http.StatusUnauthorized)
}

func TestAProgramIsToldWhyNothingIsSold(t *testing.T) {
	t.Parallel()
	unpriced := with(func(p *gate.ProductConfig) { p.Price.Amount = "{http.request.uri.query.price}" })
	for name, test := range map[string]struct {
		gate           gateConfig
		method, target string
		status         int
		detail         string
	}{
		"not paid":                {member(), http.MethodGet, article, http.StatusPaymentRequired, `"amount":5.00`},
		"another product":         {member(), http.MethodPost, article + "?axra_checkout=none", http.StatusPaymentRequired, `"pass":"member"`},
		"no price":                {member(unpriced), http.MethodGet, article, http.StatusInternalServerError, "not set up properly"},
		"an ambiguous address":    {member(), http.MethodGet, "/premium;x/article.html", http.StatusBadRequest, "more than one way"},
		"another spelling":        {member(keyed), http.MethodPost, "/premium//a/x.html?axra_checkout=member", http.StatusBadRequest, "another spelling"},
		"a private address ended": {member(links(0)), http.MethodGet, article + "?axra_link=x", http.StatusPaymentRequired, "private address has expired"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, test.gate)
			answer := s.program().do(test.method, test.target, nil)
			answer.wantRefused(test.status)
			var problem struct{ Status int }
			answer.decode(&problem)
			if problem.Status != test.status || !strings.Contains(answer.body, test.detail) {
				t.Errorf("the problem is %s", answer.body)
			}
			s.wantCreated(0)
		})
	}
	s := newShop(t, member())
	s.visitor().open(article+"?axra_checkout=none").wantPage(http.StatusPaymentRequired, "5.00 USD")
	s.wantCreated(0)
}

func TestAProgramExtends(t *testing.T) {
	t.Parallel()
	s := newShop(t, member())
	v, _ := s.buyer()
	var started programCheckout
	s.program().do(http.MethodPost, article+"?axra_checkout=member", v.bearer(article)).decode(&started)
	s.pay(started.Session)
	status := s.status(started.StatusURL, bearer(started.StatusToken))
	if want := s.now().Add(60 * day); status.State != "paid" || !status.Until.Equal(want) {
		t.Errorf("%s until %s, want %s", status.State, status.Until, want)
	}
}

// T3: a token has an end of its own, also where access has none. Its program asks for another in time.
func TestT3ATokenEndsBeforeAccessWithoutEnd(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(accessFor("forever")))
	v, id := s.buyer()
	first, header := v.bearer(article), v.bearer(article)
	for range 3 {
		s.pass(399 * day)
		s.program().do(http.MethodGet, article, header).wantPaid() // and is remembered
		status := s.status(article+"?axra_status=1", header)
		if status.State != "paid" {
			t.Fatalf("%+v", status)
		}
		header = bearer(status.AccessToken)
	}
	s.program().do(http.MethodGet, article, header).wantPaid()
	s.program().do(http.MethodGet, article, first).wantRefused(http.StatusPaymentRequired)
	s.refund(id)
	if status := s.status(article+"?axra_status=1", header); status.State != "refunded" || status.AccessToken != "" {
		t.Errorf("T7: after a refund %+v", status)
	}
	s.pass(2 * day)
	s.program().do(http.MethodGet, article, header).wantRefused(http.StatusPaymentRequired)
}

// A program whose purchase was extended on another device is not asked to pay again.
func TestAProgramDoesNotPayForWhatWasExtendedElsewhere(t *testing.T) {
	t.Parallel()
	s := newShop(t, member())
	v, phone := s.visitor(), s.visitor()
	v.buy(article).wantPaid()
	phone.openOnDevice(v.deviceLink()).wantPaid()
	header := phone.bearer(article)
	v.buyLonger(article)
	s.pass(31 * day)
	s.program().do(http.MethodPost, article+"?axra_checkout=member", header).wantRefused(http.StatusConflict)
	s.wantCreated(2)
	if status := s.status(article+"?axra_status=1", header); status.State != "paid" {
		t.Errorf("statusUrl answers %+v", status)
	}
	phone.browse(article).wantPaid()
}
