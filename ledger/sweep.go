package ledger

import (
	"context"
	"time"
)

// sweepBatch bounds the rows of one transaction of a sweep, so that no payment waits longer than a second for it.
const sweepBatch = 500

// tokenLife is how long an access token may live: a closed purchase is kept for so long, or a token of it would find
// nothing that says so.
const tokenLife = 400 * 24 * time.Hour

// Swept is how many rows a sweep has deleted.
type Swept struct {
	Purchases int `json:"purchases"` // with all that belongs to them
	Events    int `json:"events"`    // that match no payment, or none any more
}

// Sweep deletes the purchases whose access ended before a time, or that were closed before it and have not changed since,
// and events received before it that match no payment. Active purchases without expiry stay. It works in batches, each a
// transaction, and may be interrupted or run on several nodes at once.
func (l *Ledger) Sweep(ctx context.Context, before time.Time) (swept Swept, err error) {
	end, closed := before.Unix(), min(before.Unix(), l.options.Now().Add(-tokenLife).Unix())
	// sweep runs a statement until a batch is not full.
	sweep := func(statement string, with ...any) (all int) {
		for n := sweepBatch; n == sweepBatch && err == nil; all += n {
			n, err = write(ctx, l, func(t *tx) (int, error) { return int(t.exec(statement, with...)), nil })
		}
		return all
	}
	swept.Purchases = sweep(sweepEnded, sweepBatch, end) + sweep(sweepClosed, sweepBatch, closed)
	sweep(sweepChanges, sweepBatch, end)
	sweep(sweepTerms, sweepBatch)
	type page struct {
		last    string
		deleted int
	}
	for after, isFirst := "", true; err == nil && (isFirst || after != ""); isFirst = false {
		var done page
		done, err = write(ctx, l, func(t *tx) (p page, _ error) {
			t.get(lastEvent, args{sweepBatch, after}, null(&p.last))
			p.deleted = int(t.exec(sweepEvents, sweepBatch, after, end))
			return p, nil
		})
		after = done.last
		swept.Events += done.deleted
	}
	return swept, err
}

// The tables that belong to a purchase, a payment or an event are emptied by ON DELETE CASCADE.
const (
	sweepEnded = `
		DELETE FROM purchases WHERE id IN (
			SELECT id FROM purchases WHERE status = 'active' AND ends_at < $2 ORDER BY ends_at LIMIT $1)`
	sweepClosed = `
		DELETE FROM purchases WHERE id IN (
			SELECT id FROM purchases WHERE status <> 'active' AND status <> 'disputed' AND updated_at < $2 ORDER BY updated_at LIMIT $1)`
	// sweepChanges keeps the newest change: it says where the feed is.
	sweepChanges = `
		DELETE FROM changes WHERE seq IN (
			SELECT seq FROM changes WHERE at < $2 AND seq < (SELECT MAX(seq) FROM changes) ORDER BY seq LIMIT $1)`
	sweepTerms = `
		DELETE FROM terms WHERE hash IN (
			SELECT hash FROM terms t WHERE NOT EXISTS (SELECT 1 FROM payments WHERE terms_hash = t.hash) LIMIT $1)`
	// sweepEvents looks at a page of events, since most have a payment. lastEvent is where the page ends.
	sweepEvents = `
		DELETE FROM events WHERE id IN (
			SELECT page.id FROM (SELECT id, session_id, received_at FROM events WHERE id > $2 ORDER BY id LIMIT $1) page
			WHERE page.received_at < $3 AND NOT EXISTS (SELECT 1 FROM payments WHERE session_id = page.session_id)
				AND NOT EXISTS (
					SELECT 1 FROM event_ids x CROSS JOIN payment_ids i
					WHERE x.event_id = page.id AND i.payment_id = x.external_id))`
	lastEvent = `SELECT MAX(id) FROM (SELECT id FROM events WHERE id > $2 ORDER BY id LIMIT $1) page`
)
