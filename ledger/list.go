package ledger

import (
	"cmp"
	"context"
	"math"
	"strings"
	"time"
)

// List returns the purchases that match, newest payment first. With a query it looks at 100 purchases at most.
func (l *Ledger) List(ctx context.Context, f Filter) ([]Listed, error) {
	return readWithin(ctx, l, reportTimeout, func(t *tx) (all []Listed, _ error) {
		query := listQuery
		with := args{
			f.Site, f.Product, string(f.Status), l.now(), secondsOr(f.From, math.MinInt64), secondsOr(f.To, math.MaxInt64),
			cmp.Or(f.Limit, math.MaxInt32),
		}
		if text := strings.TrimSpace(f.Query); text != "" {
			query, with = searchQuery, append(with, strings.ToLower(text), text)
		}
		var row Listed
		t.each(query, with, append(append(row.columns(), row.LastPayment.columns()...), &row.Payments),
			func() { all = append(all, row) })
		return all, nil
	})
}

// secondsOr is a time in seconds, or another value for the zero time.
func secondsOr(t time.Time, otherwise int64) int64 {
	if t.IsZero() {
		return otherwise
	}
	return t.Unix()
}

// Of each purchase that matches, the last payment is listed. A search looks only at the purchases that a text names: by
// the beginning of its id, a session id or a payment id.
const (
	listQuery   = listColumns + `payments` + listConditions
	searchQuery = listColumns + `(
		SELECT * FROM payments WHERE purchase_id IN (
			SELECT id FROM purchases WHERE id >= $8 AND id < $8 || 'g'
			UNION
			SELECT purchase_id FROM payments WHERE session_id = $9
			UNION
			SELECT p.purchase_id FROM payment_ids i CROSS JOIN payments p WHERE i.payment_id = $9 AND p.session_id = i.session_id
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
	ORDER BY m.paid_at DESC, m.session_id DESC LIMIT $7`
)
