package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	// statementTimeout bounds each statement of a write. A server that is stopped answers nothing, so the deadline has
	// to be our own.
	statementTimeout = 2 * time.Second
	// refillPeriod is how often lost connections are replaced, so that the next visitors do not wait for them.
	refillPeriod = time.Second
	// dialPause is the pause after a failed connection. Without it, a stopped server is dialled hundreds of times a second.
	dialPause = 500 * time.Millisecond
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

	// writeLock makes writes serial in the whole database: each changes the feed's only row first.
	writeLock = countWrite + ` RETURNING current_setting('synchronous_commit'), ` + perTransaction
	// migrateLock lets one node migrate, also where there is no feed yet.
	migrateLock = `SELECT current_setting('synchronous_commit'), ` + perTransaction + ` || ` + yieldToReaders + ` FROM pg_advisory_xact_lock($1)`
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

// postgresDatabase is a PostgreSQL database: one connection that writes and a few that read, from one pool.
type postgresDatabase struct {
	pool             *pgxpool.Pool
	writing, reading *sql.DB
	lastFailure      atomic.Pointer[failedDial]
}

type failedDial struct {
	at  time.Time
	err error
}

// openPostgres connects and runs migrate in a transaction that holds the lock of migrations.
func openPostgres(ctx context.Context, rawURL string, migrate func(*tx)) (_ database, err error) {
	d := new(postgresDatabase)
	config, err := pgxpool.ParseConfig("")
	if err != nil {
		return nil, err
	}
	if config.ConnConfig, err = parseURL(rawURL); err != nil {
		return nil, err
	}
	config.MinConns, config.MaxConns = readers+1, readers+1 // a cold pool cost half a second at the 99th percentile
	config.HealthCheckPeriod = refillPeriod
	config.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false } // ask and commit try again
	config.BeforeConnect = func(context.Context, *pgx.ConnConfig) error {
		if last := d.lastFailure.Load(); last != nil && time.Since(last.at) < dialPause {
			return last.err
		}
		return nil
	}
	if d.pool, err = pgxpool.NewWithConfig(context.Background(), config); err != nil {
		return nil, err
	}
	d.writing, d.reading = stdlib.OpenDBFromPool(d.pool), stdlib.OpenDBFromPool(d.pool)
	d.writing.SetMaxOpenConns(1)
	d.reading.SetMaxOpenConns(readers)
	if err = d.check(ctx); err == nil {
		err = d.commit(migrateLock, args{migrationLock}, func(t *tx) {
			if len(t.texts(`SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname = 'axra'`)) == 0 {
				t.exec(`CREATE SCHEMA axra`)
			}
			migrate(t)
		})
	}
	if err != nil {
		_ = d.close()
		return nil, err
	}
	return d, nil
}

func (d *postgresDatabase) write(f func(*tx)) error { return d.commit(writeLock, nil, f) }

// commit takes a lock by a query that returns synchronous_commit and the settings, runs f and commits. Each statement has
// its own time.
func (d *postgresDatabase) commit(lock string, with args, f func(*tx)) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	hasLock := false
	attempt := func() error {
		t := newPostgresTx(ctx, nil)
		t.timer = time.AfterFunc(statementTimeout, cancel)
		defer t.timer.Stop()
		t.limit = statementTimeout
		return commit(t, d.writing, func(t *tx) {
			var synchronous, settings string
			if !t.get(lock, with, &synchronous, &settings) {
				t.fail(errNoFeed)
			}
			if synchronous == "off" {
				t.fail(errAsync)
			}
			if hasLock = t.err == nil; hasLock {
				f(t)
			}
		})
	}
	err := attempt()
	if !hasLock && d.kindOf(err) == lostConnection && ctx.Err() == nil {
		d.reconnect() // it was lost since it was last used, or its server may no longer be written
		err = attempt()
	}
	if err != nil && ctx.Err() != nil {
		return errors.Join(errNoAnswer, err)
	}
	return err
}

func (d *postgresDatabase) read(ctx context.Context, f func(*tx) error) error {
	return readFrom(newPostgresTx(ctx, nil), d.reading, func(t *tx) error {
		t.exec(`SELECT ` + perTransaction)
		return f(t)
	})
}

func (d *postgresDatabase) lookup(ctx context.Context) *tx { return newPostgresTx(ctx, d.reading) }

// check asks the server whether it may be used. A restored or a promoted server is noticed by the change feed.
func (d *postgresDatabase) check(ctx context.Context) error {
	t := d.lookup(ctx)
	if faults := readServer(t).Faults; len(faults) > 0 {
		d.reconnect()
		return faults[0]
	}
	return t.err
}

func (d *postgresDatabase) reconnect() { d.pool.Reset() }

// close gives up after two seconds: pgx waits longer for each connection to a server that does not answer.
func (d *postgresDatabase) close() error {
	closed := make(chan error, 1)
	go func() {
		err := cmp.Or(d.writing.Close(), d.reading.Close())
		d.pool.Close()
		closed <- err
	}()
	select {
	case err := <-closed:
		return err
	case <-time.After(statementTimeout):
		return nil
	}
}

// readOnlyTransaction is the error of a server that became a standby: another one may have replaced it.
const readOnlyTransaction = "25006"

// kindOf counts values that PostgreSQL cannot store, or that are too long, as the statement's own error. It also notes
// when no connection could be made.
func (d *postgresDatabase) kindOf(err error) errorKind {
	var failed *pgconn.ConnectError
	if last := d.lastFailure.Load(); errors.As(err, &failed) && (last == nil || time.Since(last.at) >= dialPause) {
		d.lastFailure.Store(&failedDial{time.Now(), err})
	}
	var refused *pgconn.PgError
	var broken driverError
	switch {
	case !errors.As(err, &broken):
		return ownError
	case !errors.As(err, &refused), refused.Severity == "FATAL", refused.Code == readOnlyTransaction:
		return lostConnection
	}
	switch refused.Code[:min(2, len(refused.Code))] {
	case "08", "57": // the connection; an administrator
		return lostConnection
	case "22", "54": // a value; its length
		return ownError
	}
	return databaseError
}

func newPostgresTx(ctx context.Context, db queries) *tx {
	t := newTx(ctx, db)
	t.rewrite = qualify
	return t
}

var (
	// tableNames finds the tables in a statement. Every table of the schema has to be here.
	tableNames = regexp.MustCompile(`\b(FROM|JOIN|INTO|UPDATE|TABLE|VIEW|ON|REFERENCES)\s+(installation|keys|purchases|purchases_now|` +
		`terms|payments|payment_ids|events|event_ids|decisions|devices|claims|feed|changes|schema_versions)\b`)
	qualifiedQueries sync.Map // by query
)

// qualify puts the schema before the names of the tables: through a transaction pooler, the search path may be that of
// another program. The queries stay readable, and the same for both databases.
func qualify(query string) string {
	if known, ok := qualifiedQueries.Load(query); ok {
		return known.(string)
	}
	result := tableNames.ReplaceAllString(query, "$1 axra.$2")
	qualifiedQueries.Store(query, result)
	return result
}
