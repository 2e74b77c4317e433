package payments

import (
	"encoding/json"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/webhook"
)

// Names of events for Caddy's events app. They report what is already recorded.
const (
	EventPaid     = "axra.paid"
	EventRefunded = "axra.refunded"
	EventDisputed = "axra.disputed"
	EventRejected = "axra.rejected"
)

// Reasons of EventRejected.
const (
	ReasonRevoked   = "revoked"   // the payment extends a purchase that the operator has revoked
	ReasonAmount    = "amount"    // too little, another currency, or no amount
	ReasonMetadata  = "metadata"  // the metadata cannot be read
	ReasonSignature = "signature" // the signature does not verify
	ReasonUnsigned  = "unsigned"  // the signature's header is missing
)

// disputeOutcomes are the outcomes of disputes in metrics and events.
var disputeOutcomes = map[ledger.EventKind]string{
	ledger.EventDisputed: "opened", ledger.EventDisputeWon: "won", ledger.EventDisputeLost: "lost",
}

// reportPaid logs, counts and publishes a payment. Its refund may have been recorded before it.
func (r *Recorder) reportPaid(purchase ledger.Purchase, payment ledger.Payment) {
	fields := append(ids(purchase, first(payment.PaymentIDs)), zap.String("pass", purchase.Product), zap.Stringer("price", payment.Terms.Price))
	if purchase.Status == ledger.Revoked {
		r.Logger.Error("a payment extends a purchase that was revoked; it opens nothing", fields...)
		r.Reject(payment, ReasonRevoked)
	} else {
		r.Logger.Info("payment completed", fields...)
	}
	r.Metrics.CountPaid(payment)
	if purchase.Status == ledger.Refunded || purchase.Status == ledger.Disputed {
		r.countReversal(ledger.EventKind(purchase.Status), payment)
	}
	until := ""
	if !purchase.EndsAt.IsZero() {
		until = purchase.EndsAt.UTC().Format(time.RFC3339)
	}
	r.publish(EventPaid, payment, "purchase", purchase.ID, "until", until) // the extended purchase, if the payment extends one
}

// reportReversal counts and publishes a refund or a step of a dispute, whose payment may not be known yet.
func (r *Recorder) reportReversal(kind ledger.EventKind, event webhook.Event, recorded ledger.Recorded) {
	payment := recorded.Payment
	if payment.SessionID == "" {
		payment.SessionID = event.Session
	} else {
		r.countReversal(kind, payment)
	}
	if len(event.PaymentIDs) > 0 {
		payment.PaymentIDs = event.PaymentIDs
	}
	name, outcome := EventRefunded, disputeOutcomes[kind]
	if outcome != "" {
		name = EventDisputed
	}
	r.publish(name, payment, "purchase", recorded.Purchase.ID, "outcome", outcome)
}

func (r *Recorder) countReversal(kind ledger.EventKind, payment ledger.Payment) {
	if outcome := disputeOutcomes[kind]; outcome != "" {
		r.Metrics.CountDispute(outcome, payment)
		return
	}
	r.Metrics.CountRefund(payment)
}

// Reject publishes a payment that opens nothing or, with a zero payment, a rejected webhook.
func (r *Recorder) Reject(payment ledger.Payment, reason string) {
	r.publish(EventRejected, payment, "reason", reason)
}

// publish hands an event about a payment to Caddy's events app, with further pairs of key and value. All keys are always
// present, so that every placeholder is replaced. The ids are not plain strings: handlers written in Go read them as
// fmt.Stringer.
func (r *Recorder) publish(name string, payment ledger.Payment, more ...string) {
	data := map[string]any{
		"purchase": "", "session": providerID(payment.SessionID), "payment": providerID(first(payment.PaymentIDs)),
		"pass": payment.Terms.Pass, "resource": payment.Terms.Resource, "site": payment.Terms.Site,
		"amount": "", "currency": payment.Paid.Currency, "until": "", "outcome": "", "reason": "",
	}
	if payment.SessionID != "" {
		data["purchase"] = ledger.PurchaseID(payment.SessionID)
	}
	if payment.Paid.Currency != "" {
		data["amount"] = payment.Paid.Digits()
	}
	for pair := range slices.Chunk(more, 2) {
		if pair[1] != "" {
			data[pair[0]] = pair[1]
		}
	}
	r.Publish(name, data)
}

// providerID is Axra's id of a session or a payment. Event handlers and placeholders get the full id as text. Caddy logs
// events as JSON, in which the id is shortened.
type providerID string

// String returns the full id.
func (id providerID) String() string { return string(id) }

// MarshalJSON returns the shortened id, for logs.
func (id providerID) MarshalJSON() ([]byte, error) { return json.Marshal(webhook.ShortID(string(id))) }

// ids are the short names of a purchase and a payment, for logs.
func ids(purchase ledger.Purchase, paymentID string) []zap.Field {
	return []zap.Field{zap.String("purchase", ledger.Reference(purchase.ID)), zap.String("payment", webhook.ShortID(paymentID))}
}

func first(texts []string) string {
	if len(texts) == 0 {
		return ""
	}
	return texts[0]
}
