package checkout_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/payments"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/money"
	"github.com/caddy-axra/paywall/session"
)

// S6: a visitor who comes back is told how the payment stands, and is not sent to another checkout.
func TestS6AReturnTellsHowThePaymentStands(t *testing.T) {
	t.Parallel()
	event := func(kind ledger.EventKind) func(s *shop, id string) {
		return func(s *shop, id string) {
			s.pay(id)
			s.happen(id, kind)
		}
	}
	for name, test := range map[string]struct {
		before func(s *shop, id string)
		phrase string
		state  string // that the page's script is told
	}{
		"nothing is known": {func(*shop, string) {}, "Waiting for confirmation", "waiting"},
		"processing":       {func(s *shop, id string) { s.say(id, payments.Processing) }, "Your payment is on its way", "processing"},
		"failed":           {func(s *shop, id string) { s.say(id, payments.Failed) }, "The payment did not go through", "failed"},
		"refunded":         {event(ledger.EventRefunded), "This payment was refunded", "refunded"},
		"in dispute":       {event(ledger.EventDisputed), "dispute", "disputed"},
		"revoked": {func(s *shop, id string) {
			s.pay(id)
			s.revoke(id)
		}, "Access was withdrawn", "revoked"},
		"another amount": {func(s *shop, id string) {
			less, err := money.Parse("4.99", "usd")
			if err != nil {
				s.t.Fatal(err)
			}
			s.record(id, less)
		}, "The payment does not match", "mismatched"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, member())
			v := s.visitor()
			id := v.start(article)
			test.before(s, id)
			if state := v.poll(s.back(id)); state != test.state {
				t.Errorf("the page's script is told %q, want %q", state, test.state)
			}
			v.open(s.back(id)).wantPage(http.StatusPaymentRequired, test.phrase)
			s.wantCreated(1)
		})
	}
	s := newShop(t, member())
	if state := s.visitor().poll(article + "?axra_session=cs_x"); state != "unknown" {
		t.Errorf("another browser's script is told %q", state)
	}
}

// S6: a payment that is processed is waited for, also by who closes the tab instead of coming back.
func TestS6AProcessedPaymentIsWaitedFor(t *testing.T) {
	t.Parallel()
	s := newShop(t, member())
	v := s.visitor()
	id := v.start(article)
	s.say(id, payments.Processing)
	s.pass(31 * time.Minute)
	v.open(article).wantPage(http.StatusPaymentRequired, "Your payment is on its way")
	s.wantCreated(1)
	s.pay(id)
	v.browse(article).wantPaid()
}

// S6: the waiting page looks again by itself, less and less often, and not for ever.
func TestS6TheWaitingPageEnds(t *testing.T) {
	t.Parallel()
	s := newShop(t, member())
	v := s.visitor()
	back := s.back(v.start(article))
	for try, refresh := range map[int]string{0: "2", 5: "4", 20: "12", 29: "16"} {
		answer := v.open(fmt.Sprintf("%s&axra_try=%d", back, try))
		answer.wantPage(http.StatusPaymentRequired, fmt.Sprintf("axra_try=%d", try+1))
		answer.wantPage(http.StatusPaymentRequired, `http-equiv="refresh" content="`+refresh+`;`)
	}
	for _, try := range []string{"30", "-1", "99999999999999999999"} {
		if answer := v.open(back + "&axra_try=" + try); strings.Contains(answer.body, `http-equiv="refresh"`) {
			t.Errorf("try %s is refreshed", try)
		}
	}
}

func TestACheckoutThatCannotBeStarted(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err    error
		target string
		status int
		phrase string
	}{
		"Axra has trouble":  {session.ErrUnavailable, article + "?x=1", http.StatusServiceUnavailable, "Nothing was charged"},
		"too many at once":  {session.ErrBusy, article + "?x=1", http.StatusServiceUnavailable, "Nothing was charged"},
		"Axra is suspended": {nil, article + "?x=1", http.StatusServiceUnavailable, "Nothing was charged"},
		"a long address":    {nil, article + "?x=" + strings.Repeat("x", 8<<10), http.StatusRequestURITooLong, "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, member())
			s.axra.err = test.err
			if name == "Axra is suspended" {
				s.axra.down = session.ErrUnavailable
			}
			s.visitor().open(test.target).wantPage(test.status, test.phrase)
			s.program().do(http.MethodPost, test.target+"&axra_checkout=member", nil).wantRefused(test.status)
		})
	}
}

func TestAnOrderSaysWhatTheOwnerHasConfigured(t *testing.T) {
	t.Parallel()
	config := member(claim)
	config.flow.ExpiresIn, config.flow.CustomerEmail, config.flow.CancelURL = time.Hour, "{http.request.uri.query.email}", "/pricing"
	config.flow.Metadata = map[string]string{"page": "{http.request.uri.path}"}
	s := newShop(t, config)
	order := s.axra.order(s.visitor().start(article + "?email=a@b.example"))
	if order.CustomerEmail != "a@b.example" || order.Metadata["page"] != article || order.CancelURL != origin+"/pricing" ||
		order.ExpiresIn != time.Hour || order.Description != "shop.example · 30 days" || !order.Terms.Claim {
		t.Errorf("the order is %+v", order)
	}
}

// S6: a visitor who cancels is not sent to the checkout again by itself.
func TestS6ACancelledCheckoutIsNotResumed(t *testing.T) {
	t.Parallel()
	s := newShop(t, member())
	v := s.visitor()
	id := v.start(article)
	cancelled := v.open(s.axra.order(id).CancelURL)
	cancelled.wantPage(http.StatusPaymentRequired, "Checkout was not completed")
	again := v.open(article).wantCheckout() // who asks for the page starts anew
	if again == id {
		t.Error("the cancelled checkout is resumed")
	}
	s.pass(31 * time.Minute)
	v.open(s.axra.order(again).CancelURL).wantPage(http.StatusPaymentRequired, "This checkout has expired")
	v.browse(s.pay(id)).wantPaid() // it was paid after all
}

// A payment whose tab was closed is found by itself, while its access lasts.
func TestAPaymentIsFoundWithoutAReturn(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(accessFor("1d")))
	v, late := s.visitor(), s.visitor()
	s.pay(v.start(article))
	s.pay(late.start(other))
	v.open(other).wantRedirect(other)
	v.open(other).wantPaid()
	s.pass(2 * day)
	late.open(other).wantCheckout()
}

// C1: checkouts and claims are limited for each client.
func TestC1LimitsHold(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(claim))
	few := session.Rate{Events: 2, Per: time.Hour}
	s.checkouts, s.claims = session.NewLimiter(few, few, s.now), session.NewLimiter(few, few, s.now)
	s.configure(member(claim))
	for range 2 {
		s.visitor().start(article)
		s.visitor().claim(article+"?axra_session=cs_x").wantPage(http.StatusPaymentRequired, notYet)
	}
	limited := []reply{s.visitor().open(article), s.visitor().claim(article + "?axra_session=cs_x")}
	for _, answer := range limited {
		answer.wantPage(http.StatusTooManyRequests, "Too many")
		if answer.header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	s.program().do(http.MethodPost, article+"?axra_checkout=member", nil).wantRefused(http.StatusTooManyRequests)
	s.wantCreated(2)
	s.pass(time.Hour)
	s.visitor().start(article)
}
