package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"
)

// queries runs SQL on a pool or in a transaction.
type queries interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

type (
	args = []any // of a query
	into = []any // the variables that take the columns of a row
)

// tx runs the statements of one transaction, or look-ups without one. After one statement has failed, the others do
// nothing, as in PostgreSQL; err is checked once, at the end.
type tx struct {
	ctx     context.Context
	dialect *dialect
	db      queries
	timer   *time.Timer   // ends ctx; it begins anew with each statement. nil: ctx has a deadline or needs none
	limit   time.Duration // of the timer
	err     error

	known   *string  // the installation that this process knew when a look-up began
	changed []string // purchases whose Holding this transaction changes
	keys    bool     // it changes the keys
	paid    bool     // it stores a payment
	adopted string   // the installation that it imports; the ledger is that one after the commit
}

func newTx(ctx context.Context, d *dialect, db queries) *tx { return &tx{ctx: ctx, dialect: d, db: db} }

// driverError is one of a database or of the way to it, and no other.
type driverError struct{ error }

func (e driverError) Unwrap() error { return e.error }

// fail makes the transaction roll back.
func (t *tx) fail(err error) { t.err = cmp.Or(t.err, err) }

func (t *tx) failBy(err error) {
	if err != nil {
		t.fail(driverError{err})
	}
}

// waitUpTo sets how long each statement may take from now on.
func (t *tx) waitUpTo(limit time.Duration) {
	t.limit = limit
	if t.timer != nil {
		t.timer.Reset(limit)
	}
}

// prepare makes a query and its arguments fit, and begins its time.
func (t *tx) prepare(query string, values args) (string, args) {
	t.waitUpTo(t.limit)
	values = slices.Clone(values)
	for i, value := range values {
		if text, ok := value.(string); ok {
			values[i] = storable(text)
		}
	}
	return t.dialect.rewrite(query), values
}

// storable replaces NUL and invalid UTF-8, which PostgreSQL refuses: such a webhook could never be stored. SQLite stores
// the same, so that an export fits both.
func storable(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}

// exec runs a statement and returns the number of rows that it changed.
func (t *tx) exec(query string, args ...any) (affected int64) {
	if t.err != nil {
		return 0
	}
	query, args = t.prepare(query, args)
	result, err := t.db.ExecContext(t.ctx, query, args...)
	if err == nil {
		affected, err = result.RowsAffected()
	}
	t.failBy(err)
	return affected
}

// query calls read with the rows of a query.
func (t *tx) query(query string, values args, read func(*sql.Rows) error) {
	if t.err != nil {
		return
	}
	query, values = t.prepare(query, values)
	rows, err := t.db.QueryContext(t.ctx, query, values...)
	if err != nil {
		t.failBy(err)
		return
	}
	defer rows.Close()
	t.fail(read(rows))
	t.failBy(rows.Err())
}

// each runs a query, scans each row into the variables and calls row. row must not run statements.
func (t *tx) each(query string, values args, columns into, row func()) {
	t.query(query, values, func(rows *sql.Rows) error {
		for t.err == nil && rows.Next() {
			if err := rows.Scan(columns...); err != nil {
				return err
			}
			row()
		}
		return nil
	})
}

// get reads at most one row and reports whether there is one.
func (t *tx) get(query string, values args, columns ...any) (found bool) {
	t.each(query, values, columns, func() { found = true })
	return found && t.err == nil
}

// texts runs a query for one column of text.
func (t *tx) texts(query string) (all []string) {
	var text string
	t.each(query, nil, into{&text}, func() { all = append(all, text) })
	return all
}

// scanner scans a column.
type scanner func(value any) error

func (s scanner) Scan(value any) error { return s(value) }

// null scans a column that may be NULL, which is the zero value.
func null[T any](into *T) scanner {
	return func(value any) error {
		var column sql.Null[T]
		err := column.Scan(value)
		*into = column.V
		return err
	}
}

// parsed scans a column by a function of its text, which is empty for NULL.
func parsed[T any](into *T, parse func(string) (T, error)) scanner {
	return func(value any) error {
		var text sql.NullString
		err := text.Scan(value)
		if err == nil {
			*into, err = parse(text.String)
		}
		return err
	}
}

// seconds is a time as it is stored: NULL for the zero time.
func seconds(t time.Time) sql.NullInt64 { return sql.NullInt64{Int64: t.Unix(), Valid: !t.IsZero()} }

// unix scans a column that seconds has stored.
func unix(into *time.Time) scanner {
	return func(value any) error {
		var column sql.NullInt64
		err := column.Scan(value)
		*into = time.Time{}
		if column.Valid {
			*into = time.Unix(column.Int64, 0).UTC()
		}
		return err
	}
}

// read runs f in a transaction that sees one state of the database. It has to finish within readTimeout, so it reads a
// few thousand rows at most.
func read[T any](ctx context.Context, l *Ledger, f func(*tx) (T, error)) (T, error) {
	return readWithin(ctx, l, readTimeout, f)
}

// readWithin is read with another deadline.
func readWithin[T any](ctx context.Context, l *Ledger, timeout time.Duration, f func(*tx) (T, error)) (result T, err error) {
	if fault := l.health.get().faulty; fault != nil {
		return result, fault // a file that was deleted can still be read
	}
	err = l.ask(ctx, timeout, func(ctx context.Context, db database) error {
		return db.read(ctx, func(t *tx) (err error) {
			result, err = f(t)
			return err
		})
	})
	return result, err
}

// lookUp is read for a single query, which needs no transaction.
func lookUp[T any](ctx context.Context, l *Ledger, f func(*tx) (T, error)) (result T, err error) {
	err = l.ask(ctx, readTimeout, func(ctx context.Context, db database) (err error) {
		t := db.lookup(ctx)
		t.known = l.installation.Load()
		result, err = f(t)
		return cmp.Or(t.err, err)
	})
	return result, err
}

// ask runs f with a deadline. It believes ErrNotFound only if the database is known to be ours.
func (l *Ledger) ask(ctx context.Context, timeout time.Duration, f func(context.Context, database) error) error {
	db, err := l.database()
	if err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err = f(within, db); err != nil && ctx.Err() == nil {
		db.failed(err)
	}
	if err = unavailable(err); !errors.Is(err, ErrNotFound) {
		return err
	}
	fault := cmp.Or(l.health.get().faulty, unavailable(db.check(within)))
	if fault != nil && within.Err() == nil { // an impatient caller says nothing about the database
		l.health.checked(fault)
	}
	return cmp.Or(fault, err)
}

// ours checks the installation that a look-up returned. A database without one cannot say "not found". The first
// ChangeKeys may have made one since the look-up began.
func (l *Ledger) ours(t *tx, installation string) error {
	if t.err != nil {
		return t.err
	}
	if installation == "" && t.known == nil {
		return errors.New("the database has no keys yet")
	}
	err := l.checkInstallation(installation)
	if err != nil {
		l.health.checked(err)
	}
	return err
}
