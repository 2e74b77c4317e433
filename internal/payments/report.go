package payments

import (
	"encoding/json"
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
	fields := append(ids(purchase, first(payment.PaymentIDs)),
		zap.String("pass", purchase.Product), zap.Stringer("price", payment.Terms.Price))
	if purchase.Status == ledger.Revoked {
		r.Logger.Error("a payment extends a purchase that was revoked; it opens nothing", fields...)
		r.Reject(payment, ReasonRevoked)
	} else {
		r.Logger.Info("payment completed", fields...)
	}
	r.Metrics.CountPaid(payment)
	switch purchase.Status {
	case ledger.Refunded:
		r.countReversal(ledger.EventRefunded, payment)
	case ledger.Disputed:
		r.countReversal(ledger.EventDisputed, payment)
	}
	data := eventData(payment)
	data["purchase"] = purchase.ID // the extended purchase, if the payment extends one
	if !purchase.EndsAt.IsZero() {
		data["until"] = purchase.EndsAt.UTC().Format(time.RFC3339)
	}
	r.Publish(EventPaid, data)
}

func (r *Recorder) reportMismatch(recorded ledger.Recorded, payment ledger.Payment, reason error) {
	if !recorded.New {
		return
	}
	r.Logger.Error("amount or currency of a completed payment differ from the price; it opens nothing",
		append(ids(recorded.Purchase, first(payment.PaymentIDs)), zap.String("pass", payment.Terms.Pass),
			zap.Stringer("price", payment.Terms.Price), zap.String("paid", payment.PaidRaw), zap.Error(reason))...)
	r.Reject(payment, ReasonAmount)
}

// reportReversal counts and publishes a refund or a step of a dispute, whose payment may not be known yet.
func (r *Recorder) reportReversal(kind ledger.EventKind, event webhook.Event, recorded ledger.Recorded) {
	payment := recorded.Payment
	if payment.SessionID == "" {
		payment = ledger.Payment{SessionID: event.Session}
	} else {
		r.countReversal(kind, payment)
	}
	if len(event.PaymentIDs) > 0 {
		payment.PaymentIDs = event.PaymentIDs
	}
	data := eventData(payment)
	if recorded.Purchase.ID != "" {
		data["purchase"] = recorded.Purchase.ID
	}
	if outcome, ok := disputeOutcomes[kind]; ok {
		data["outcome"] = outcome
		r.Publish(EventDisputed, data)
		return
	}
	r.Publish(EventRefunded, data)
}

func (r *Recorder) countReversal(kind ledger.EventKind, payment ledger.Payment) {
	if outcome, ok := disputeOutcomes[kind]; ok {
		r.Metrics.CountDispute(outcome, payment)
		return
	}
	r.Metrics.CountRefund(payment)
}

// Reject publishes a payment that opens nothing or, with a zero payment, a rejected webhook.
func (r *Recorder) Reject(payment ledger.Payment, reason string) {
	data := eventData(payment)
	data["reason"] = reason
	r.Publish(EventRejected, data)
}

// providerID is Axra's id of a session or a payment. Event handlers and placeholders get the full id as text. Caddy logs
// events as JSON, in which the id is shortened.
type providerID string

// String returns the full id.
func (id providerID) String() string { return string(id) }

// MarshalJSON returns the shortened id, for logs.
func (id providerID) MarshalJSON() ([]byte, error) { return json.Marshal(webhook.ShortID(string(id))) }

// eventData returns the data of an event about a payment. All keys are always present, so that every placeholder is
// replaced. The ids are not plain strings: handlers written in Go read them as fmt.Stringer.
func eventData(payment ledger.Payment) map[string]any {
	purchaseID := ""
	if payment.SessionID != "" {
		purchaseID = ledger.PurchaseID(payment.SessionID)
	}
	data := map[string]any{
		"purchase": purchaseID, "session": providerID(payment.SessionID), "payment": providerID(first(payment.PaymentIDs)),
		"pass": payment.Terms.Pass, "resource": payment.Terms.Resource, "site": payment.Terms.Site,
		"amount": "", "currency": payment.Paid.Currency, "until": "", "outcome": "", "reason": "",
	}
	if payment.Paid.Currency != "" {
		data["amount"] = payment.Paid.Digits()
	}
	return data
}

func first(texts []string) string {
	if len(texts) == 0 {
		return ""
	}
	return texts[0]
}

// ids are the short names of a purchase and a payment, for logs.
func ids(purchase ledger.Purchase, paymentID string) []zap.Field {
	const digits = 10
	return []zap.Field{
		zap.String("purchase", purchase.ID[:min(digits, len(purchase.ID))]), zap.String("payment", webhook.ShortID(paymentID)),
	}
}
