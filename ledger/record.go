package ledger

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/caddy-axra/paywall/money"
	"github.com/caddy-axra/paywall/terms"
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
// again changes nothing, and adds what an earlier one left out. Access that an operator gives needs no session id.
func (l *Ledger) RecordPayment(ctx context.Context, p Payment) (Recorded, error) {
	switch p.Source = cmp.Or(p.Source, FromAxra); {
	case p.SessionID == "" && p.Source == FromAxra:
		return Recorded{}, errors.New("a payment needs a session id")
	case p.SessionID == "":
		p.SessionID = "given_" + randomHex(16)
	}
	now := l.options.Now()
	if age := now.Sub(p.PaidAt); age < 0 || age > maxEventDelay {
		p.PaidAt = now
	}
	return write(ctx, l, func(t *tx) (Recorded, error) { return l.recordPayment(t, p), nil })
}

func (l *Ledger) recordPayment(t *tx, p Payment) (recorded Recorded) {
	isNew := insertPayment(t, p)
	t.paid = true
	paid := readCharges(t, p)
	before := len(paid.completed(accepted))
	paid.connect(charge{distinct(p.PaymentIDs), outcomeOf(p), p.PaidAt.Unix()})
	paid.storeIDs(t)
	purchase, sessions := l.recompute(t, purchaseOf(p))
	for _, s := range sessions {
		if s.SessionID != storable(p.SessionID) {
			continue
		}
		recorded.Purchase = purchase // that the first delivery named
		charges := s.completed(accepted)
		recorded.New = isNew || before > 0 && len(charges) > before
		if !isNew && len(charges) > 1 {
			recorded.DoubleCharge = recorded.New || slices.ContainsFunc(charges[1:], Event{PaymentIDs: p.PaymentIDs}.names)
		}
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
	metadata, err := json.Marshal(p.Metadata)
	t.fail(err)
	return t.exec(`
		INSERT INTO payments (session_id, purchase_id, source, outcome, asked_minor, asked_currency, paid_minor,
			paid_currency, paid_raw, paid_at, terms_hash, metadata, note)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
		ON CONFLICT (session_id) DO UPDATE
		SET outcome = excluded.outcome, paid_minor = excluded.paid_minor, paid_currency = excluded.paid_currency,
			paid_raw = excluded.paid_raw, paid_at = excluded.paid_at
		WHERE payments.outcome = 'mismatch' AND excluded.outcome = 'accepted'`,
		p.SessionID, purchaseOf(p), string(p.Source), outcomeOf(p), minorUnits(p.Terms.Price).Int64, p.Terms.Price.Currency,
		minorUnits(p.Paid), p.Paid.Currency, p.PaidRaw, p.PaidAt.Unix(), storeTerms(t, p.Terms), string(metadata), p.Note) > 0
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
	id := hashOf(fmt.Sprintf("%s %q %q", e.Kind, e.SessionID, e.PaymentIDs))
	recorded.New = t.exec(`
		INSERT INTO events (id, kind, session_id, occurred_at, received_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING`,
		id, string(e.Kind), e.SessionID, e.OccurredAt.Unix(), l.now()) > 0
	for _, paymentID := range e.PaymentIDs {
		t.exec(`INSERT INTO event_ids (event_id, external_id) VALUES ($1, $2) ON CONFLICT (event_id, external_id) DO NOTHING`, id, paymentID)
	}
	for _, payment := range readPayments(t, paymentsOfEvent, e.SessionID, id) {
		purchase, _ := l.recompute(t, purchaseOf(payment))
		if recorded.Payment.SessionID == "" {
			recorded.Purchase, recorded.Payment = purchase, payment
		}
	}
	return recorded
}

// paymentColumns are those of payments m and terms t that columns takes.
const paymentColumns = `m.session_id, t.body, m.purchase_id, m.asked_minor || ' ' || m.asked_currency, m.paid_minor || ' ' || m.paid_currency,
	m.paid_raw, m.outcome = 'mismatch', m.source, m.paid_at, m.metadata, m.note,
	(SELECT string_agg(payment_id, '
' ORDER BY payment_id) FROM payment_ids WHERE session_id = m.session_id)`

const (
	paymentsAnd        = `SELECT ` + paymentColumns + ` FROM payments m CROSS JOIN terms t WHERE t.hash = m.terms_hash AND `
	paymentsOfPurchase = paymentsAnd + `m.purchase_id = $1 ORDER BY m.paid_at, m.session_id`
	// paymentsOfEvent begin with the one that the event names.
	paymentsOfEvent = paymentsAnd + `m.session_id IN (
		SELECT $1 UNION SELECT i.session_id FROM event_ids x CROSS JOIN payment_ids i WHERE x.event_id = $2 AND i.payment_id = x.external_id)
		ORDER BY m.session_id <> $1, m.session_id`
)

func readPayments(t *tx, query string, args ...any) (payments []Payment) {
	var p Payment
	t.each(query, args, p.columns(), func() { payments = append(payments, p) })
	return payments
}

// columns are variables for paymentColumns, which are scanned in this order.
func (p *Payment) columns() into {
	extends := func(purchase string) (string, error) {
		return strings.TrimPrefix(purchase, PurchaseID(p.SessionID)), nil
	}
	return into{
		&p.SessionID, parsed(&p.Terms, parseTerms), parsed(&p.Terms.Extends, extends), parsed(&p.Terms.Price, parsePrice),
		parsed(&p.Paid, parsePrice), &p.PaidRaw, &p.Mismatch, &p.Source, unix(&p.PaidAt), parsed(&p.Metadata, parseMetadata), &p.Note,
		parsed(&p.PaymentIDs, lines),
	}
}

func parseMetadata(text string) (metadata map[string]string, err error) {
	err = json.Unmarshal([]byte(text), &metadata)
	return metadata, err
}

// lines splits what string_agg has joined.
func lines(text string) ([]string, error) {
	return strings.FieldsFunc(text, func(r rune) bool { return r == '\n' }), nil
}

// distinct returns what is not empty, as it is stored, sorted and once.
func distinct(texts []string) (sorted []string) {
	for _, text := range texts {
		if text != "" {
			sorted = append(sorted, storable(text))
		}
	}
	slices.Sort(sorted)
	return slices.Compact(sorted)
}

// scope is what a payment opens. Only payments of one scope count for one purchase.
type scope struct{ site, product, resource string }

func scopeOf(sold terms.Terms) scope { return scope{sold.Site, sold.Pass, sold.Resource} }

// storeTerms stores what was sold, as metadata in JSON, and returns its key. The price and what is extended are stored
// with the payment, so that most payments share a row.
func storeTerms(t *tx, sold terms.Terms) (hash string) {
	sold.Price, sold.Extends, sold.From = money.Price{}, "", time.Time{}
	metadata := sold.Metadata()
	for name, value := range metadata {
		metadata[name] = storable(value)
	}
	body, err := json.Marshal(metadata)
	t.fail(err)
	hash = hashOf(string(body))
	t.exec(`INSERT INTO terms (hash, body) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING`, hash, string(body))
	return hash
}

// parseTerms reads what storeTerms has stored; NULL is no terms.
func parseTerms(body string) (terms.Terms, error) {
	if body == "" {
		return terms.Terms{}, nil
	}
	metadata, err := parseMetadata(body)
	if err != nil {
		return terms.Terms{}, err
	}
	return terms.Unpriced(metadata)
}

func fractionDigits(currency string) int32 {
	_, fraction, _ := strings.Cut(money.Price{Currency: currency}.Digits(), ".")
	return int32(len(fraction)) //nolint:gosec // a few
}

// minorUnits is a price in its currency's minor unit: NULL where it has no currency or is no integer.
func minorUnits(p money.Price) sql.NullInt64 {
	minor := decimal.Decimal(p.Amount).Shift(fractionDigits(p.Currency))
	return sql.NullInt64{Int64: minor.IntPart(), Valid: p.Currency != "" && minor.IsInteger() && minor.BigInt().IsInt64()}
}

// parsePrice reads minor units and their currency; NULL is no price.
func parsePrice(text string) (money.Price, error) {
	minor, currency, _ := strings.Cut(text, " ")
	if currency == "" {
		return money.Price{}, nil
	}
	n, err := strconv.ParseInt(minor, 10, 64)
	return priceOf(n, currency), err
}

func priceOf(minor int64, currency string) money.Price {
	return money.Price{Amount: money.Amount(decimal.New(minor, -fractionDigits(currency))), Currency: currency}
}

// hashOf returns 128 bits of a SHA-256 in hexadecimal.
func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}

// PurchaseID is the id of the purchase whose first payment has this checkout session.
func PurchaseID(sessionID string) string { return hashOf(sessionID) }

// Reference is the beginning of a purchase's id, by which people name it.
func Reference(purchaseID string) string { return purchaseID[:min(10, len(purchaseID))] }
