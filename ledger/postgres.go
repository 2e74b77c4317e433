package ledger

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
)

const (
	// statementTimeout bounds each statement of a write. A server that is stopped answers nothing, so the deadline
	// has to be our own.
	statementTimeout = 2 * time.Second
	// dialPause is how long no connection is tried after one could not be made. Without it a server that was stopped
	// was dialled hundreds of times a second.
	dialPause = 500 * time.Millisecond
	// forgetAfter ends a transaction whose node says nothing for so long: its machine may have stopped or lost its
	// network, and without this every other node would wait for its lock for hours.
	forgetAfter = `set_config('idle_in_transaction_session_timeout', '5s', true)`
	// yieldToReaders gives up a migration that would wait for somebody who reads, such as an export: every other
	// look-up would wait behind it. It is tried again a second later.
	yieldToReaders = `set_config('lock_timeout', '500ms', true)`
	// migrationLock is the key of the advisory lock that a migration holds.
	migrationLock = 0x61787261 // "axra"
)

// Faults of a server that may not be used.
var (
	errStandby  = &serverFault{"the server is a standby, so its rows may be old", "name the primary in the URL"}
	errReadOnly = &serverFault{"the server is read-only", "turn default_transaction_read_only off for this database and user"}
	errAsync    = &serverFault{
		"synchronous_commit is off, so that a payment which was acknowledged could be lost",
		"turn it on for this user, `ALTER ROLE … SET synchronous_commit = on`",
	}
	errNotUTF8      = &serverFault{"the database is not in UTF-8", "create one with ENCODING 'UTF8'"}
	errMayNotCreate = &serverFault{
		"this user may not create the schema axra", "let the database's owner do `GRANT CREATE ON DATABASE … TO …`",
	}
	errNotOurs = &serverFault{
		"the schema axra belongs to another user, and this one may not use it", "name its owner in the URL",
	}
)

// errNoAnswer means that a statement took too long.
var errNoAnswer = errors.New("the database server does not answer")

// serverFault is why a server may not be used, and the fix.
type serverFault struct{ problem, fix string }

func (f *serverFault) Error() string { return f.problem + ": " + f.fix }

// postgresDatabase is a PostgreSQL database: a connection that writes and a pool that reads.
type postgresDatabase struct {
	connector driver.Connector
	writing   *sql.DB // one connection
	reading   *sql.DB
	refilling atomic.Bool
}

// openPostgres connects and runs migrate in a transaction that holds the lock of migrations.
func openPostgres(ctx context.Context, rawURL string, migrate func(context.Context, *tx) (bool, error)) (_ database, created bool, err error) {
	config, err := parseURL(rawURL)
	if err != nil {
		return nil, false, err
	}
	connector := &pausingConnector{Connector: stdlib.GetConnector(*config)}
	db := &postgresDatabase{connector: connector, writing: openPool(connector, 1), reading: openPool(connector, readers)}
	defer func() {
		if err != nil {
			_ = db.close()
		}
	}()
	if err := db.warmUp(ctx); err != nil {
		return nil, false, err
	}
	if err := db.check(ctx); err != nil {
		return nil, false, err
	}
	if created, err = db.migrate(migrate); err != nil {
		return nil, false, err
	}
	return db, created, nil
}

// postgresExists reports whether a database holds a ledger.
func postgresExists(ctx context.Context, rawURL string) (exists bool, err error) {
	config, err := parseURL(rawURL)
	if err != nil {
		return false, unavailable(err)
	}
	pool := openPool(stdlib.GetConnector(*config), 1)
	defer pool.Close()
	err = pool.QueryRowContext(ctx, `SELECT to_regclass('axra.installation') IS NOT NULL`).Scan(&exists)
	return exists, unavailable(err)
}

func (d *postgresDatabase) migrate(migrate func(context.Context, *tx) (bool, error)) (created bool, err error) {
	err = d.commit(`SELECT `+transactionSettings+` || `+yieldToReaders+` FROM pg_advisory_xact_lock($1)`, []any{migrationLock}, func(ctx context.Context, tx *tx) error {
		var encoding string
		var hasSchema bool
		err := tx.QueryRowContext(ctx, `
			SELECT current_setting('server_encoding'), EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = 'axra')`,
		).Scan(&encoding, &hasSchema)
		switch {
		case err != nil:
			return err
		case encoding != "UTF8":
			return errNotUTF8
		case !hasSchema:
			if err := tx.runScript(ctx, `CREATE SCHEMA axra`); err != nil {
				return err
			}
		}
		created, err = migrate(ctx, tx)
		return err
	})
	return created, err
}

// transaction is serial in the whole database: each begins with a change of the feed's only row, for whose lock it waits. READ COMMITTED is
// named, as with another default a statement would not see what was committed while it waited for the lock.
func (d *postgresDatabase) transaction(f func(context.Context, *tx) error) error {
	return d.commit(countWrite+` RETURNING `+transactionSettings, nil, f)
}

// planByIndex makes the rest of a transaction join tables in the order in which they are written, by indexes, as
// SQLite does. With a million payments PostgreSQL would read whole tables: a month's report took 1.4 s instead of 0.2 s.
const planByIndex = `set_config('join_collapse_limit', '1', true) || set_config('enable_seqscan', 'off', true) ||
	set_config('enable_hashjoin', 'off', true) || set_config('enable_mergejoin', 'off', true) || set_config('jit', 'off', true)`

// perTransaction are the settings of a transaction, joined so that they are one column.
const perTransaction = planByIndex + ` || ` + forgetAfter

// transactionSettings are two columns: synchronous_commit, and what is set for the transaction.
const transactionSettings = `current_setting('synchronous_commit'), ` + perTransaction

// commit takes a lock by a query that returns transactionSettings, runs f and commits.
func (d *postgresDatabase) commit(lock string, args []any, f func(context.Context, *tx) error) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	deadline := &statementDeadline{limit: statementTimeout}
	deadline.timer = time.AfterFunc(deadline.limit, func() { cancel(errNoAnswer) })
	defer deadline.timer.Stop()
	err := d.commitBy(ctx, deadline, lock, args, f)
	if err != nil && context.Cause(ctx) == errNoAnswer { //nolint:errorlint // it is not wrapped
		return fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	return err
}

func (d *postgresDatabase) commitBy(ctx context.Context, deadline *statementDeadline, lock string, args []any, f func(context.Context, *tx) error) error {
	begun, err := d.begin(ctx, deadline, lock, args)
	if err != nil && ctx.Err() == nil && d.isLost(err) {
		// The connection was lost since it was last used, or its server may no longer be written.
		closeIdle(d.writing, 1)
		begun, err = d.begin(ctx, deadline, lock, args)
	}
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	if err := f(ctx, &tx{statements: postgresQueries{begun, deadline}}); err != nil {
		begun.Rollback() //nolint:errcheck // the connection may be lost
		return err
	}
	deadline.restart()
	if err := begun.Commit(); err != nil {
		// If the connection broke, the outcome is not known.
		return fmt.Errorf("committing: %w", err)
	}
	return nil
}

// begin begins a transaction and takes its lock.
func (d *postgresDatabase) begin(ctx context.Context, deadline *statementDeadline, lock string, args []any) (*sql.Tx, error) {
	begun, err := d.writing.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return nil, err
	}
	var synchronous, settings string
	err = postgresQueries{begun, deadline}.QueryRowContext(ctx, lock, args...).Scan(&synchronous, &settings)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		err = errNoFeed
	case err == nil && synchronous == "off":
		err = errAsync
	}
	if err != nil {
		begun.Rollback() //nolint:errcheck // nothing was written
		return nil, err
	}
	return begun, nil
}

func (d *postgresDatabase) read(ctx context.Context, f func(context.Context, *tx) error) error {
	return readFrom(ctx, d.reading, perTransaction, func(q postgresQueries) error { return f(ctx, &tx{statements: q}) })
}

// snapshot has a connection of its own, since whoever reads it may be slow.
func (d *postgresDatabase) snapshot(ctx context.Context, f func(queries) error) error {
	pool := openPool(d.connector, 1)
	defer pool.Close()
	return readFrom(ctx, pool, `set_config('idle_in_transaction_session_timeout', '10min', true)`, func(q postgresQueries) error { return f(q) })
}

// readFrom runs f in a transaction that sees one state.
func readFrom(ctx context.Context, pool *sql.DB, settings string, f func(postgresQueries) error) error {
	begun, err := pool.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return err
	}
	defer begun.Rollback()                                                //nolint:errcheck // nothing was written
	if _, err := begun.ExecContext(ctx, `SELECT `+settings); err != nil { //nolint:gosec // constants
		return err
	}
	return f(postgresQueries{queries: begun})
}

func (d *postgresDatabase) lookup() *tx { return &tx{statements: postgresQueries{queries: d.reading}} }

// check asks the server whether it may be used. A restored or a promoted server is noticed by the change feed.
func (d *postgresDatabase) check(ctx context.Context) error {
	var isStandby bool
	var readOnly, synchronous string
	err := d.reading.QueryRowContext(ctx, `
		SELECT pg_is_in_recovery(), current_setting('transaction_read_only'), current_setting('synchronous_commit')`,
	).Scan(&isStandby, &readOnly, &synchronous)
	switch {
	case err != nil:
		return err
	case isStandby:
		err = errStandby
	case readOnly != "off":
		err = errReadOnly
	case synchronous == "off":
		err = errAsync
	}
	if err != nil {
		closeIdle(d.writing, 1)
		closeIdle(d.reading, readers)
		return err
	}
	d.refill()
	return nil
}

// checkPlace has nothing to add: a connection leads to one server for as long as it lasts.
func (d *postgresDatabase) checkPlace(context.Context) error { return nil }

// close gives up after two seconds: pgx waits five for each connection to a server that does not answer.
func (d *postgresDatabase) close() error {
	closed := make(chan error, 1)
	go func() { closed <- errors.Join(d.writing.Close(), d.reading.Close()) }()
	select {
	case err := <-closed:
		return err
	case <-time.After(statementTimeout):
		return nil
	}
}
