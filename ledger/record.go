package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// outcome of a payment as it is stored.
const (
	accepted = "accepted"
	mismatch = "mismatch"
)

// maxEventDelay is the age up to which an event's own time counts as the time of the payment. A later webhook must not
// cost the buyer bought time.
const maxEventDelay = 5 * time.Minute

// RecordPayment stores a completed payment and recomputes the purchase that it belongs to. PaidAt is the time of the
// event; if it lies in the future or is more than five minutes old, the current time counts. A delivery that comes
// again changes nothing, and adds what an earlier one left out.
func (l *Ledger) RecordPayment(ctx context.Context, p Payment) (Recorded, error) {
	if p.SessionID == "" {
		return Recorded{}, errors.New("a payment needs a session id")
	}
	if p.Source == "" {
		p.Source = FromAxra
	}
	now := l.options.Now()
	if age := now.Sub(p.PaidAt); age < 0 || age > maxEventDelay {
		p.PaidAt = now
	}
	return write(ctx, l, func(t *tx) (Recorded, error) { return l.recordPayment(t, p), nil })
}

// Give stores access that an operator or a coupon gives. Without a session id it gets a random one, and without a time
// the current one. A session id that was given already changes nothing.
func (l *Ledger) Give(ctx context.Context, p Payment) (Purchase, error) {
	if p.Source == "" {
		p.Source = FromOperator
	}
	if p.SessionID == "" {
		p.SessionID = "given_" + randomHex(16)
	}
	if p.PaidAt.IsZero() {
		p.PaidAt = l.options.Now()
	}
	return write(ctx, l, func(t *tx) (Purchase, error) { return l.recordPayment(t, p).Purchase, nil })
}

func (l *Ledger) recordPayment(t *tx, p Payment) Recorded {
	isNew := insertPayment(t, p)
	t.paid = true
	before := 0
	if !isNew {
		before = len(acceptedCharges(t, p.SessionID))
	}
	addPaymentIDs(t, p.SessionID, distinct(p.PaymentIDs), outcomeOf(p), p.PaidAt.Unix())
	charges := l.linkEvents(t, p.SessionID)
	recorded := l.recompute(t, purchaseOf(p))
	recorded.New = isNew || before > 0 && charges > before
	if !isNew && charges > 1 {
		repeated := repeatedIDs(t, p.SessionID)
		recorded.DoubleCharge = slices.ContainsFunc(p.PaymentIDs, func(id string) bool { return slices.Contains(repeated, id) }) || recorded.New
	}
	return recorded
}

// purchaseOf returns the purchase that a payment counts for. An extension names its purchase, so it may come first.
func purchaseOf(p Payment) string {
	if p.Terms.Extends != "" {
		return p.Terms.Extends
	}
	return PurchaseID(p.SessionID)
}

func outcomeOf(p Payment) string {
	if p.Mismatch {
		return mismatch
	}
	return accepted
}

// insertPayment stores a payment. A payment in the right amount replaces a mismatched one of the session.
func insertPayment(t *tx, p Payment) (isNew bool) {
	metadata := []byte("{}")
	if len(p.Metadata) > 0 {
		var err error
		metadata, err = json.Marshal(p.Metadata)
		t.fail(err)
	}
	paid := minorUnits(p.Paid)
	if p.Source != FromAxra {
		paid = sql.NullInt64{Valid: true}
	}
	hash := storeTerms(t, p.Terms)
	return t.exec(`
		INSERT INTO payments (session_id, purchase_id, source, outcome, asked_minor, asked_currency, paid_minor,
			paid_currency, paid_raw, access_seconds, paid_at, terms_hash, metadata, note)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
		ON CONFLICT (session_id) DO UPDATE
		SET outcome = excluded.outcome, paid_minor = excluded.paid_minor, paid_currency = excluded.paid_currency,
			paid_raw = excluded.paid_raw, paid_at = excluded.paid_at
		WHERE payments.outcome = 'mismatch' AND excluded.outcome = 'accepted'`,
		p.SessionID, purchaseOf(p), string(p.Source), outcomeOf(p), minorUnits(p.Terms.Price).Int64, p.Terms.Price.Currency, paid,
		p.Paid.Currency, p.PaidRaw, accessSeconds(p.Terms.Access), p.PaidAt.Unix(), hash, string(metadata), p.Note) > 0
}

// RecordEvent stores an event and recomputes the purchases of the payments that it is about. One that matches no
// payment yet is kept: the payment will find it by its session or by any of its ids.
func (l *Ledger) RecordEvent(ctx context.Context, e Event) (Recorded, error) {
	e.PaymentIDs = distinct(e.PaymentIDs)
	if e.SessionID == "" && len(e.PaymentIDs) == 0 {
		return Recorded{}, errors.New("an event needs a session id or a payment id")
	}
	if e.OccurredAt.IsZero() {
		e.OccurredAt = l.options.Now()
	}
	return write(ctx, l, func(t *tx) (Recorded, error) { return l.recordEvent(t, e), nil })
}

func (l *Ledger) recordEvent(t *tx, e Event) (recorded Recorded) {
	id := hashOf(append([]string{string(e.Kind), e.SessionID}, e.PaymentIDs...)...)
	isNew := t.exec(`
		INSERT INTO events (id, kind, session_id, occurred_at, received_at)
		VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING`,
		id, string(e.Kind), e.SessionID, e.OccurredAt.Unix(), l.now()) > 0
	for _, paymentID := range e.PaymentIDs {
		t.exec(`INSERT INTO event_ids (event_id, external_id) VALUES ($1, $2) ON CONFLICT (event_id, external_id) DO NOTHING`, id, paymentID)
	}
	for i, session := range sessionsOf(t, e) {
		l.linkEvents(t, session)
		payment, purchaseID := readPayment(t, session)
		if about := l.recompute(t, purchaseID); i == 0 {
			recorded = about
			recorded.Payment = payment
		}
	}
	recorded.New = isNew
	return recorded
}

// sessionsOf lists the sessions whose payments an event is about, the one that it names first.
func sessionsOf(t *tx, e Event) []string {
	sessions := t.texts(`SELECT session_id FROM payments WHERE session_id = $1`, e.SessionID)
	for _, paymentID := range e.PaymentIDs {
		for _, session := range t.texts(`SELECT session_id FROM payment_ids WHERE payment_id = $1 ORDER BY session_id`, paymentID) {
			if !slices.Contains(sessions, session) {
				sessions = append(sessions, session)
			}
		}
	}
	return sessions
}

// readPayment reads a payment and the id of its purchase, which is empty where there is none.
func readPayment(t *tx, sessionID string) (p Payment, purchaseID string) {
	var asked, paid sql.NullInt64
	var askedCurrency, paidCurrency, outcome, body, metadata string
	if !t.get(`
		SELECT p.session_id, p.purchase_id, p.source, p.outcome, p.asked_minor, p.asked_currency, p.paid_minor, p.paid_currency,
			p.paid_raw, p.paid_at, p.metadata, p.note, t.body
		FROM payments p JOIN terms t ON t.hash = p.terms_hash
		WHERE p.session_id = $1`, args{sessionID}, &p.SessionID, &purchaseID, &p.Source, &outcome, &asked, &askedCurrency,
		&paid, &paidCurrency, &p.PaidRaw, unix(&p.PaidAt), &metadata, &p.Note, &body) {
		return Payment{}, ""
	}
	var err error
	if p.Terms, err = parseTerms(t, body).terms(); err == nil {
		err = json.Unmarshal([]byte(metadata), &p.Metadata)
	}
	if err != nil {
		t.fail(fmt.Errorf("payment %s: %w", sessionID, err))
	}
	p.Terms.Price, p.Paid, p.Mismatch = priceOf(asked, askedCurrency), priceOf(paid, paidCurrency), outcome == mismatch
	if purchaseID != PurchaseID(sessionID) {
		p.Terms.Extends = purchaseID
	}
	p.PaymentIDs = t.texts(`SELECT payment_id FROM payment_ids WHERE session_id = $1 ORDER BY payment_id`, sessionID)
	return p, purchaseID
}

// distinct returns what is not empty, sorted and once.
func distinct(texts []string) []string {
	sorted := slices.DeleteFunc(slices.Clone(texts), func(text string) bool { return text == "" })
	slices.Sort(sorted)
	return slices.Compact(sorted)
}
