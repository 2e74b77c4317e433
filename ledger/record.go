package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-axra/paywall/terms"
)

// maxEventDelay is the age up to which an event's own time counts as the time of the payment. A later
// webhook must not cost the buyer bought time.
const maxEventDelay = 5 * time.Minute

// RecordPayment stores a completed payment and recomputes the purchase that it belongs to. PaidAt is the
// time of the event; if it lies in the future or is more than five minutes old, the current time counts.
// A delivery that comes again changes nothing, and adds what an earlier one left out.
func (l *Ledger) RecordPayment(ctx context.Context, p Payment) (Recorded, error) {
	if p.Source == "" {
		p.Source = FromAxra
	}
	now := l.options.Now()
	if age := now.Sub(p.PaidAt); age < 0 || age > maxEventDelay {
		p.PaidAt = now
	}
	return l.storePayment(ctx, p)
}

// Give stores access that an operator or a coupon gives. Without a session id it gets a random one, and
// without a time the current one. A session id that was given already changes nothing.
func (l *Ledger) Give(ctx context.Context, p Payment) (Purchase, error) {
	if p.Source == "" {
		p.Source = FromOperator
	}
	if p.SessionID == "" {
		id, err := l.randomHex(16)
		if err != nil {
			return Purchase{}, unavailable(err)
		}
		p.SessionID = "given_" + id
	}
	if p.PaidAt.IsZero() {
		p.PaidAt = l.options.Now()
	}
	recorded, err := l.storePayment(ctx, p)
	return recorded.Purchase, err
}

func (l *Ledger) storePayment(ctx context.Context, p Payment) (Recorded, error) {
	if p.SessionID == "" {
		return Recorded{}, errors.New("a payment needs a session id")
	}
	p.PaidAt = p.PaidAt.UTC().Truncate(time.Second)
	p.PaymentIDs = distinct(p.PaymentIDs)
	var recorded Recorded
	err := l.write(ctx, func(ctx context.Context, tx *tx) (err error) {
		recorded, err = l.recordPayment(ctx, tx, p)
		return err
	})
	if err != nil {
		return Recorded{}, err
	}
	return recorded, nil
}

func (l *Ledger) recordPayment(ctx context.Context, tx *tx, p Payment) (Recorded, error) {
	isNew, err := insertPayment(ctx, tx, p)
	if err != nil {
		return Recorded{}, err
	}
	tx.paid = true
	var before charges // a payment that is new has none
	if !isNew {
		if before, err = readCharges(ctx, tx, p.SessionID); err != nil {
			return Recorded{}, err
		}
	}
	if err := insertPaymentIDs(ctx, tx, p.SessionID, p.PaymentIDs, outcomeOf(p), p.PaidAt.Unix()); err != nil {
		return Recorded{}, err
	}
	if err := linkEvents(ctx, tx, p.SessionID, l.now()); err != nil {
		return Recorded{}, err
	}
	affected, err := l.placePayment(ctx, tx, p)
	if err != nil {
		return Recorded{}, err
	}
	var purchaseID string
	err = tx.QueryRowContext(ctx, `SELECT purchase_id FROM payments WHERE session_id = $1`, p.SessionID).Scan(&purchaseID)
	if err != nil {
		return Recorded{}, err
	}
	recorded, err := l.recomputeFor(ctx, tx, purchaseID, affected)
	if err != nil {
		return Recorded{}, err
	}
	recorded.New = isNew
	if !isNew {
		charges, err := readCharges(ctx, tx, p.SessionID)
		if err != nil {
			return Recorded{}, err
		}
		recorded.New = len(before.accepted()) > 0 && len(charges.accepted()) > len(before.accepted())
		recorded.DoubleCharge = recorded.New || charges.isDouble(p.PaymentIDs)
		if err := noteChargedAgain(ctx, tx, p.SessionID, charges); err != nil {
			return Recorded{}, err
		}
	}
	return recorded, nil
}

// noteChargedAgain lets a report find the few payments with double charges.
func noteChargedAgain(ctx context.Context, tx *tx, sessionID string, all charges) error {
	completed := all.accepted()
	if len(completed) < 2 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE payments SET charged_again_at = $1
		WHERE session_id = $2 AND charged_again_at IS NULL`, completed[1].at, sessionID)
	return err
}

func outcomeOf(p Payment) string {
	if p.Mismatch {
		return mismatch
	}
	return accepted
}

// insertPayment stores a payment. A payment in the right amount replaces a mismatched one of the session.
func insertPayment(ctx context.Context, tx *tx, p Payment) (isNew bool, err error) {
	hash, body, err := encodeTerms(p.Terms)
	if err != nil {
		return false, err
	}
	metadata, err := json.Marshal(p.Metadata)
	if err != nil {
		return false, err
	}
	if len(p.Metadata) == 0 {
		metadata = []byte("{}")
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO terms (hash, body) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING`, hash, body)
	if err != nil {
		return false, err
	}
	asked, paid := minorUnits(p.Terms.Price), minorUnits(p.Paid)
	if p.Source != FromAxra {
		paid = sql.NullInt64{Valid: true}
	}
	purchaseID := PurchaseID(p.SessionID)
	if p.Terms.Extends != "" {
		purchaseID = p.Terms.Extends // placePayment decides
	}
	changed, err := tx.affects(ctx, `
		INSERT INTO payments (session_id, purchase_id, source, outcome, asked_minor, asked_currency, paid_minor,
			paid_currency, paid_raw, access_seconds, extends, paid_at, terms_hash, metadata, note)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
		ON CONFLICT (session_id) DO UPDATE
		SET outcome = excluded.outcome, paid_minor = excluded.paid_minor, paid_currency = excluded.paid_currency,
			paid_raw = excluded.paid_raw, paid_at = excluded.paid_at
		WHERE payments.outcome = 'mismatch' AND excluded.outcome = 'accepted'`,
		p.SessionID, purchaseID, string(p.Source), outcomeOf(p), asked.Int64, p.Terms.Price.Currency, paid,
		p.Paid.Currency, p.PaidRaw, accessSeconds(p.Terms.Access), p.Terms.Extends, p.PaidAt.Unix(), hash,
		string(metadata), p.Note)
	return changed > 0, err
}

// placePayment decides which purchase a payment counts for, and with it the extensions that named the
// purchase before. It returns the purchases to recompute beside that of the payment.
func (l *Ledger) placePayment(ctx context.Context, tx *tx, p Payment) (affected []string, err error) {
	targets := []string{PurchaseID(p.SessionID)}
	if p.Terms.Extends != "" {
		targets = append(targets, p.Terms.Extends)
	}
	for len(targets) > 0 && len(affected) < maxMoves {
		moved, err := l.placeExtensions(ctx, tx, targets[0])
		if err != nil {
			return nil, err
		}
		targets = targets[1:]
		for _, move := range moved {
			affected = append(affected, move.from, move.to)
			targets = append(targets, PurchaseID(move.session))
		}
	}
	return affected, nil
}

// maxMoves bounds what one payment may move, should terms ever extend each other in a circle.
const maxMoves = 1000

type move struct{ session, from, to string }

const extensionsQuery = `
	SELECT session_id, purchase_id, terms_hash FROM payments
	WHERE extends = $1 AND extends <> '' ORDER BY paid_at, session_id`

// placeExtensions decides which of the payments that want to extend a purchase do. The purchase sells what
// its first payment sold; as long as that is unknown, what the earliest extension sold. Extensions of
// something else stand alone, under the ids of their own sessions. So only the rows decide, not their order.
func (l *Ledger) placeExtensions(ctx context.Context, tx *tx, purchaseID string) ([]move, error) {
	type extension struct{ session, purchaseID, hash string }
	var extensions []extension
	err := scanAll(ctx, tx, func(rows *sql.Rows) error {
		var e extension
		err := rows.Scan(&e.session, &e.purchaseID, &e.hash)
		extensions = append(extensions, e)
		return err
	}, extensionsQuery, purchaseID)
	if err != nil || len(extensions) == 0 {
		return nil, err
	}
	owner, err := l.scopeOf(ctx, tx, purchaseID, extensions[0].hash)
	if err != nil {
		return nil, err
	}
	var moves []move
	for _, e := range extensions {
		sold, err := l.sold.get(ctx, tx, e.hash)
		if err != nil {
			return nil, err
		}
		want := purchaseID
		if sold.scope() != owner {
			want = PurchaseID(e.session)
		}
		if want == e.purchaseID {
			continue
		}
		if _, err := tx.ExecContext(ctx, `UPDATE payments SET purchase_id = $1 WHERE session_id = $2`, want, e.session); err != nil {
			return nil, err
		}
		moves = append(moves, move{e.session, e.purchaseID, want})
	}
	return moves, nil
}

// scopeOf is what the first payment of a purchase sold, or else what the terms with the hash say.
func (l *Ledger) scopeOf(ctx context.Context, tx *tx, purchaseID, hash string) (scope, error) {
	err := scanAll(ctx, tx, func(rows *sql.Rows) error {
		var session, itsHash string
		err := rows.Scan(&session, &itsHash)
		if PurchaseID(session) == purchaseID {
			hash = itsHash
		}
		return err
	}, `SELECT session_id, terms_hash FROM payments WHERE purchase_id = $1`, purchaseID)
	if err != nil {
		return scope{}, err
	}
	sold, err := l.sold.get(ctx, tx, hash)
	return sold.scope(), err
}

// recomputeFor recomputes a purchase and others. It reports about the former.
func (l *Ledger) recomputeFor(ctx context.Context, tx *tx, purchaseID string, others []string) (Recorded, error) {
	var recorded Recorded
	for _, id := range distinct(append(others, purchaseID)) {
		before, after, err := l.recompute(ctx, tx, id)
		if err != nil {
			return Recorded{}, fmt.Errorf("purchase %s: %w", id, err)
		}
		if id == purchaseID {
			recorded.Purchase, recorded.Before = after, before
		}
	}
	return recorded, nil
}

// payment reads a payment and the id of its purchase.
func (l *Ledger) payment(ctx context.Context, tx *tx, sessionID string) (p Payment, purchaseID string, err error) {
	var askedMinor, paidMinor, paidAt sql.NullInt64
	var askedCurrency, paidCurrency, source, outcome, extends, body, metadata string
	err = tx.QueryRowContext(ctx, `
		SELECT p.purchase_id, p.source, p.outcome, p.asked_minor, p.asked_currency, p.paid_minor, p.paid_currency,
			p.paid_raw, p.extends, p.paid_at, p.metadata, p.note, t.body
		FROM payments p JOIN terms t ON t.hash = p.terms_hash
		WHERE p.session_id = $1`, sessionID).Scan(&purchaseID, &source, &outcome, &askedMinor, &askedCurrency,
		&paidMinor, &paidCurrency, &p.PaidRaw, &extends, &paidAt, &metadata, &p.Note, &body)
	if err != nil {
		return Payment{}, "", fmt.Errorf("payment %s: %w", sessionID, err)
	}
	var sold terms.Terms
	if sold, err = decodeTerms(body); err == nil {
		err = json.Unmarshal([]byte(metadata), &p.Metadata)
	}
	if err != nil {
		return Payment{}, "", fmt.Errorf("payment %s: %w", sessionID, err)
	}
	sold.Price, sold.Extends = priceOf(askedMinor, askedCurrency), extends
	p.SessionID, p.Source, p.Mismatch, p.Terms = sessionID, Source(source), outcome == mismatch, sold
	p.Paid, p.PaidAt = priceOf(paidMinor, paidCurrency), timeOf(paidAt)
	p.PaymentIDs, err = tx.texts(ctx, `SELECT DISTINCT payment_id FROM payment_ids WHERE session_id = $1 ORDER BY payment_id`, sessionID)
	return p, purchaseID, err
}

// distinct returns what is not empty, sorted and once.
func distinct(texts []string) []string {
	sorted := slices.DeleteFunc(slices.Clone(texts), func(text string) bool { return text == "" })
	slices.Sort(sorted)
	return slices.Compact(sorted)
}
