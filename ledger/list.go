package ledger

import (
	"context"
	"database/sql"
	"iter"
	"math"
	"strings"
	"time"
)

const (
	// listPage bounds the payments that one read transaction of List looks at.
	listPage = 1000
	// findLimit bounds the purchases that Find returns.
	findLimit = 100
)

// List yields the purchases that match, newest payment first. It reads in pages, so a purchase that is extended
// meanwhile may be left out. It stops at the first error.
func (l *Ledger) List(ctx context.Context, f Filter) iter.Seq2[Listed, error] {
	return func(yield func(Listed, error) bool) {
		left := f.Limit
		at := cursor{paidAt: math.MaxInt64}
		if !f.To.IsZero() {
			at.paidAt = f.To.Unix()
		}
		for isLast := false; !isLast; {
			var end cursor
			page, err := read(ctx, l, func(t *tx) (page []Listed, _ error) {
				page, end, isLast = readPage(t, f, at, l.options.Now())
				return page, nil
			})
			if err != nil {
				yield(Listed{}, err)
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
			at = end
		}
	}
}

// cursor is a position among the payments, ordered by time; the session id breaks ties.
type cursor struct {
	paidAt    int64
	sessionID string
}

// listQuery lists payments from the newest on, each with its purchase if that matches and has no later payment.
// {payments} are those to look at.
const listQuery = `
	SELECT ` + purchaseColumns + `,
		last.session_id, last.source, last.outcome, last.paid_minor, last.paid_currency, last.paid_raw, last.paid_at, last.note,
		(SELECT string_agg(payment_id, ' ') FROM payment_ids WHERE p.id IS NOT NULL AND session_id = last.session_id),
		(SELECT COUNT(*) FROM payments WHERE purchase_id = p.id),
		NOT EXISTS (SELECT 1 FROM payments WHERE purchase_id = p.id AND source = 'axra')
	FROM ({payments}) last LEFT JOIN purchases p ON p.id = last.purchase_id
		AND NOT EXISTS (
			SELECT 1 FROM payments later
			WHERE later.purchase_id = last.purchase_id AND (later.paid_at, later.session_id) > (last.paid_at, last.session_id))
		AND ($5 = '' OR p.site = $5) AND ($6 = '' OR p.product = $6)
		AND ($7 = '' OR $7 = CASE WHEN p.status = 'active' AND p.ends_at <= CAST($8 AS BIGINT) THEN 'expired' ELSE p.status END
			OR $7 = 'mismatched' AND EXISTS (SELECT 1 FROM payments WHERE purchase_id = p.id AND outcome = 'mismatch'))
	WHERE last.paid_at >= $9 AND last.paid_at < $10
	ORDER BY last.paid_at DESC, last.session_id DESC`

var (
	pageQuery = strings.Replace(listQuery, "{payments}", `
		SELECT * FROM payments
		WHERE (paid_at, session_id) < ($1, $2) AND paid_at >= $4
		ORDER BY paid_at DESC, session_id DESC
		LIMIT $3`, 1)
	foundQuery = strings.Replace(listQuery, "{payments}", `SELECT * FROM payments WHERE purchase_id IN (`+findQuery+`)`, 1)
)

func readPage(t *tx, f Filter, at cursor, now time.Time) (page []Listed, end cursor, isLast bool) {
	within := spanOf(f.From, f.To)
	size := listPage
	if f.Limit > 0 {
		size = min(size, f.Limit)
	}
	query, with := pageQuery, args{at.paidAt, at.sessionID, size, within.from}
	if f.Query != "" {
		query, with, size = foundQuery, findArgs(f.Query), math.MaxInt // one page holds them all
	}
	with = append(with, f.Site, f.Product, string(f.Status), now.Unix(), within.from, within.to)
	rows := 0
	var purchase Purchase
	var last Payment
	var outcome, currency, ids string
	var minor sql.NullInt64
	var count int
	var isGiven bool
	t.each(query, with, append(purchase.columns(), &last.SessionID, &last.Source, &outcome, &minor, &currency, &last.PaidRaw,
		unix(&last.PaidAt), &last.Note, null(&ids), &count, &isGiven), func() {
		rows++
		end = cursor{last.PaidAt.Unix(), last.SessionID}
		if purchase.ID == "" {
			return
		}
		last.Paid, last.Mismatch, last.PaymentIDs = priceOf(minor, currency), outcome == mismatch, strings.Fields(ids)
		page = append(page, Listed{Purchase: purchase, LastPayment: last, Payments: count, Given: isGiven})
	})
	return page, end, rows < size
}

// Find returns the ids of the purchases that match a text: the beginning of a purchase id, in any case, or a session id,
// or a payment id. It returns at most 100 of them, and none without an error where nothing is found.
func (l *Ledger) Find(ctx context.Context, text string) ([]string, error) {
	return read(ctx, l, func(t *tx) ([]string, error) { return t.texts(findQuery, findArgs(text)...), nil })
}

const findQuery = `
	SELECT id FROM purchases WHERE id >= $1 AND id < $2
	UNION
	SELECT purchase_id FROM payments WHERE session_id = $3
	UNION
	SELECT p.purchase_id
	FROM payment_ids i CROSS JOIN payments p
	WHERE i.payment_id = $3 AND p.session_id = i.session_id
	ORDER BY 1
	LIMIT $4`

func findArgs(text string) args {
	text = strings.TrimSpace(text)
	prefix, above := "", "" // an empty range
	if text != "" && strings.Trim(text, "0123456789abcdefABCDEF") == "" {
		prefix = strings.ToLower(text)
		above = prefix + "g" // after every hex digit
	}
	return args{prefix, above, text, findLimit}
}

// shortReference is the usual length of a reference that people see.
const shortReference = 10

// Reference returns the beginning of a purchase id that people see: ten digits, or more where another purchase begins
// with the same ones.
func (l *Ledger) Reference(ctx context.Context, purchaseID string) (string, error) {
	return read(ctx, l, func(t *tx) (string, error) {
		var before, after string
		t.get(`
			SELECT COALESCE((SELECT MAX(id) FROM purchases WHERE id < $1), ''),
				COALESCE((SELECT MIN(id) FROM purchases WHERE id > $1), '')`, args{purchaseID}, &before, &after)
		n := min(shortReference, len(purchaseID))
		for n < len(purchaseID) && (strings.HasPrefix(before, purchaseID[:n]) || strings.HasPrefix(after, purchaseID[:n])) {
			n++
		}
		return purchaseID[:n], nil
	})
}
