package ledger

import (
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
	start := l.options.Now()
	err = l.ask(ctx, pollTimeout, func(ctx context.Context, db database) error {
		t := db.lookup(ctx)
		t.known = l.installation.Load()
		changes = l.poll(t, since)
		if t.err != nil {
			return t.err
		}
		return db.check(ctx)
	})
	if err != nil {
		err = fmt.Errorf("polling: %w", err)
		if !errors.Is(ctx.Err(), context.Canceled) { // a cancelled call says nothing about the server
			l.health.checked(err)
		}
		return Changes{}, err
	}
	l.health.polledSince(start)
	l.probe()
	return changes, nil
}

// pollQuery returns the feed's position beside every change from the position on. PostgreSQL has no statistics about
// tables that hardly change, and guesses a thousand rows. LIMIT 1 tells it better: otherwise it compiles the query
// each time, for 80 ms.
const pollQuery = `
	SELECT (SELECT id FROM installation LIMIT 1), (SELECT MAX(oldest) FROM schema_versions), f.seq, f.nonce, f.writes, c.seq, c.nonce, c.purchase_id
	FROM (SELECT seq, nonce, writes FROM feed LIMIT 1) f
	LEFT JOIN (SELECT seq, nonce, purchase_id FROM changes WHERE seq >= $1 ORDER BY seq LIMIT $2) c ON 1 = 1
	ORDER BY c.seq`

func (l *Ledger) poll(t *tx, since Position) Changes {
	var installation, nonce, purchaseID string
	var oldest int
	var seq int64
	var last Position
	var changed []string
	rows, isKnown, keys := 0, false, false
	t.each(pollQuery, args{since.Seq, maxChanges + 2}, into{
		null(&installation), null(&oldest), &last.Seq, &last.Nonce, &last.Writes, null(&seq), null(&nonce), null(&purchaseID),
	}, func() {
		rows++
		switch {
		case seq == since.Seq:
			isKnown = nonce == since.Nonce
		case purchaseID == "":
			keys = true
		default:
			changed = append(changed, purchaseID)
		}
	})
	if rows == 0 {
		t.fail(errNoFeed)
	}
	t.fail(l.checkSchema(oldest))
	if installation != "" || t.known != nil {
		t.fail(l.checkInstallation(installation))
	}
	if t.err != nil {
		return Changes{}
	}
	isKnown = isKnown && last.Writes >= since.Writes
	if !isKnown && since != (Position{}) {
		l.options.Logger.Error("the ledger went back to an older state: everything that was remembered is dropped",
			"database", l.Location(), "was", since.Seq, "is", last.Seq)
	}
	if !isKnown || rows > maxChanges+1 {
		return Changes{Position: last, Keys: true, All: true}
	}
	return Changes{Position: last, PurchaseIDs: distinct(changed), Keys: keys}
}
