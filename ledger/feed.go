package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

const nonceBytes = 16

// countWrite counts a transaction. It is the first statement of each.
const countWrite = `UPDATE feed SET writes = writes + 1`

var errNoFeed = foreign("the change feed is empty")

// maxChanges is the number of changes beyond which a poll says that everything may have changed.
const maxChanges = 1000

// advanceFeed tells other nodes that a purchase changed.
func (l *Ledger) advanceFeed(ctx context.Context, tx *tx, purchaseID string) error {
	nonce, err := l.randomHex(nonceBytes)
	if err != nil {
		return err
	}
	var seq int64
	if err := tx.QueryRowContext(ctx, `UPDATE feed SET seq = seq + 1, nonce = $1 RETURNING seq`, nonce).Scan(&seq); err != nil {
		return fmt.Errorf("advancing the change feed: %w", err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO changes (seq, nonce, purchase_id, at) VALUES ($1, $2, $3, $4)`, seq, nonce, purchaseID, l.now())
	return err
}

// advanceKeys tells other nodes that the keys changed.
func (l *Ledger) advanceKeys(ctx context.Context, tx *tx) error {
	tx.keys = true
	return l.advanceFeed(ctx, tx, "")
}

// sweepChanges deletes at most limit changes from before a time. The newest change always stays: it says
// where the feed is.
func sweepChanges(ctx context.Context, tx *tx, before int64, limit int) (deleted int64, err error) {
	return tx.affects(ctx, `
		DELETE FROM changes WHERE seq IN (
			SELECT seq FROM changes WHERE at < $1 AND seq < (SELECT MAX(seq) FROM changes) ORDER BY seq LIMIT $2)`,
		before, limit)
}

// Poll reads what changed since a position. It also checks that the database is still ours; after a failure
// nothing is written and "not found" is not believed until a Poll succeeds.
func (l *Ledger) Poll(ctx context.Context, since Position) (Changes, error) {
	db, err := l.database()
	if err != nil {
		return Changes{}, err
	}
	start := l.options.Now()
	deadline, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	changes, err := l.poll(deadline, db, since)
	if err != nil && db.isLost(err) {
		db.dropIdle() // a server that does not answer on one connection does not on the others either
		if deadline.Err() == nil {
			changes, err = l.poll(deadline, db, since)
		}
	}
	if err == nil {
		err = db.check(deadline)
	}
	if err != nil {
		err = unavailable(fmt.Errorf("polling: %w", err))
		if !errors.Is(ctx.Err(), context.Canceled) { // a cancelled call says nothing about the server
			l.health.fail(l.options, err)
		}
		return Changes{}, err
	}
	l.health.succeed(l.options, start)
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

func (l *Ledger) poll(ctx context.Context, db database, since Position) (changes Changes, err error) {
	known := l.installation.Load() // before the query: the first ChangeKeys may make it meanwhile
	var installation sql.NullString
	var seq, oldest sql.NullInt64
	var nonce, purchaseID sql.NullString
	var last Position
	rows := 0
	isKnown := false
	seen := map[string]bool{}
	err = scanAll(ctx, db.lookup(), func(r *sql.Rows) error {
		rows++
		if err := r.Scan(&installation, &oldest, &last.Seq, &last.Nonce, &last.Writes, &seq, &nonce, &purchaseID); err != nil {
			return err
		}
		switch {
		case seq.Int64 == since.Seq:
			isKnown = nonce.String == since.Nonce
		case purchaseID.String == "":
			changes.Keys = true
		case !seen[purchaseID.String]:
			seen[purchaseID.String] = true
			changes.PurchaseIDs = append(changes.PurchaseIDs, purchaseID.String)
		}
		return nil
	}, pollQuery, since.Seq, maxChanges+2)
	switch {
	case err != nil:
		return Changes{}, err
	case rows == 0:
		return Changes{}, errNoFeed
	}
	if err := l.checkSchema(int(oldest.Int64)); err != nil {
		return Changes{}, err
	}
	if installation.String != "" || known != nil {
		if err := l.checkInstallation(installation.String); err != nil {
			return Changes{}, err
		}
	}
	isKnown = isKnown && last.Writes >= since.Writes
	if !isKnown && since != (Position{}) && l.health.noteStepBack(last) {
		l.options.Logger.Error("the ledger went back to an older state: everything that was remembered is dropped",
			"database", l.Location(), "was", since.Seq, "is", last.Seq)
	}
	if !isKnown || rows > maxChanges+1 {
		return Changes{Position: last, Keys: true, All: true}, nil
	}
	changes.Position = last
	return changes, nil
}
