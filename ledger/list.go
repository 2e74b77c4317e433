package ledger

import (
	"cmp"
	"context"
	"iter"
	"math"
	"slices"
	"strings"
	"time"
)

// listPage bounds the payments that one read transaction of List looks at.
const listPage = 1000

// List yields the purchases that match, newest payment first. It reads in pages, so a purchase that is extended
// meanwhile may be left out. With a query it looks at 100 purchases at most. It stops at the first error.
func (l *Ledger) List(ctx context.Context, f Filter) iter.Seq2[Listed, error] {
	return func(yield func(Listed, error) bool) {
		first, last := secondsOr(f.From, math.MinInt64), secondsOr(f.To, math.MaxInt64)
		filter := args{f.Site, f.Product, string(f.Status), l.now(), first, last}
		left, size, text := f.Limit, cmp.Or(min(f.Limit, listPage), listPage), strings.TrimSpace(f.Query)
		before, session := last, "" // where the page begins
		for isLast := false; !isLast; {
			page, err := read(ctx, l, func(t *tx) (page []Listed, _ error) {
				end, endSession := first, ""
				isLast = text != "" || !t.get(pageEnd, args{before, session, first, size - 1}, &end, &endSession)
				query, with := pageQuery, slices.Concat(filter, args{before, session, end, endSession})
				if text != "" {
					query, with = foundQuery, slices.Concat(filter, args{strings.ToLower(text), text})
				}
				var row Listed
				t.each(query, with, append(append(row.columns(), row.LastPayment.columns()...), &row.Payments),
					func() { page = append(page, row) })
				before, session = end, endSession
				return page, nil
			})
			if err != nil {
				yield(Listed{}, err)
				return
			}
			for _, listed := range page {
				if left--; !yield(listed, nil) || left == 0 {
					return
				}
			}
		}
	}
}

// secondsOr is a time in seconds, or another value for the zero time.
func secondsOr(t time.Time, otherwise int64) int64 {
	if t.IsZero() {
		return otherwise
	}
	return t.Unix()
}

// The payments to look at are a page of them, or those of the purchases that a text names: by the beginning of its id, a
// session id or a payment id. Of each purchase that matches, the last payment is listed.
const (
	pageEnd = `
		SELECT paid_at, session_id FROM payments WHERE (paid_at, session_id) < ($1, $2) AND paid_at >= $3
		ORDER BY paid_at DESC, session_id DESC LIMIT 1 OFFSET $4`
	pageQuery = listColumns + `(
		SELECT * FROM payments WHERE (paid_at, session_id) < ($7, $8) AND (paid_at, session_id) >= ($9, $10))` + listConditions
	foundQuery = listColumns + `(
		SELECT * FROM payments WHERE purchase_id IN (
			SELECT id FROM purchases WHERE id >= $7 AND id < $7 || 'g'
			UNION
			SELECT purchase_id FROM payments WHERE session_id = $8
			UNION
			SELECT p.purchase_id FROM payment_ids i CROSS JOIN payments p WHERE i.payment_id = $8 AND p.session_id = i.session_id
			LIMIT 100))` + listConditions
	listColumns    = `SELECT ` + purchaseColumns + `, ` + paymentColumns + `, (SELECT COUNT(*) FROM payments WHERE purchase_id = p.id) FROM `
	listConditions = ` m CROSS JOIN purchases p CROSS JOIN terms t
	WHERE p.id = m.purchase_id AND t.hash = m.terms_hash AND m.paid_at >= $5 AND m.paid_at < $6
		AND NOT EXISTS (
			SELECT 1 FROM payments later
			WHERE later.purchase_id = m.purchase_id AND (later.paid_at, later.session_id) > (m.paid_at, m.session_id))
		AND ($1 = '' OR p.site = $1) AND ($2 = '' OR p.product = $2)
		AND ($3 = '' OR $3 = CASE WHEN p.status = 'active' AND p.ends_at <= CAST($4 AS BIGINT) THEN 'expired' ELSE p.status END
			OR $3 = 'mismatched' AND EXISTS (SELECT 1 FROM payments WHERE purchase_id = p.id AND outcome = 'mismatch'))
	ORDER BY m.paid_at DESC, m.session_id DESC`
)
