package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
)

const (
	nonceBytes = 16
	// maxChanges is the number of changes beyond which a poll says that everything may have changed.
	maxChanges = 1000
	// countWrite counts a transaction. It is the first statement of each.
	countWrite = `UPDATE feed SET writes = writes + 1`
)

var errNoFeed = foreign("the change feed is empty")

// touches notes that the Holding of a purchase changes. OnChange hears of it after the commit.
func (t *tx) touches(purchaseID string) { t.changed = distinct(append(t.changed, purchaseID)) }

// advanceFeed tells other nodes that a purchase changed, or with an empty id that the keys did.
func (l *Ledger) advanceFeed(t *tx, purchaseID string) {
	if purchaseID == "" {
		t.keys = true
	} else {
		t.touches(purchaseID)
	}
	nonce := randomHex(nonceBytes)
	t.exec(`UPDATE feed SET seq = seq + 1, nonce = $1`, nonce)
	t.exec(`INSERT INTO changes (seq, nonce, purchase_id, at) SELECT seq, nonce, $1, CAST($2 AS BIGINT) FROM feed`, purchaseID, l.now())
}

// Poll reads what changed since a position. It also checks that the database is still ours; after a failure nothing is
// written and "not found" is not believed until a Poll succeeds.
func (l *Ledger) Poll(ctx context.Context, since Position) (changes Changes, err error) {
	if _, err := l.database(); err != nil {
		return Changes{}, err
	}
	err = l.ask(ctx, pollTimeout, func(ctx context.Context, db *database) error {
		t := db.lookup(ctx)
		t.known = l.installation.Load()
		changes = l.poll(t, since)
		return cmp.Or(t.err, db.check(ctx))
	})
	switch {
	case err == nil:
		l.health.checked(nil)
		l.probe()
		return changes, nil
	case !errors.Is(ctx.Err(), context.Canceled): // a cancelled call says nothing about the server
		l.health.checked(fmt.Errorf("polling: %w", err))
	}
	return Changes{}, fmt.Errorf("polling: %w", err)
}

// pollQuery returns the feed's position beside every change from the position on. PostgreSQL has no statistics about
// tables that hardly change, and guesses a thousand rows. LIMIT 1 tells it better: otherwise it compiles the query
// each time, for 80 ms.
const pollQuery = `
	SELECT (SELECT id FROM installation LIMIT 1), (SELECT MAX(oldest) FROM schema_versions), f.seq, f.nonce, f.writes, c.seq, c.nonce, c.purchase_id
	FROM (SELECT seq, nonce, writes FROM feed LIMIT 1) f
	LEFT JOIN (SELECT seq, nonce, purchase_id FROM changes WHERE seq >= $1 ORDER BY seq LIMIT $2) c ON 1 = 1
	ORDER BY c.seq`

func (l *Ledger) poll(t *tx, since Position) (changes Changes) {
	var installation, nonce, purchaseID string
	var oldest int
	var seq int64
	last, rows, isKnown := &changes.Position, 0, false
	t.each(pollQuery, args{since.Seq, maxChanges + 2}, into{
		null(&installation), null(&oldest), &last.Seq, &last.Nonce, &last.Writes, null(&seq), null(&nonce), null(&purchaseID),
	}, func() {
		rows++
		switch {
		case seq == since.Seq:
			isKnown = nonce == since.Nonce && last.Writes >= since.Writes
		case purchaseID == "":
			changes.Keys = true
		default:
			changes.PurchaseIDs = append(changes.PurchaseIDs, purchaseID)
		}
	})
	if rows == 0 {
		t.fail(errNoFeed)
	}
	t.fail(l.checkSchema(oldest))
	if installation != "" || t.known != nil {
		t.fail(l.checkInstallation(installation))
	}
	if t.err == nil && !isKnown && since != (Position{}) {
		l.options.Log("the ledger went back to an older state: everything that was remembered is dropped",
			fmt.Errorf("change %d was the last, now %d is", since.Seq, last.Seq))
	}
	if !isKnown || rows > maxChanges+1 {
		return Changes{Position: *last, Keys: true, All: true}
	}
	changes.PurchaseIDs = distinct(changes.PurchaseIDs)
	return changes
}
