package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"math"
	"strconv"
	"strings"
	"time"
)

const (
	// listPage bounds the payments that one read transaction of List looks at.
	listPage = 1000
	// findLimit bounds the purchases that Find returns.
	findLimit = 100
)

// paymentKey orders payments by time; the session id breaks ties.
type paymentKey struct {
	paidAt    int64
	sessionID string
}

// List yields the purchases that match, newest payment first. It reads in pages, so a purchase that is
// extended meanwhile may be left out. It stops at the first error.
func (l *Ledger) List(ctx context.Context, f Filter) iter.Seq2[Listed, error] {
	return func(yield func(Listed, error) bool) {
		list := l.listPages
		if f.Query != "" {
			list = l.listFound
		}
		left := f.Limit
		for page, err := range list(ctx, f) {
			if err != nil {
				yield(Listed{}, fmt.Errorf("listing purchases: %w", err))
				return
			}
			for _, listed := range page {
				if !yield(listed, nil) {
					return
				}
				if left--; left == 0 {
					return
				}
			}
		}
	}
}

// listPages walks the payments by time. Each page is a transaction of its own.
func (l *Ledger) listPages(ctx context.Context, f Filter) iter.Seq2[[]Listed, error] {
	return func(yield func([]Listed, error) bool) {
		upper := paymentKey{paidAt: math.MaxInt64}
		if !f.To.IsZero() {
			upper.paidAt = f.To.Unix()
		}
		size := listPage
		if f.Limit > 0 {
			size = min(size, f.Limit)
		}
		for more := true; more; size = listPage {
			var page []Listed
			var next paymentKey
			err := l.read(ctx, func(ctx context.Context, tx *tx) error {
				var lower paymentKey
				var err error
				if lower, more, err = pageEnd(ctx, tx, upper, size); err != nil {
					return err
				}
				if !f.From.IsZero() && lower.paidAt < f.From.Unix() {
					lower, more = paymentKey{paidAt: f.From.Unix()}, false
				}
				page, err = listBetween(ctx, tx, f, l.options.Now(), lower, upper)
				next = lower
				return err
			})
			upper = next
			if !yield(page, err) || err != nil {
				return
			}
		}
	}
}

// pageEnd is the key of the last of the next size payments below upper.
func pageEnd(ctx context.Context, tx *tx, upper paymentKey, size int) (end paymentKey, more bool, err error) {
	const query = `
		SELECT paid_at, session_id FROM payments
		WHERE (paid_at, session_id) < ($1, $2)
		ORDER BY paid_at DESC, session_id DESC
		LIMIT 1 OFFSET $3`
	err = tx.QueryRowContext(ctx, query, upper.paidAt, upper.sessionID, size-1).Scan(&end.paidAt, &end.sessionID)
	if errors.Is(err, sql.ErrNoRows) {
		return paymentKey{paidAt: math.MinInt64}, false, nil
	}
	return end, err == nil, err
}

// listColumns are a purchase p and its last payment.
const listColumns = purchaseColumns + `,
	last.session_id, last.source, last.outcome, last.paid_minor, last.paid_currency, last.paid_raw, last.paid_at, last.note,
	(SELECT string_agg(payment_id, ' ')
		FROM (SELECT DISTINCT payment_id FROM payment_ids WHERE session_id = last.session_id) ids),
	(SELECT COUNT(*) FROM payments WHERE purchase_id = p.id),
	NOT EXISTS (SELECT 1 FROM payments WHERE purchase_id = p.id AND source = 'axra')`

// isLast holds for the newest payment of a purchase.
const isLast = `
	NOT EXISTS (
		SELECT 1 FROM payments later
		WHERE later.purchase_id = last.purchase_id
			AND (later.paid_at, later.session_id) > (last.paid_at, last.session_id))`

// listBetween lists the purchases whose last payment lies in lower <= key < upper. CROSS JOIN keeps SQLite
// from starting with the purchases.
func listBetween(ctx context.Context, tx *tx, f Filter, now time.Time, lower, upper paymentKey) ([]Listed, error) {
	where, args := f.conditions(now, []any{upper.paidAt, upper.sessionID, lower.paidAt, lower.sessionID})
	return queryListed(ctx, tx, listQuery(where), args)
}

func listQuery(where string) string {
	return `
		SELECT ` + listColumns + `
		FROM payments last CROSS JOIN purchases p
		WHERE p.id = last.purchase_id
			AND (last.paid_at, last.session_id) < ($1, $2)
			AND (last.paid_at, last.session_id) >= ($3, $4)
			AND ` + isLast + where + `
		ORDER BY last.paid_at DESC, last.session_id DESC`
}

// listFound lists what Find finds.
func (l *Ledger) listFound(ctx context.Context, f Filter) iter.Seq2[[]Listed, error] {
	return func(yield func([]Listed, error) bool) {
		var page []Listed
		err := l.read(ctx, func(ctx context.Context, tx *tx) error {
			ids, err := find(ctx, tx, f.Query)
			if err != nil || len(ids) == 0 {
				return err
			}
			list, args := inList(ids, findLimit)
			where, args := f.conditions(l.options.Now(), args)
			if !f.From.IsZero() {
				args = append(args, f.From.Unix())
				where += fmt.Sprintf(" AND last.paid_at >= $%d", len(args))
			}
			if !f.To.IsZero() {
				args = append(args, f.To.Unix())
				where += fmt.Sprintf(" AND last.paid_at < $%d", len(args))
			}
			page, err = queryListed(ctx, tx, foundQuery(list, where), args)
			return err
		})
		yield(page, err)
	}
}

func foundQuery(ids, where string) string {
	return `
		SELECT ` + listColumns + `
		FROM purchases p CROSS JOIN payments last
		WHERE p.id IN (` + ids + `) AND last.purchase_id = p.id AND ` + isLast + where + `
		ORDER BY last.paid_at DESC, last.session_id DESC`
}

// conditions are those of the filter about the purchase, with their arguments added to args.
func (f Filter) conditions(now time.Time, args []any) (where string, _ []any) {
	add := func(condition string, arg any) {
		args = append(args, arg)
		where += " AND " + strings.ReplaceAll(condition, "?", "$"+strconv.Itoa(len(args)))
	}
	if f.Site != "" {
		add("p.site = ?", f.Site)
	}
	if f.Product != "" {
		add("p.product = ?", f.Product)
	}
	switch f.Status {
	case "":
	case Active:
		add("p.status = 'active' AND (p.ends_at IS NULL OR p.ends_at > ?)", now.Unix())
	case Expired:
		add("p.status = 'active' AND p.ends_at <= ?", now.Unix())
	case Mismatched: // also one that another payment opened
		add("(p.status = ? OR EXISTS (SELECT 1 FROM payments WHERE purchase_id = p.id AND outcome = 'mismatch'))", string(f.Status))
	default:
		add("p.status = ?", string(f.Status))
	}
	return where, args
}

func queryListed(ctx context.Context, tx *tx, query string, args []any) ([]Listed, error) {
	var found []Listed
	err := scanAll(ctx, tx, func(rows *sql.Rows) error {
		listed, err := scanListed(rows)
		found = append(found, listed)
		return err
	}, query, args...)
	return found, err
}

func scanListed(rows *sql.Rows) (Listed, error) {
	var purchase purchaseRow
	var listed Listed
	var outcome, currency string
	var minor, paidAt sql.NullInt64
	var ids sql.NullString
	last := &listed.LastPayment
	err := rows.Scan(append(purchase.targets(),
		&last.SessionID, &last.Source, &outcome, &minor, &currency, &last.PaidRaw, &paidAt, &last.Note,
		&ids, &listed.Payments, &listed.Given)...)
	listed.Purchase = purchase.purchase()
	last.Paid, last.PaidAt, last.Mismatch = priceOf(minor, currency), timeOf(paidAt), outcome == mismatch
	last.PaymentIDs = strings.Fields(ids.String)
	return listed, err
}
