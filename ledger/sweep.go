package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"
)

// sqlBatch bounds the rows of one transaction or statement of the operators' work, so that no payment
// waits longer than a second for it.
const sqlBatch = 500

// Swept is how many rows a sweep has deleted.
type Swept struct {
	Purchases int `json:"purchases"` // with all that belongs to them
	Events    int `json:"events"`    // that matched no payment
	Changes   int `json:"-"`         // of the change feed
}

// Sweep deletes the purchases whose access ended before a time, or that were closed before it and have not
// changed since, and events received before it that match no payment. Active purchases without expiry stay.
// It works in batches, each a transaction, and may be interrupted or run on several nodes at once.
func (l *Ledger) Sweep(ctx context.Context, before time.Time) (swept Swept, err error) {
	for _, part := range []struct {
		count *int
		batch func(ctx context.Context, tx *tx, before int64) (int, error)
	}{
		{&swept.Purchases, sweepEnded},
		{&swept.Purchases, l.sweepClosed},
		{&swept.Changes, sweepOldChanges},
	} {
		for n := sqlBatch; n == sqlBatch && err == nil; {
			n, err = l.sweepBatch(ctx, func(ctx context.Context, tx *tx) (int, error) {
				return part.batch(ctx, tx, before.Unix())
			})
			*part.count += n
		}
	}
	if err == nil {
		swept.Events, err = l.sweepEvents(ctx, before)
	}
	if err != nil {
		return swept, fmt.Errorf("sweeping: %w", err)
	}
	return swept, nil
}

// sweepBatch runs a batch in a transaction. It returns how many rows are gone for certain.
func (l *Ledger) sweepBatch(ctx context.Context, batch func(context.Context, *tx) (int, error)) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	var n int // not read after an error: the write may still be under way
	err := l.write(ctx, func(ctx context.Context, tx *tx) (err error) {
		n, err = batch(ctx, tx)
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// endedPurchases and closedPurchases are each answered by an index of their own.
const (
	endedPurchases = `
		SELECT id FROM purchases
		WHERE status = 'active' AND ends_at < $1
		ORDER BY ends_at
		LIMIT $2`
	closedPurchases = `
		SELECT id FROM purchases
		WHERE status <> 'active' AND status <> 'disputed' AND updated_at < $1
		ORDER BY updated_at
		LIMIT $2`
)

func sweepEnded(ctx context.Context, tx *tx, before int64) (int, error) {
	return sweepPurchases(ctx, tx, endedPurchases, before)
}

// tokenLife is how long an access token may live: a closed purchase is kept for so long, or a token of it would
// find nothing that says so.
const tokenLife = 400 * 24 * time.Hour

func (l *Ledger) sweepClosed(ctx context.Context, tx *tx, before int64) (int, error) {
	return sweepPurchases(ctx, tx, closedPurchases, min(before, l.options.Now().Add(-tokenLife).Unix()))
}

func sweepPurchases(ctx context.Context, tx *tx, query string, before int64) (int, error) {
	ids, err := tx.texts(ctx, query, before, sqlBatch)
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	if err := deletePurchases(ctx, tx, ids); err != nil {
		return 0, err
	}
	return len(ids), nil
}

// Statements that delete what belongs to purchases, in this order; {purchases} is a list of their ids.
const (
	sweptSessions = `(SELECT session_id FROM payments WHERE purchase_id IN ({purchases}))`
	sweptEvents   = `
		SELECT id FROM events WHERE session_id IN ` + sweptSessions + `
		UNION
		SELECT x.event_id FROM payment_ids i CROSS JOIN event_ids x
		WHERE i.session_id IN ` + sweptSessions + ` AND x.external_id = i.payment_id`
	sweptTerms = `
		SELECT DISTINCT terms_hash FROM payments WHERE purchase_id IN ({purchases})`
	deletePaymentIDs  = `DELETE FROM payment_ids WHERE session_id IN ` + sweptSessions
	deletePayments    = `DELETE FROM payments WHERE purchase_id IN ({purchases})`
	deleteDecisions   = `DELETE FROM decisions WHERE purchase_id IN ({purchases})`
	deleteDevices     = `DELETE FROM devices WHERE purchase_id IN ({purchases})`
	deleteClaims      = `DELETE FROM claims WHERE purchase_id IN ({purchases})`
	deletePurchaseRow = `DELETE FROM purchases WHERE id IN ({purchases})`
)

// deleteTerms deletes those that no payment needs any more.
const deleteTerms = `
	DELETE FROM terms
	WHERE hash IN ({values}) AND NOT EXISTS (SELECT 1 FROM payments WHERE terms_hash = terms.hash)`

func deletePurchases(ctx context.Context, tx *tx, ids []string) error {
	list, args := inList(ids, sqlBatch)
	in := func(query string) string { return strings.ReplaceAll(query, "{purchases}", list) }
	events, err := tx.texts(ctx, in(sweptEvents), args...)
	if err != nil {
		return err
	}
	sold, err := tx.texts(ctx, in(sweptTerms), args...)
	if err != nil {
		return err
	}
	for _, query := range []string{deletePaymentIDs, deletePayments, deleteDecisions, deleteDevices, deleteClaims, deletePurchaseRow} {
		if _, err := tx.ExecContext(ctx, in(query), args...); err != nil {
			return err
		}
	}
	if err := deleteEvents(ctx, tx, events); err != nil {
		return err
	}
	return deleteIn(ctx, tx, deleteTerms, sold)
}

// isUnmatched holds for an event e that names no session and no payment id that is known.
const isUnmatched = `
	NOT EXISTS (SELECT 1 FROM payments WHERE session_id = e.session_id)
		AND NOT EXISTS (
			SELECT 1 FROM event_ids x CROSS JOIN payment_ids i
			WHERE x.event_id = e.id AND i.payment_id = x.external_id)`

// sweepEvents looks for unmatched events in pages, by reading: most events have a payment. What it found is
// checked again when it is deleted.
func (l *Ledger) sweepEvents(ctx context.Context, before time.Time) (deleted int, err error) {
	for after, more := "", true; more; {
		var unmatched []string
		var last string
		err := l.read(ctx, func(ctx context.Context, tx *tx) (err error) {
			unmatched, last, more, err = unmatchedPage(ctx, tx, after, before.Unix())
			return err
		})
		if err != nil {
			return deleted, err
		}
		after = last
		for ids := range slices.Chunk(unmatched, sqlBatch) {
			n, err := l.sweepBatch(ctx, func(ctx context.Context, tx *tx) (int, error) {
				list, args := inList(ids, sqlBatch)
				still, err := tx.texts(ctx, `SELECT id FROM events e WHERE id IN (`+list+`) AND `+isUnmatched, args...)
				if err != nil {
					return 0, err
				}
				return len(still), deleteEvents(ctx, tx, still)
			})
			deleted += n
			if err != nil {
				return deleted, err
			}
		}
	}
	return deleted, nil
}

const unmatchedQuery = `
	SELECT id, received_at < $2 AND ` + isUnmatched + `
	FROM events e
	WHERE id > $1
	ORDER BY id
	LIMIT $3`

// unmatchedPage returns the unmatched ones of the next events after an id.
func unmatchedPage(ctx context.Context, tx *tx, after string, before int64) (ids []string, last string, more bool, err error) {
	rows := 0
	err = scanAll(ctx, tx, func(row *sql.Rows) error {
		var unmatched bool
		err := row.Scan(&last, &unmatched)
		if unmatched {
			ids = append(ids, last)
		}
		rows++
		return err
	}, unmatchedQuery, after, before, listPage)
	return ids, last, rows == listPage, err
}

func deleteEvents(ctx context.Context, tx *tx, ids []string) error {
	if err := deleteIn(ctx, tx, `DELETE FROM event_ids WHERE event_id IN ({values})`, ids); err != nil {
		return err
	}
	return deleteIn(ctx, tx, `DELETE FROM events WHERE id IN ({values})`, ids)
}

func sweepOldChanges(ctx context.Context, tx *tx, before int64) (int, error) {
	n, err := sweepChanges(ctx, tx, before, sqlBatch)
	return int(n), err
}
