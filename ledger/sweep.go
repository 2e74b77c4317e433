package ledger

import (
	"context"
	"slices"
	"time"
)

// sqlBatch bounds the rows of one transaction of a sweep, so that no payment waits longer than a second for it.
const sqlBatch = 500

// tokenLife is how long an access token may live: a closed purchase is kept for so long, or a token of it would find
// nothing that says so.
const tokenLife = 400 * 24 * time.Hour

// Swept is how many rows a sweep has deleted.
type Swept struct {
	Purchases int `json:"purchases"` // with all that belongs to them
	Events    int `json:"events"`    // that matched no payment
	Changes   int `json:"-"`         // of the change feed
}

// Sweep deletes the purchases whose access ended before a time, or that were closed before it and have not changed since,
// and events received before it that match no payment. Active purchases without expiry stay. It works in batches, each a
// transaction, and may be interrupted or run on several nodes at once.
func (l *Ledger) Sweep(ctx context.Context, before time.Time) (swept Swept, err error) {
	closedBefore := min(before.Unix(), l.options.Now().Add(-tokenLife).Unix())
	for _, part := range []struct {
		count *int
		batch func(*tx) int
	}{
		{&swept.Purchases, func(t *tx) int { return sweepPurchases(t, endedPurchases, before.Unix()) }},
		{&swept.Purchases, func(t *tx) int { return sweepPurchases(t, closedPurchases, closedBefore) }},
		{&swept.Changes, func(t *tx) int { return int(t.exec(sweepChanges, before.Unix(), sqlBatch)) }},
	} {
		for n := sqlBatch; n == sqlBatch && err == nil; {
			n, err = sweepBatch(ctx, l, part.batch)
			*part.count += n
		}
	}
	if err == nil {
		swept.Events, err = l.sweepEvents(ctx, before.Unix())
	}
	return swept, err
}

// sweepBatch runs a batch in a transaction. It returns how many rows are gone for certain.
func sweepBatch(ctx context.Context, l *Ledger, batch func(*tx) int) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return write(ctx, l, func(t *tx) (int, error) { return batch(t), nil })
}

const (
	// endedPurchases and closedPurchases are each answered by an index of their own.
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
	// sweepChanges keeps the newest change: it says where the feed is.
	sweepChanges = `
		DELETE FROM changes WHERE seq IN (
			SELECT seq FROM changes WHERE at < $1 AND seq < (SELECT MAX(seq) FROM changes) ORDER BY seq LIMIT $2)`

	sweptPurchases = `(SELECT id FROM purchases WHERE status = 'swept')`
	sweptSessions  = `(SELECT session_id FROM payments WHERE purchase_id IN ` + sweptPurchases + `)`
	sweptTerms     = `SELECT DISTINCT terms_hash FROM payments WHERE purchase_id IN ` + sweptPurchases
)

// deleteSwept deletes the purchases that are marked within the transaction, and what belongs to them.
var deleteSwept = []string{
	`DELETE FROM events WHERE id IN (
		SELECT id FROM events WHERE session_id IN ` + sweptSessions + `
		UNION
		SELECT x.event_id FROM payment_ids i CROSS JOIN event_ids x
		WHERE i.session_id IN ` + sweptSessions + ` AND x.external_id = i.payment_id)`,
	// All ids of these events are ids of their sessions.
	`DELETE FROM event_ids WHERE external_id IN (SELECT payment_id FROM payment_ids WHERE session_id IN ` + sweptSessions + `)`,
	`DELETE FROM payment_ids WHERE session_id IN ` + sweptSessions,
	`DELETE FROM payments WHERE purchase_id IN ` + sweptPurchases,
	`DELETE FROM decisions WHERE purchase_id IN ` + sweptPurchases,
	`DELETE FROM devices WHERE purchase_id IN ` + sweptPurchases,
	`DELETE FROM claims WHERE purchase_id IN ` + sweptPurchases,
	`DELETE FROM purchases WHERE status = 'swept'`,
}

func sweepPurchases(t *tx, query string, before int64) int {
	n := t.exec(`UPDATE purchases SET status = 'swept' WHERE id IN (`+query+`)`, before, sqlBatch)
	if n == 0 {
		return 0
	}
	sold := t.texts(sweptTerms)
	for _, statement := range deleteSwept {
		t.exec(statement)
	}
	for _, hash := range sold {
		t.exec(`DELETE FROM terms WHERE hash = $1 AND NOT EXISTS (SELECT 1 FROM payments WHERE terms_hash = $1)`, hash)
	}
	return int(n)
}

// isUnmatched holds for an event e that names no session and no payment id that is known.
const isUnmatched = `
	NOT EXISTS (SELECT 1 FROM payments WHERE session_id = e.session_id)
		AND NOT EXISTS (
			SELECT 1 FROM event_ids x CROSS JOIN payment_ids i
			WHERE x.event_id = e.id AND i.payment_id = x.external_id)`

const unmatchedQuery = `
	SELECT id, received_at < $2 AND ` + isUnmatched + `
	FROM events e
	WHERE id > $1
	ORDER BY id
	LIMIT $3`

// sweepEvents looks for unmatched events in pages, by reading: most events have a payment. What it found is checked
// again when it is deleted.
func (l *Ledger) sweepEvents(ctx context.Context, before int64) (deleted int, err error) {
	var last string
	for rows := listPage; rows == listPage; {
		after := last
		unmatched, err := read(ctx, l, func(t *tx) (unmatched []string, err error) {
			var isUnmatched bool
			rows = 0
			t.each(unmatchedQuery, args{after, before, listPage}, into{&last, &isUnmatched}, func() {
				rows++
				if isUnmatched {
					unmatched = append(unmatched, last)
				}
			})
			return unmatched, nil
		})
		if err != nil {
			return deleted, err
		}
		for ids := range slices.Chunk(unmatched, sqlBatch) {
			n, err := sweepBatch(ctx, l, func(t *tx) int { return deleteUnmatched(t, ids) })
			deleted += n
			if err != nil {
				return deleted, err
			}
		}
	}
	return deleted, nil
}

func deleteUnmatched(t *tx, ids []string) (deleted int) {
	for _, id := range ids {
		if t.exec(`DELETE FROM events AS e WHERE id = $1 AND `+isUnmatched, id) > 0 {
			t.exec(`DELETE FROM event_ids WHERE event_id = $1`, id)
			deleted++
		}
	}
	return deleted
}
