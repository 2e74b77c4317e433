// Package payments turns verified webhooks into records of the ledger.
package payments

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/webhook"
)

// Outcome says what happened with an event.
type Outcome string

// The outcomes of events.
const (
	Paid         Outcome = "paid"
	Mismatch     Outcome = "mismatch"      // amount or currency differ from the price
	DoubleCharge Outcome = "double_charge" // a second payment of a checkout session
	Refunded     Outcome = "refunded"
	Disputed     Outcome = "disputed"
	DisputeWon   Outcome = "dispute_won"
	DisputeLost  Outcome = "dispute_lost"
	Known        Outcome = "known"     // an earlier delivery was recorded
	Noted        Outcome = "noted"     // for an unpaid session, or without consequence
	Foreign      Outcome = "foreign"   // for a session of another program or installation
	Unknown      Outcome = "unknown"   // a type that Axra does not document
	Malformed    Outcome = "malformed" // its metadata cannot be read
	Unmatched    Outcome = "unmatched" // names neither a session nor a payment
	Stale        Outcome = "stale"     // the purchase may have been swept already
)

// Ledger records payments, refunds and disputes. A nil error means that the record is durable.
type Ledger interface {
	RecordPayment(ctx context.Context, payment ledger.Payment) (ledger.Recorded, error)
	RecordEvent(ctx context.Context, event ledger.Event) (ledger.Recorded, error)
}

// Metrics counts money that has been recorded.
type Metrics interface {
	// CountAmount counts a payment, its refund, or a step of its dispute.
	CountAmount(outcome Outcome, payment ledger.Payment)
}

// Recorder records events.
type Recorder struct {
	Ledger Ledger
	// Installation returns the id of this installation, which tells our events from those of others.
	Installation func(context.Context) (string, error)
	Progress     *Progress
	Metrics      Metrics
	// Publish hands an event to Caddy's events app.
	Publish func(name string, data map[string]any)
	// Keep is how long purchases are kept after their access has ended; negative: no expiry.
	Keep   time.Duration
	Now    func() time.Time
	Logger *zap.Logger
}

// Record records a verified event. After an error the webhook must not be acknowledged.
func (r *Recorder) Record(ctx context.Context, event webhook.Event) (Outcome, error) {
	if !event.Type.Known() {
		return Unknown, nil
	}
	installation, err := r.Installation(ctx)
	if err != nil {
		return "", err
	}
	if isForeign(event, installation) {
		return Foreign, nil
	}
	if event.Type.Completes() {
		return r.recordPayment(ctx, event)
	}
	if kind, ok := reversals[event.Type]; ok {
		return r.recordReversal(ctx, event, kind)
	}
	if stage, ok := stages[event.Type]; ok {
		r.Progress.Note(event, stage)
	}
	// A later refund may name any of the ids under which a collection knows a session's payment (Axra,
	// payments/local-rails-api). They give no access.
	if event.Type == webhook.CollectionCompleted && event.Session != "" && len(event.PaymentIDs) > 0 {
		_, err = r.Ledger.RecordEvent(ctx, ledgerEvent(event, ledger.EventCollected))
	}
	return Noted, err
}

var reversals = map[webhook.Type]ledger.EventKind{
	webhook.PaymentRefunded: ledger.EventRefunded, webhook.PaymentDisputed: ledger.EventDisputed,
	webhook.DisputeWon: ledger.EventDisputeWon, webhook.DisputeLost: ledger.EventDisputeLost,
}

var stages = map[webhook.Type]Stage{
	webhook.PaymentFailed: Failed, webhook.CollectionFailed: Failed, webhook.CollectionExpired: Failed,
	webhook.CollectionCreated: Processing, webhook.CollectionProcessing: Processing, webhook.CollectionCompleted: Processing,
}

// isForeign reports whether an event is for a session of another program or installation. A refund or dispute without
// metadata may be ours: Axra does not document whether such events repeat it.
func isForeign(event webhook.Event, installation string) bool {
	if named, ok := event.Metadata[terms.MetadataPrefix+"installation"]; ok {
		return named != installation
	}
	return event.Type.Completes()
}

func (r *Recorder) recordPayment(ctx context.Context, event webhook.Event) (Outcome, error) {
	sold, err := terms.FromMetadata(event.Metadata)
	if err != nil || event.Session == "" {
		r.Logger.Error("the metadata of a completed payment cannot be read; it opens nothing",
			zap.String("session", webhook.ShortID(event.Session)), zap.String("payment", webhook.ShortID(event.Payment)), zap.Error(err))
		r.Reject(ledger.Payment{SessionID: event.Session, PaymentIDs: event.PaymentIDs, Paid: event.Paid}, ReasonMetadata)
		return Malformed, nil
	}
	if r.Keep > 0 && event.Timestamp.After(noPaymentsBefore) && r.Now().Sub(event.Timestamp) > r.Keep { // it may have been swept
		r.Logger.Error("an event is older than the time for which purchases are kept; it opens nothing",
			zap.String("session", webhook.ShortID(event.Session)), zap.Time("timestamp", event.Timestamp))
		return Stale, nil
	}
	payment := ledger.Payment{
		SessionID: event.Session, PaymentIDs: event.PaymentIDs, Source: ledger.FromAxra, Terms: sold,
		Paid: event.Paid, PaidRaw: event.PaidRaw, PaidAt: event.Timestamp, Metadata: ownMetadata(event.Metadata),
		Mismatch: event.AmountError != nil || !sold.Price.CoveredBy(event.Paid),
	}
	recorded, err := r.Ledger.RecordPayment(ctx, payment)
	if err != nil {
		return "", err
	}
	r.Progress.Forget(event.Session)
	switch {
	case recorded.DoubleCharge && recorded.New:
		r.Logger.Error("a checkout session was charged twice; refund one of the payments in Axra", ids(recorded.Purchase, event.Payment)...)
		return DoubleCharge, nil
	case payment.Mismatch, sold.Extends != "" && !isFor(recorded.Purchase, sold):
		if recorded.New {
			r.Logger.Error("amount or currency of a completed payment differ from the price; it opens nothing",
				append(ids(recorded.Purchase, event.Payment), zap.String("pass", sold.Pass), zap.Stringer("price", sold.Price),
					zap.String("paid", event.PaidRaw), zap.Error(event.AmountError))...)
			r.Reject(payment, ReasonAmount)
		}
		return Mismatch, nil
	case !recorded.New:
		return Known, nil
	}
	r.reportPaid(recorded.Purchase, payment)
	return Paid, nil
}

// isFor reports whether a payment opens the purchase that it belongs to. An extension of something else does not.
func isFor(purchase ledger.Purchase, sold terms.Terms) bool {
	return purchase.Site == sold.Site && purchase.Product == sold.Pass && purchase.Resource == sold.Resource
}

// noPaymentsBefore predates the plugin: an earlier timestamp comes from a wrong clock.
var noPaymentsBefore = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// ownMetadata is what the site's owner added to a checkout session.
func ownMetadata(all map[string]string) map[string]string {
	own := maps.Clone(all)
	maps.DeleteFunc(own, func(name, _ string) bool { return name == "sessionId" || strings.HasPrefix(name, terms.MetadataPrefix) })
	return own
}

// recordReversal records a refund or a step of a dispute.
func (r *Recorder) recordReversal(ctx context.Context, event webhook.Event, kind ledger.EventKind) (Outcome, error) {
	if event.Session == "" && len(event.PaymentIDs) == 0 {
		r.Logger.Error("an event names neither a session nor a payment; it changes nothing", zap.String("event", string(event.Type)))
		return Unmatched, nil
	}
	recorded, err := r.Ledger.RecordEvent(ctx, ledgerEvent(event, kind))
	if err != nil {
		return "", err
	}
	if !recorded.New {
		return Known, nil
	}
	r.Logger.Info("payment outcome", append(ids(recorded.Purchase, event.Payment), zap.String("outcome", string(kind)))...)
	r.reportReversal(kind, event, recorded)
	return Outcome(kind), nil
}

func ledgerEvent(event webhook.Event, kind ledger.EventKind) ledger.Event {
	return ledger.Event{Kind: kind, SessionID: event.Session, PaymentIDs: event.PaymentIDs, OccurredAt: event.Timestamp}
}

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

// disputeOutcomes are the outcomes of disputes in events.
var disputeOutcomes = map[ledger.EventKind]string{
	ledger.EventDisputed: "opened", ledger.EventDisputeWon: "won", ledger.EventDisputeLost: "lost",
}

// reportPaid logs, counts and publishes a payment. Its refund may have been recorded before it.
func (r *Recorder) reportPaid(purchase ledger.Purchase, payment ledger.Payment) {
	fields := append(ids(purchase, first(payment.PaymentIDs)), zap.String("pass", purchase.Product), zap.Stringer("price", payment.Terms.Price),
		zap.String("paid", payment.PaidRaw))
	if purchase.Status == ledger.Revoked {
		r.Logger.Error("a payment extends a purchase that was revoked; it opens nothing", fields...)
		r.Reject(payment, ReasonRevoked)
	} else {
		r.Logger.Info("payment completed", fields...)
	}
	r.Metrics.CountAmount(Paid, payment)
	if purchase.Status == ledger.Refunded || purchase.Status == ledger.Disputed {
		r.Metrics.CountAmount(Outcome(purchase.Status), payment)
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
		r.Metrics.CountAmount(Outcome(kind), payment)
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
