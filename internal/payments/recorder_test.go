package payments_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/payments"
	"github.com/caddy-axra/paywall/ledger"
)

type changes = map[string]any

const completed = "payment.completed"

// W8, W9: what becomes of each event, and what the ledger is given.
func TestW8W9EveryEventHasAnOutcome(t *testing.T) {
	t.Parallel()
	const (
		payment  = "payment cs_1 [bpay_1] map[order:7]"
		mismatch = "mismatch cs_1 [bpay_1] map[order:7]"
	)
	for name, c := range map[string]struct {
		body     string
		outcome  payments.Outcome
		recorded string // empty: nothing
	}{
		"paid":             {event(completed, nil), payments.Paid, payment},
		"paid by a link":   {event("payment_link.session.completed", nil), payments.Paid, payment},
		"more than asked":  {event(completed, changes{"amount": "5.01"}), payments.Paid, payment},
		"too little":       {event(completed, changes{"amount": 4.99}), payments.Mismatch, mismatch},
		"nothing":          {event(completed, changes{"amount": 0}), payments.Mismatch, mismatch},
		"negative":         {event(completed, changes{"amount": -5}), payments.Mismatch, mismatch},
		"minor units":      {event(completed, changes{"amount": "0.05"}), payments.Mismatch, mismatch},
		"another currency": {event(completed, changes{"currency": "NGN"}), payments.Mismatch, mismatch},
		"no amount":        {event(completed, changes{"amount": nil}), payments.Mismatch, mismatch},
		"no currency":      {event(completed, changes{"currency": nil}), payments.Mismatch, mismatch},
		"an extension of another product": {
			event(completed, changes{"metadata": metadata(changes{"paywall_extends": "cs_0", "paywall_from": "2026-06-30T12:00:00Z"})}), payments.Mismatch, payment,
		},
		"every id":                  {event(completed, changes{"id": "lcoll_1", "businessPaymentId": "bp_1"}), payments.Paid, "payment cs_1 [bpay_1 lcoll_1 bp_1] map[order:7]"},
		"unknown event":             {event("payout.paid", nil), payments.Unknown, ""},
		"metadata missing":          {event(completed, changes{"metadata": nil}), payments.Foreign, ""},
		"metadata null":             {event(completed, changes{"metadata": json.RawMessage("null")}), payments.Foreign, ""},
		"metadata a string":         {event(completed, changes{"metadata": "x"}), payments.Foreign, ""},
		"metadata a list":           {event(completed, changes{"metadata": []int{1}}), payments.Foreign, ""},
		"another program's":         {event(completed, changes{"metadata": changes{"sessionId": "cs_1", "order": "7"}}), payments.Foreign, ""},
		"another installation's":    {event(completed, changes{"metadata": metadata(changes{"paywall_installation": "feedfacefeedface"})}), payments.Foreign, ""},
		"its refund":                {event("payment.refunded", changes{"metadata": metadata(changes{"paywall_installation": "feedfacefeedface"})}), payments.Foreign, ""},
		"terms of wrong types":      {event(completed, changes{"metadata": metadata(changes{"paywall_amount": 5})}), payments.Malformed, ""},
		"no session":                {event(completed, changes{"metadata": metadata(changes{"sessionId": nil})}), payments.Malformed, ""},
		"no data":                   {`{"event":"payment.completed"}`, payments.Foreign, ""},
		"data null":                 {`{"event":"payment.completed","data":null}`, payments.Foreign, ""},
		"settled":                   {event("payment.settled", nil), payments.Noted, ""},
		"failed":                    {event("payment.failed", nil), payments.Noted, ""},
		"collection begun":          {event("collection.processing", nil), payments.Noted, ""},
		"collection completed":      {event("collection.completed", nil), payments.Noted, "collected cs_1 [bpay_1]"},
		"collection without an id":  {event("collection.completed", changes{"paymentId": nil}), payments.Noted, ""},
		"refunded":                  {event("payment.refunded", nil), payments.Refunded, "refunded cs_1 [bpay_1]"},
		"refunded, by payment only": {event("payment.refunded", changes{"metadata": nil}), payments.Refunded, "refunded  [bpay_1]"},
		"disputed":                  {event("payment.disputed", nil), payments.Disputed, "disputed cs_1 [bpay_1]"},
		"dispute won":               {event("payment.dispute_won", nil), payments.DisputeWon, "dispute_won cs_1 [bpay_1]"},
		"dispute lost":              {event("payment.dispute_lost", nil), payments.DisputeLost, "dispute_lost cs_1 [bpay_1]"},
		"refund of nothing":         {`{"event":"payment.refunded","data":{}}`, payments.Unmatched, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			outcome, err := d.take(c.body)
			if err != nil || outcome != c.outcome {
				t.Errorf("outcome %q, %v, want %q", outcome, err, c.outcome)
			}
			if got := strings.Join(d.recorded, "\n"); got != c.recorded {
				t.Errorf("recorded %q, want %q", got, c.recorded)
			}
		})
	}
}

// D1: what is not durable has no outcome that could be acknowledged.
func TestD1NoOutcomeWithoutARecord(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		completed, "payment_link.session.completed", "payment.refunded", "payment.disputed", "payment.dispute_won", "payment.dispute_lost", "collection.completed",
	} {
		d := newDesk(t)
		d.down = true
		if _, err := d.take(event(name, nil)); !errors.Is(err, errDown) {
			t.Errorf("%s while the ledger is down: %v", name, err)
		}
		d = newDesk(t)
		d.Installation = func(context.Context) (string, error) { return "", errDown }
		if _, err := d.take(event(name, nil)); !errors.Is(err, errDown) || d.recorded != nil {
			t.Errorf("%s without keys: %v, recorded %v", name, err, d.recorded)
		}
		if d.events != nil || d.counted != nil {
			t.Errorf("%s: published %v, counted %v", name, d.events, d.counted)
		}
	}
}

// W6: an event that was swept with its purchase grants nothing when it comes again.
func TestW6AnEventOlderThanKeepIsStale(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		keep    time.Duration
		at      time.Time
		outcome payments.Outcome
	}{
		{60 * day, clock.Add(-61 * day), payments.Stale},
		{60 * day, clock.Add(-59 * day), payments.Paid},
		{-1, clock.Add(-100 * day), payments.Paid},
		{60 * day, time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), payments.Paid}, // a wrong clock
		{60 * day, clock.AddDate(8000, 0, 0), payments.Paid},
	} {
		d := newDesk(t)
		d.Keep = c.keep
		body := strings.Replace(event(completed, nil), clock.Format(time.RFC3339), c.at.Format(time.RFC3339), 1)
		if outcome, err := d.take(body); err != nil || outcome != c.outcome {
			t.Errorf("keep %s, event of %s: %q, %v, want %q", c.keep, c.at, outcome, err, c.outcome)
		}
	}
}

const about = " currency=usd pass=month payment=bpay_1 "

// W6, W7: what is counted and published follows from what the ledger answers.
func TestReportsFollowTheLedger(t *testing.T) {
	t.Parallel()
	purchase := ledger.Purchase{ID: "p1", Product: "month", Status: ledger.Active, EndsAt: clock.Add(30 * day)}
	with := func(status ledger.Status) ledger.Purchase {
		changed := purchase
		changed.Status = status
		return changed
	}
	payment := ledger.Payment{SessionID: "cs_1", Terms: sold(), Paid: sold().Price}
	const of = "resource=* session=cs_1 site=https://example.com"
	paid := "axra.paid amount=5.00" + about + "purchase=p1 " + of + " until=2026-07-01T12:00:00Z"
	own := "purchase=" + ledger.PurchaseID("cs_1") + " "
	for name, c := range map[string]struct {
		body    string
		answer  ledger.Recorded
		outcome payments.Outcome
		counted []string
		events  []string
	}{
		"a payment": {event(completed, nil), ledger.Recorded{New: true, Purchase: purchase}, payments.Paid, []string{"paid 5.00 USD"}, []string{paid}},
		"a payment without end": {event(completed, nil), ledger.Recorded{New: true, Purchase: ledger.Purchase{ID: "p1", Status: ledger.Active}}, payments.Paid,
			[]string{"paid 5.00 USD"}, []string{strings.TrimSuffix(paid, " until=2026-07-01T12:00:00Z")}},
		"delivered again": {event(completed, nil), ledger.Recorded{Purchase: purchase}, payments.Known, nil, nil},
		"refunded before": {event(completed, nil), ledger.Recorded{New: true, Purchase: with(ledger.Refunded)}, payments.Paid, []string{"paid 5.00 USD", "refunded 5.00 USD"}, []string{paid}},
		"disputed before": {event(completed, nil), ledger.Recorded{New: true, Purchase: with(ledger.Disputed)}, payments.Paid, []string{"paid 5.00 USD", "disputed 5.00 USD"}, []string{paid}},
		"of a revoked purchase": {event(completed, nil), ledger.Recorded{New: true, Purchase: with(ledger.Revoked)}, payments.Paid, []string{"paid 5.00 USD"},
			[]string{"axra.rejected amount=5.00" + about + own + "reason=revoked " + of, paid}},
		"charged twice": {event(completed, nil), ledger.Recorded{New: true, DoubleCharge: true, Purchase: purchase}, payments.DoubleCharge, nil, nil},
		"too little": {event(completed, changes{"amount": 4}), ledger.Recorded{New: true, Purchase: with(ledger.Mismatched)}, payments.Mismatch, nil,
			[]string{"axra.rejected amount=4.00" + about + own + "reason=amount " + of}},
		"too little, again": {event(completed, changes{"amount": 4}), ledger.Recorded{Purchase: with(ledger.Mismatched)}, payments.Mismatch, nil, nil},
		"unreadable metadata": {event(completed, changes{"metadata": metadata(changes{"paywall_access": "never"})}), ledger.Recorded{}, payments.Malformed, nil,
			[]string{"axra.rejected amount=5.00 currency=usd payment=bpay_1 " + own + "reason=metadata session=cs_1"}},
		"a refund": {event("payment.refunded", nil), ledger.Recorded{New: true, Purchase: with(ledger.Refunded), Payment: payment}, payments.Refunded,
			[]string{"refunded 5.00 USD"}, []string{"axra.refunded amount=5.00" + about + "purchase=p1 " + of}},
		"a refund again": {event("payment.refunded", nil), ledger.Recorded{Purchase: purchase, Payment: payment}, payments.Known, nil, nil},
		"a refund before its payment": {event("payment.refunded", changes{"metadata": nil}), ledger.Recorded{New: true}, payments.Refunded, nil,
			[]string{"axra.refunded payment=bpay_1"}},
		"a dispute that is won": {event("payment.dispute_won", nil), ledger.Recorded{New: true, Purchase: purchase, Payment: payment}, payments.DisputeWon,
			[]string{"dispute_won 5.00 USD"}, []string{"axra.disputed amount=5.00 currency=usd outcome=won pass=month payment=bpay_1 purchase=p1 " + of}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			d.answer = c.answer
			if outcome, err := d.take(c.body); err != nil || outcome != c.outcome {
				t.Errorf("outcome %q, %v, want %q", outcome, err, c.outcome)
			}
			wantLines(t, "counted", d.counted, c.counted...)
			wantLines(t, "published", d.events, c.events...)
		})
	}
}
