package ledger

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"
)

// queries runs SQL on a connection, in a transaction or on a pool.
type queries interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// statements are the queries of one of the databases. Queries should be constants, as what is prepared or
// rewritten for one is kept.
type statements interface {
	queries
	// runScript runs several statements without arguments.
	runScript(ctx context.Context, script string) error
	// waitUpTo sets how long each of the following statements may take.
	waitUpTo(time.Duration)
}

// tx runs statements of one transaction, or of a look-up without one.
type tx struct {
	statements

	changed []string // purchases whose Holding this transaction changes
	keys    bool     // it changes the keys
	paid    bool     // it stores a payment
	adopted string   // the installation that it imports; the ledger is that one after the commit
}

// affects runs a statement and returns the number of rows that it changed.
func (t *tx) affects(ctx context.Context, query string, args ...any) (int64, error) {
	result, err := t.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// texts runs a query for one column of text.
func (t *tx) texts(ctx context.Context, query string, args ...any) ([]string, error) {
	rows, err := t.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		all = append(all, text)
	}
	return all, rows.Err()
}

// touches notes that the Holding of a purchase changes. OnChange will hear of it after the commit.
func (t *tx) touches(purchaseID string) {
	if !slices.Contains(t.changed, purchaseID) {
		t.changed = append(t.changed, purchaseID)
	}
}

// read runs f in a transaction that sees one state of the database. It ends after readTimeout, so f reads
// at most some thousand rows.
func (l *Ledger) read(ctx context.Context, f func(context.Context, *tx) error) error {
	return l.readWithin(ctx, readTimeout, f)
}

// readWithin is read with another deadline.
func (l *Ledger) readWithin(ctx context.Context, timeout time.Duration, f func(context.Context, *tx) error) error {
	if fault := l.health.fault(); fault != nil {
		return fault // a file that was deleted can still be read
	}
	return l.lookUp(ctx, timeout, func(ctx context.Context, db database) error { return db.read(ctx, f) })
}

// readOne is read for a single query, which needs no transaction.
func (l *Ledger) readOne(ctx context.Context, f func(context.Context, *tx) error) error {
	return l.lookUp(ctx, readTimeout, func(ctx context.Context, db database) error { return f(ctx, db.lookup()) })
}

// lookUp runs f with a deadline, and once more if the connection was lost, so f must reset what it fills. It
// believes ErrNotFound only of a database that is known to be ours.
func (l *Ledger) lookUp(ctx context.Context, timeout time.Duration, f func(context.Context, database) error) error {
	db, err := l.database()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err = f(ctx, db)
	if err != nil && ctx.Err() == nil && db.isLost(err) {
		db.dropIdle()
		err = f(ctx, db)
	}
	err = unavailable(err)
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	if fault := l.health.fault(); fault != nil {
		return fault
	}
	if fault := db.checkPlace(ctx); fault != nil {
		fault = unavailable(fault)
		if ctx.Err() == nil { // whoever hangs up, or waited too long, has learnt nothing
			l.health.fail(l.options, fault)
		}
		return fault
	}
	return err
}

func ignoreNoRows(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}
