package paywall_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall"
	"github.com/caddy-axra/paywall/ledger"
)

func withKeep60(config string) string {
	return strings.Replace(config, "\t\tapi_key ", "\t\tkeep 60d\n\t\tapi_key ", 1)
}

// A refunded purchase of forever is swept after keep; a restart must not open it.
func TestARefundIsRememberedLongerThanKeep(t *testing.T) {
	config := withKeep60(strings.Replace(fiveLines, "access 30d", "access forever", 1))
	for _, how := range []string{"refunded", "revoked"} {
		t.Run(how, func(t *testing.T) {
			w := newWorld(t, worldOptions{Caddyfile: config})
			v := w.visitor()
			v.buy("/premium/article.html", cardGood).wantPaid(t)
			if how == "refunded" {
				mustDo(t, w.sandbox.Refund(w.lastPayment().ID))
				w.delivered()
			} else {
				running, err := paywall.RunningLedger()
				mustDo(t, err)
				_, err = running.Decide(t.Context(), ledger.PurchaseID(w.lastPayment().SessionID), ledger.Revoke, "")
				mustDo(t, err)
			}
			if answer := v.open("/premium/article.html"); strings.Contains(answer.body, marker) {
				t.Fatal("open after refund")
			}
			w.pass(61 * day)
			w.sweep()
			w.restart()
			answer := v.open("/premium/article.html")
			if strings.Contains(answer.body, marker) {
				t.Errorf("%s, swept, restarted: paid bytes, %d", how, answer.status)
			}
			w.pass(11 * time.Minute)
			v.open("/premium/article.html")
			w.restart()
			answer = v.open("/premium/article.html")
			if strings.Contains(answer.body, marker) {
				t.Errorf("%s, again after another restart: paid bytes, %d", how, answer.status)
			}
		})
	}
}

// A dispute that is open longer than keep, and won: what was sold is honoured.
func TestAnOpenDisputeIsNotSwept(t *testing.T) {
	config := withKeep60(strings.Replace(fiveLines, "access 30d", "access forever", 1))
	w := newWorld(t, worldOptions{Caddyfile: config})
	v := w.visitor()
	_, event := v.started("/premium/article.html")
	w.sure(event)
	v.browse("/premium/article.html").wantPaid(t)
	other := func(name string) map[string]any {
		e := changedData(event, nil)
		e["event"], e["timestamp"] = name, w.now().UTC().Format(time.RFC3339)
		return e
	}
	w.sure(other("payment.disputed"))
	w.pass(61 * day)
	w.sweep()
	w.sure(other("payment.dispute_won"))
	v.browse("/premium/article.html").wantPaid(t) // for the time of grace
	w.pass(11 * time.Minute)
	answer := v.browse("/premium/article.html")
	if !strings.Contains(answer.body, marker) {
		t.Errorf("a won dispute: %d safe=%v", answer.status, strings.Contains(answer.body, "safe"))
	}
}

// A purchase that is lost, or cannot be read, is not sold again to a program either.
func TestD3ALostPurchaseIsNotSoldAgainToAProgram(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member()})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	asProgram := v.bearer("/premium/article.html")
	w.exec("DELETE FROM payments; DELETE FROM purchases; DELETE FROM devices")
	w.restart()
	program := w.visitor()
	if answer := program.do(http.MethodGet, "/premium/article.html", asProgram, nil); answer.status != 200 {
		t.Fatalf("in grace: %d", answer.status)
	}
	w.pass(11 * time.Minute)
	for _, target := range []string{"/premium/article.html", "/premium/article.html?axra_status=1"} {
		if answer := program.do(http.MethodGet, target, asProgram, nil); answer.status != http.StatusServiceUnavailable {
			t.Errorf("%s: %d", target, answer.status)
		}
	}
	before := w.creations()
	answer := program.do(http.MethodPost, "/premium/article.html?axra_checkout=member", asProgram, nil)
	if w.creations() != before {
		t.Errorf("a checkout for what may be paid: %d", answer.status)
	}
}

// The same without loss: polls succeed, purchases cannot be read.
func TestD3WhatCannotBeReadIsNotSoldAgainToAProgram(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member()})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	asProgram := v.bearer("/premium/article.html")
	w.restart()
	w.exec("ALTER TABLE purchases RENAME COLUMN downloads_used TO away") // as a damaged page of the table would do
	program := w.visitor()
	program.do(http.MethodGet, "/premium/article.html", asProgram, nil)
	w.pass(11 * time.Minute)
	before := w.creations()
	answer := program.do(http.MethodPost, "/premium/article.html?axra_checkout=member", asProgram, nil)
	if w.creations() != before {
		t.Errorf("a checkout for what may be paid: %d", answer.status)
	}
}

// The operator gives a buyer whose purchase was lost another one.
func TestAGiftReachesWhoseTokenIsOfALostPurchase(t *testing.T) {
	w := office(t)
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	w.exec("DELETE FROM payments; DELETE FROM purchases; DELETE FROM devices")
	w.restart()
	v.open("/premium/article.html")
	w.pass(11 * time.Minute)
	v.open("/premium/article.html").wantPage(t, http.StatusServiceUnavailable, "Your payment is safe")
	var given struct{ Link string }
	w.runJSON(&given, "give", w.site+"/premium/article.html")
	answer := v.open(given.Link)
	if answer.status != http.StatusOK {
		t.Fatalf("the buyer who is given access again: %d", answer.status)
	}
	v.browse(v.submit(answer, "Open on this device", nil).next()).wantPaid(t)
}

// A webhook that comes again for a lost purchase mends it.
func TestAReplayedWebhookMendsALostPurchase(t *testing.T) {
	w := newWorld(t, worldOptions{})
	v := w.visitor()
	_, event := v.started("/premium/article.html")
	w.sure(event)
	v.browse("/premium/article.html").wantPaid(t)
	w.exec("DELETE FROM payments; DELETE FROM purchases; DELETE FROM devices; DELETE FROM payment_ids")
	w.restart()
	v.open("/premium/article.html").wantPaid(t)
	w.pass(11 * time.Minute)
	v.open("/premium/article.html").wantPage(t, http.StatusServiceUnavailable, "Your payment is safe")
	w.sure(event) // `caddy axra webhook replay`, or Axra's own button
	answer := v.browse("/premium/article.html")
	if !strings.Contains(answer.body, marker) {
		t.Errorf("%d %.400s", answer.status, text(parse(t, answer)))
	}
}
