package ledger

import (
	"context"
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
		_, to := bounds(f.From, f.To)
		end := cursor{paidAt: to}
		for isLast := false; !isLast; {
			page, err := read(ctx, l, func(t *tx) (page []Listed, _ error) {
				page, end, isLast = readPage(t, f, end, l.now())
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

// bounds are times in seconds, of which the second is not included; a zero time is no bound.
func bounds(from, to time.Time) (first, last int64) {
	first, last = math.MinInt64, math.MaxInt64
	if !from.IsZero() {
		first = from.Unix()
	}
	if !to.IsZero() {
		last = to.Unix()
	}
	return first, last
}

// cursor is a position among the payments, ordered by time; the session id breaks ties.
type cursor struct {
	paidAt    int64
	sessionID string
}

// listQuery lists payments from the newest on, each with its purchase if that matches and has no later payment.
// {payments} are those to look at.
const listQuery = `
	SELECT ` + purchaseColumns + `, ` + paymentColumns + `,
		(SELECT COUNT(*) FROM payments WHERE purchase_id = p.id)
	FROM ({payments}) m CROSS JOIN terms t LEFT JOIN purchases p ON p.id = m.purchase_id
		AND NOT EXISTS (
			SELECT 1 FROM payments later
			WHERE later.purchase_id = m.purchase_id AND (later.paid_at, later.session_id) > (m.paid_at, m.session_id))
		AND ($5 = '' OR p.site = $5) AND ($6 = '' OR p.product = $6)
		AND ($7 = '' OR $7 = CASE WHEN p.status = 'active' AND p.ends_at <= CAST($8 AS BIGINT) THEN 'expired' ELSE p.status END
			OR $7 = 'mismatched' AND EXISTS (SELECT 1 FROM payments WHERE purchase_id = p.id AND outcome = 'mismatch'))
	WHERE t.hash = m.terms_hash AND m.paid_at >= $9 AND m.paid_at < $10
	ORDER BY m.paid_at DESC, m.session_id DESC`

var (
	pageQuery = strings.Replace(listQuery, "{payments}", `
		SELECT * FROM payments
		WHERE (paid_at, session_id) < ($1, $2) AND paid_at >= $4
		ORDER BY paid_at DESC, session_id DESC
		LIMIT $3`, 1)
	foundQuery = strings.Replace(listQuery, "{payments}", `SELECT * FROM payments WHERE purchase_id IN (`+findQuery+`)`, 1)
)

func readPage(t *tx, f Filter, after cursor, now int64) (page []Listed, end cursor, isLast bool) {
	from, to := bounds(f.From, f.To)
	size := listPage
	if f.Limit > 0 {
		size = min(size, f.Limit)
	}
	query, with := pageQuery, args{after.paidAt, after.sessionID, size, from}
	if f.Query != "" {
		query, with, size = foundQuery, findArgs(f.Query), math.MaxInt // one page holds them all
	}
	rows := 0
	var listed Listed
	var last paymentRow
	columns := append(append(listed.columns(), last.columns()...), &listed.Payments)
	t.each(query, append(with, f.Site, f.Product, string(f.Status), now, from, to), columns, func() {
		rows++
		end = cursor{last.p.PaidAt.Unix(), last.p.SessionID}
		if listed.ID != "" {
			listed.LastPayment = last.payment(t)
			page = append(page, listed)
		}
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

// Reference is the beginning of a purchase's id, by which people name it.
func Reference(purchaseID string) string { return purchaseID[:min(10, len(purchaseID))] }
