package ledger

import (
	"cmp"
	"context"
	"iter"
	"math"
	"strings"
	"time"
)

// listPage bounds the payments that one read transaction of List looks at.
const listPage = 1000

// List yields the purchases that match, newest payment first. It reads in pages, so a purchase that is extended
// meanwhile may be left out. With a query it looks at 100 purchases at most. It stops at the first error.
func (l *Ledger) List(ctx context.Context, f Filter) iter.Seq2[Listed, error] {
	return func(yield func(Listed, error) bool) {
		end, session := secondsOr(f.To, math.MaxInt64), "" // the payment where the last page ended
		filter := args{f.Site, f.Product, string(f.Status), l.now(), secondsOr(f.From, math.MinInt64), end}
		left, size, text := f.Limit, cmp.Or(min(f.Limit, listPage), listPage), strings.TrimSpace(f.Query)
		for rows := size; rows == size; {
			query, with := pageQuery, append(filter, end, session, size)
			if text != "" {
				query, with, size = foundQuery, append(filter, strings.ToLower(text), text), -1 // one page holds them all
			}
			page, err := read(ctx, l, func(t *tx) (page []Listed, _ error) {
				rows = 0
				var row Listed
				t.each(query, with, append(append(row.columns(), row.LastPayment.columns()...), &row.Payments), func() {
					rows++
					end, session = row.LastPayment.PaidAt.Unix(), row.LastPayment.SessionID
					if row.ID != "" {
						page = append(page, row)
					}
				})
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
// session id or a payment id. Each comes with its purchase if that matches and has no later payment.
const (
	pageQuery = listColumns + `(
		SELECT * FROM payments WHERE (paid_at, session_id) < ($7, $8) AND paid_at >= $5
		ORDER BY paid_at DESC, session_id DESC LIMIT $9)` + listConditions
	foundQuery = listColumns + `(
		SELECT * FROM payments WHERE purchase_id IN (
			SELECT id FROM purchases WHERE id >= $7 AND id < $7 || 'g'
			UNION
			SELECT purchase_id FROM payments WHERE session_id = $8
			UNION
			SELECT p.purchase_id FROM payment_ids i CROSS JOIN payments p WHERE i.payment_id = $8 AND p.session_id = i.session_id
			LIMIT 100))` + listConditions
	listColumns    = `SELECT ` + purchaseColumns + `, ` + paymentColumns + `, (SELECT COUNT(*) FROM payments WHERE purchase_id = p.id) FROM `
	listConditions = ` m CROSS JOIN terms t LEFT JOIN purchases p ON p.id = m.purchase_id
		AND NOT EXISTS (
			SELECT 1 FROM payments later
			WHERE later.purchase_id = m.purchase_id AND (later.paid_at, later.session_id) > (m.paid_at, m.session_id))
		AND ($1 = '' OR p.site = $1) AND ($2 = '' OR p.product = $2)
		AND ($3 = '' OR $3 = CASE WHEN p.status = 'active' AND p.ends_at <= CAST($4 AS BIGINT) THEN 'expired' ELSE p.status END
			OR $3 = 'mismatched' AND EXISTS (SELECT 1 FROM payments WHERE purchase_id = p.id AND outcome = 'mismatch'))
	WHERE t.hash = m.terms_hash AND m.paid_at >= $5 AND m.paid_at < $6
	ORDER BY m.paid_at DESC, m.session_id DESC`
)
