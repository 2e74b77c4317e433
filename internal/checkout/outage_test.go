package checkout_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/ledger"
)

const loseEverything = "DELETE FROM payments; DELETE FROM purchases; DELETE FROM devices; DELETE FROM payment_ids"

// D2: no visitor is asked to pay while it cannot be told whether they have, and nothing is sold to others.
func TestD2ReturnWhileTheLedgerIsBroken(t *testing.T) {
	t.Parallel()
	s := newShop(t, member())
	v := s.visitor()
	back := s.pay(v.start(article))
	s.breakLedger()
	for _, target := range []string{back, article, article + "?axra_cancelled=1", article + "?axra_restart=1"} {
		answer := v.open(target)
		answer.wantPage(http.StatusServiceUnavailable, "Your payment is safe")
		if answer.header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	s.visitor().open(article).wantPage(http.StatusServiceUnavailable, "Your payment is safe") // a payment could not be recorded
	s.wantCreated(1)
	s.mendLedger()
	v.browse(back).wantPaid()
	s.visitor().open(article).wantCheckout()
}

// D3: known buyers are served for the time of grace, then not, also over a restart.
func TestD3KnownBuyersAreServedForTheGrace(t *testing.T) {
	t.Parallel()
	s := newShop(t, member())
	v, _ := s.buyer()
	header := v.bearer(article)
	s.breakLedger()
	for range 9 {
		s.pass(time.Minute)
		v.open(article).wantPaid()
		s.program().do(http.MethodGet, article, header).wantPaid()
	}
	s.pass(2 * time.Minute)
	for range 2 {
		v.open(article).wantPage(http.StatusServiceUnavailable, "Your payment is safe")
		for _, accept := range []string{"application/json", "text/html", ""} {
			answer := s.program().do(http.MethodGet, article, but(header, "Accept", accept))
			answer.wantRefused(http.StatusServiceUnavailable)
			if answer.header.Get("Retry-After") == "" || strings.Contains(answer.body, "axra_checkout") {
				t.Errorf("a program that accepts %q is told %s", accept, answer.body)
			}
		}
		s.restart(member())
	}
	s.mendLedger()
	v.open(article).wantPaid()
}

// D3: what a known buyer has paid for is not sold again, neither to a person nor to a program, if its purchase is
// lost, or cannot be read although the change feed can.
func TestD3WhatIsLostIsNotSoldAgain(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]string{
		"lost":       loseEverything,
		"unreadable": "ALTER TABLE purchases RENAME COLUMN downloads_used TO away",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, member())
			v, _ := s.buyer()
			header := v.bearer(article)
			s.exec(damage)
			s.restart(member())
			v.open(article).wantPaid() // for the time of grace
			s.program().do(http.MethodGet, article, header).wantPaid()
			s.pass(11 * time.Minute)
			v.open(article).wantPage(http.StatusServiceUnavailable, "Your payment is safe")
			for _, target := range []string{article, article + "?axra_status=1"} {
				s.program().do(http.MethodGet, target, header).wantRefused(http.StatusServiceUnavailable)
			}
			s.program().do(http.MethodPost, article+"?axra_checkout=member", header).wantRefused(http.StatusServiceUnavailable)
			s.wantCreated(1)
		})
	}
}

// A webhook that comes again for a lost purchase mends it.
func TestAReplayedWebhookMendsALostPurchase(t *testing.T) {
	t.Parallel()
	s := newShop(t, member())
	v, id := s.buyer()
	s.exec(loseEverything)
	s.restart(member())
	v.open(article).wantPaid()
	s.pass(11 * time.Minute)
	v.open(article).wantPage(http.StatusServiceUnavailable, "Your payment is safe")
	s.pay(id)
	v.browse(article).wantPaid()
}

// The operator gives a buyer whose purchase was lost another one: its link opens what the lost one does not.
func TestAGiftReachesWhoseTokenIsOfALostPurchase(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(accessFor("forever")))
	v, id := s.buyer()
	s.exec(loseEverything)
	s.restart(member(accessFor("forever")))
	v.open(article).wantPaid() // for the time of grace
	s.pass(11 * time.Minute)
	v.open(article).wantPage(http.StatusServiceUnavailable, "Your payment is safe")
	recorded, err := s.ledger.RecordPayment(t.Context(), ledger.Payment{Source: ledger.FromOperator, Terms: s.axra.order(id).Terms})
	if err != nil {
		t.Fatal(err)
	}
	v.openOnDevice(s.deviceLink(origin, recorded.Purchase)).wantPaid()
	shown := v.open(receiptPage)
	shown.wantPage(http.StatusOK, "1 of 3")
	if strings.Contains(shown.body, "5.00 USD") {
		t.Error("a gift has a price")
	}
}

// D2: a program's checkout, too, is neither started nor told to be unpaid while the ledger cannot be read.
func TestD2AProgramWhileTheLedgerFails(t *testing.T) {
	t.Parallel()
	s := newShop(t, member())
	v, _ := s.buyer()
	header := v.bearer(article)
	started := s.startedByProgram(article)
	s.pay(started.Session)
	s.breakLedger()
	for _, as := range []http.Header{nil, header, {"Cookie": {v.cookie(article, "axra_t_").String()}}} {
		s.program().do(http.MethodPost, article+"?axra_checkout=member", as).wantRefused(http.StatusServiceUnavailable)
	}
	s.program().do(http.MethodGet, started.StatusURL, bearer(started.StatusToken)).wantRefused(http.StatusServiceUnavailable)
	s.wantCreated(2)
	s.mendLedger()
	if status := s.status(started.StatusURL, bearer(started.StatusToken)); status.State != "paid" {
		t.Errorf("afterwards %+v", status)
	}
}
