package ledger

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"
)

// tx runs statements of one transaction, or of a look-up without one. Every statement is prepared once for
// each connection, so queries should be constants.
type tx struct {
	prepare func(ctx context.Context, query string) (*sql.Stmt, error)
	direct  interface { // runs a query without preparing it
		ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
		QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	}

	changed []string // purchases whose Holding this transaction changes
	keys    bool     // it changes the keys
	adopted string   // the installation that it imports; the ledger is that one after the commit
}

func (t *tx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	statement, err := t.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return statement.ExecContext(ctx, args...)
}

// QueryContext runs a query. The caller closes the rows.
func (t *tx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	statement, err := t.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return statement.QueryContext(ctx, args...)
}

func (t *tx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	statement, err := t.prepare(ctx, query)
	if err != nil {
		// The row reports why the query cannot be prepared.
		return t.direct.QueryRowContext(ctx, query, args...)
	}
	return statement.QueryRowContext(ctx, args...)
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
	return l.lookUp(ctx, timeout, func(ctx context.Context, db *database) error {
		begun, err := db.reading.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
		if err != nil {
			return err
		}
		defer begun.Rollback() //nolint:errcheck // nothing was written
		// Statements are prepared in the transaction. To prepare them for all connections takes another connection,
		// and a burst would wait for itself.
		return f(ctx, &tx{direct: begun, prepare: begun.PrepareContext})
	})
}

// readOne is read for a single query, which needs no transaction.
func (l *Ledger) readOne(ctx context.Context, f func(context.Context, *tx) error) error {
	return l.lookUp(ctx, readTimeout, func(ctx context.Context, db *database) error {
		return f(ctx, &tx{direct: db.reading, prepare: db.lookup})
	})
}

// lookUp runs f with a deadline. It believes ErrNotFound only of a database that is known to be ours.
func (l *Ledger) lookUp(ctx context.Context, timeout time.Duration, f func(context.Context, *database) error) error {
	db, err := l.database()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err = unavailable(f(ctx, db))
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	if fault := l.health.fault(); fault != nil {
		return fault
	}
	if fault := db.files.check(db); fault != nil {
		l.health.fail(l.options, fault)
		return fault
	}
	return err
}

// lookup prepares a query for the reading connections.
func (d *database) lookup(ctx context.Context, query string) (*sql.Stmt, error) {
	if statement, ok := d.lookups.Load(query); ok {
		return statement.(*sql.Stmt), nil
	}
	statement, err := d.reading.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	if other, loaded := d.lookups.LoadOrStore(query, statement); loaded {
		statement.Close()
		return other.(*sql.Stmt), nil
	}
	return statement, nil
}

func (d *database) queryRow(ctx context.Context, query string) *sql.Row {
	return (&tx{direct: d.reading, prepare: d.lookup}).QueryRowContext(ctx, query)
}

// statement prepares a query for the writing connection.
func (d *database) statement(ctx context.Context, query string) (*sql.Stmt, error) {
	if statement, ok := d.statements[query]; ok {
		return statement, nil
	}
	statement, err := d.writer.PrepareContext(ctx, query)
	if err == nil {
		d.statements[query] = statement
	}
	return statement, err
}

func ignoreNoRows(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}
