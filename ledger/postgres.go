package ledger

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
)

const (
	// statementTimeout bounds each statement of a write. A server that is stopped answers nothing, so the deadline has
	// to be our own.
	statementTimeout = 2 * time.Second
	// migrationLock is the key of the advisory lock that a migration holds.
	migrationLock = 0x61787261 // "axra"

	// planByIndex makes the rest of a transaction join tables in the order in which they are written, by indexes, as
	// SQLite does. With a million payments PostgreSQL would read whole tables: a month's report took 1.4 s instead of
	// 0.2 s.
	planByIndex = `set_config('join_collapse_limit', '1', true) || set_config('enable_seqscan', 'off', true) ||
		set_config('enable_hashjoin', 'off', true) || set_config('enable_mergejoin', 'off', true) || set_config('jit', 'off', true)`
	// forgetAfter ends a transaction whose node went silent: its machine may have stopped or lost its network, and every
	// other node would wait for its lock for hours.
	forgetAfter = `set_config('idle_in_transaction_session_timeout', '5s', true)`
	// perTransaction are the settings of a transaction, joined so that they are one column.
	perTransaction = planByIndex + ` || ` + forgetAfter
	// yieldToReaders gives up a migration that waits for a reader, such as an export: every other look-up would wait
	// behind it. It is tried again a second later.
	yieldToReaders = `set_config('lock_timeout', '500ms', true)`
	// forSnapshots is patient with slow readers.
	forSnapshots = `set_config('idle_in_transaction_session_timeout', '10min', true)`
)

// errNoAnswer means that a statement took too long.
var errNoAnswer = errors.New("the database server does not answer")

// postgresDialect keeps the order of text as SQLite and Go have it, whatever the database's language is.
var postgresDialect = dialect{
	tables: `SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = 'axra'`,
	migrate: strings.NewReplacer(
		" TEXT ", ` TEXT COLLATE "C" `,
		" WITHOUT ROWID", "",
		"strftime('%s', 'now')", "EXTRACT(EPOCH FROM now())",
		"lower(hex(randomblob(16)))", "replace(CAST(gen_random_uuid() AS TEXT), '-', '')",
	).Replace,
	list:    `json_array_elements(CAST($1 AS json))`,
	analyze: `ANALYZE axra.purchases, axra.terms, axra.payments, axra.payment_ids, axra.events, axra.event_ids, axra.devices`,
}

// postgresDatabase is a PostgreSQL database: a connection that writes and a pool that reads.
type postgresDatabase struct {
	connector driver.Connector
	writing   *sql.DB // one connection
	reading   *sql.DB
	refilling atomic.Bool
}

// openPostgres connects and runs migrate in a transaction that holds the lock of migrations.
func openPostgres(ctx context.Context, rawURL string, migrate func(*tx)) (_ database, err error) {
	config, err := parseURL(rawURL)
	if err != nil {
		return nil, err
	}
	connector := &pausingConnector{Connector: stdlib.GetConnector(*config)}
	db := &postgresDatabase{connector: connector, writing: openPool(connector, 1), reading: openPool(connector, readers)}
	if err = warmUp(ctx, db.reading, readers); err == nil {
		err = db.check(ctx)
	}
	if err == nil {
		err = db.migrate(migrate)
	}
	if err != nil {
		_ = db.close()
		return nil, err
	}
	return db, nil
}

func (d *postgresDatabase) migrate(migrate func(*tx)) error {
	lock := `SELECT current_setting('synchronous_commit'), ` + perTransaction + ` || ` + yieldToReaders + ` FROM pg_advisory_xact_lock($1)`
	return d.commit(lock, args{migrationLock}, func(t *tx) {
		if len(t.texts(`SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname = 'axra'`)) == 0 {
			t.exec(`CREATE SCHEMA axra`)
		}
		migrate(t)
	})
}

// write is serial in the whole database: each begins with a change of the feed's only row, for whose lock it waits.
func (d *postgresDatabase) write(f func(*tx)) error {
	return d.commit(countWrite+` RETURNING current_setting('synchronous_commit'), `+perTransaction, nil, f)
}

// commit takes a lock by a query that returns synchronous_commit and the settings, runs f and commits.
func (d *postgresDatabase) commit(lock string, with args, f func(*tx)) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	timer := time.AfterFunc(statementTimeout, func() { cancel(errNoAnswer) })
	defer timer.Stop()
	t := &tx{ctx: ctx, deadline: &statementDeadline{timer, statementTimeout}}
	begun, err := d.begin(t, lock, with)
	if ctx.Err() == nil && d.kindOf(err) == lostConnection {
		// The connection was lost since it was last used, or its server may no longer be written.
		closeIdle(d.writing, 1)
		t.err = nil
		begun, err = d.begin(t, lock, with)
	}
	if err == nil {
		if f(t); t.err != nil {
			begun.Rollback() //nolint:errcheck // the connection may be lost
			err = t.err
		} else {
			t.deadline.restart()
			err = begun.Commit() // if the connection breaks, the outcome is not known
		}
	}
	if err != nil && context.Cause(ctx) == errNoAnswer { //nolint:errorlint // it is not wrapped
		return fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	return err
}

// begin begins a transaction and takes its lock. READ COMMITTED is named, as with another default a statement would not
// see what was committed while it waited for the lock.
func (d *postgresDatabase) begin(t *tx, lock string, with args) (*sql.Tx, error) {
	begun, err := d.writing.BeginTx(t.ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return nil, fmt.Errorf("beginning a transaction: %w", err)
	}
	t.db = qualified{begun}
	var synchronous, settings string
	if !t.get(lock, with, &synchronous, &settings) {
		t.fail(errNoFeed)
	}
	if synchronous == "off" {
		t.fail(errAsync)
	}
	if t.err != nil {
		begun.Rollback() //nolint:errcheck // nothing was written
	}
	return begun, t.err
}

func (d *postgresDatabase) read(ctx context.Context, f func(*tx)) error {
	return d.readFrom(ctx, d.reading, perTransaction, f)
}

// snapshot has a connection of its own, since its reader may be slow.
func (d *postgresDatabase) snapshot(ctx context.Context, f func(*tx)) error {
	pool := openPool(d.connector, 1)
	defer pool.Close()
	return d.readFrom(ctx, pool, forSnapshots, f)
}

func (d *postgresDatabase) readFrom(ctx context.Context, pool *sql.DB, settings string, f func(*tx)) error {
	return readFrom(ctx, pool, func(begun *sql.Tx) *tx {
		t := &tx{ctx: ctx, db: qualified{begun}}
		t.exec(`SELECT ` + settings)
		return t
	}, f)
}

func (d *postgresDatabase) lookup(ctx context.Context) *tx {
	return &tx{ctx: ctx, db: qualified{d.reading}}
}

// check asks the server whether it may be used. A restored or a promoted server is noticed by the change feed.
func (d *postgresDatabase) check(ctx context.Context) error {
	t := d.lookup(ctx)
	if faults := readServer(t).Faults; len(faults) > 0 {
		closeIdle(d.writing, 1)
		d.dropIdle()
		return faults[0]
	}
	d.refill()
	return t.err
}

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

// qualified runs queries with the schema before the names of the tables: through a transaction pooler, the search path
// may be that of another program. The queries stay readable, and the same for both databases.
type qualified struct{ queries }

func (q qualified) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return q.queries.ExecContext(ctx, qualify(query), args...)
}

func (q qualified) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return q.queries.QueryContext(ctx, qualify(query), args...)
}

var (
	// tableNames finds the tables in a statement. Every table of the schema has to be here.
	tableNames = regexp.MustCompile(`\b(FROM|JOIN|INTO|UPDATE|TABLE|VIEW|ON|REFERENCES)\s+(installation|keys|purchases|purchases_now|` +
		`terms|payments|payment_ids|events|event_ids|decisions|devices|claims|feed|changes|schema_versions)\b`)
	qualifiedQueries sync.Map // by query
)

func qualify(query string) string {
	if known, ok := qualifiedQueries.Load(query); ok {
		return known.(string)
	}
	result := tableNames.ReplaceAllString(query, "$1 axra.$2")
	qualifiedQueries.Store(query, result)
	return result
}
