package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
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
	// perTransaction are settings, joined so that they are one column. The rest of a transaction joins tables in the
	// order in which they are written, by indexes, as SQLite does: with a million payments PostgreSQL would read whole
	// tables, and a month's report took 1.4 s instead of 0.2 s. A transaction whose node went silent is ended, or every
	// other node would wait for its lock for hours.
	perTransaction = `set_config('join_collapse_limit', '1', true) || set_config('enable_seqscan', 'off', true) ||
		set_config('enable_hashjoin', 'off', true) || set_config('enable_mergejoin', 'off', true) || set_config('jit', 'off', true) ||
		set_config('idle_in_transaction_session_timeout', '5s', true)`
	// writeLock makes writes serial in the whole database: each changes the feed's only row first.
	writeLock = countWrite + ` RETURNING current_setting('synchronous_commit'), ` + perTransaction
	// migrateLock lets one node migrate, also where there is no feed yet.
	migrateLock = `SELECT current_setting('synchronous_commit'), ` + perTransaction + ` FROM pg_advisory_xact_lock(1635283553)` // "axra"
	// yieldToReaders gives up a migration that waits for a reader, such as an export: every other look-up would wait
	// behind it. It is tried again a second later.
	yieldToReaders = `SET LOCAL lock_timeout = '500ms'`
)

// errNoAnswer means that a statement took too long.
var errNoAnswer = errors.New("the database server does not answer")

// postgresDialect keeps the order of text as SQLite and Go have it, whatever the database's language is.
var postgresDialect = &dialect{
	rewrite: qualify,
	tables:  `SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = 'axra'`,
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
func openPostgres(ctx context.Context, rawURL string, migrate func(*tx)) (database, error) {
	d := new(postgresDatabase)
	if err := d.connect(rawURL); err != nil {
		return nil, err
	}
	err := d.check(ctx)
	if err == nil {
		err = d.commit(migrateLock, func(t *tx) {
			t.exec(yieldToReaders)
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

// connect makes the pool of connections, which are always as many: a cold one cost half a second at the 99th percentile.
func (d *postgresDatabase) connect(rawURL string) error {
	connection, err := parseURL(rawURL)
	if err != nil {
		return err
	}
	config, err := pgxpool.ParseConfig(rawURL)
	if err != nil {
		return err
	}
	config.ConnConfig, config.MinConns, config.MaxConns, config.HealthCheckPeriod = connection, readers+1, readers+1, refillPeriod
	config.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return true } // it may have been lost meanwhile
	config.BeforeConnect = func(context.Context, *pgx.ConnConfig) error {
		if last := d.lastFailure.Load(); last != nil && time.Since(last.at) < dialPause {
			return last.err
		}
		return nil
	}
	if d.pool, err = pgxpool.NewWithConfig(context.Background(), config); err != nil {
		return err
	}
	d.writing, d.reading = stdlib.OpenDBFromPool(d.pool), stdlib.OpenDBFromPool(d.pool)
	d.writing.SetMaxOpenConns(1)
	d.reading.SetMaxOpenConns(readers)
	return nil
}

func (d *postgresDatabase) write(f func(*tx)) error { return d.commit(writeLock, f) }

// commit takes a lock by a query, runs f and commits.
func (d *postgresDatabase) commit(lock string, f func(*tx)) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	t := newTx(ctx, postgresDialect, nil)
	t.timer, t.limit = time.AfterFunc(statementTimeout, cancel), statementTimeout
	defer t.timer.Stop()
	err := commit(t, d.writing, func(t *tx) {
		var synchronous, settings string
		if !t.get(lock, nil, &synchronous, &settings) {
			t.fail(errNoFeed)
		}
		if synchronous == "off" {
			t.fail(errAsync)
		}
		if t.err == nil {
			f(t)
		}
	})
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	return err
}

func (d *postgresDatabase) read(ctx context.Context, f func(*tx) error) error {
	return readFrom(newTx(ctx, postgresDialect, nil), d.reading, func(t *tx) error {
		t.exec(`SELECT ` + perTransaction)
		return f(t)
	})
}

func (d *postgresDatabase) lookup(ctx context.Context) *tx {
	return newTx(ctx, postgresDialect, d.reading)
}

// check asks the server whether it may be used. A restored or a promoted server is noticed by the change feed.
func (d *postgresDatabase) check(ctx context.Context) error {
	t := d.lookup(ctx)
	if faults := readServer(t).Faults; len(faults) > 0 {
		d.pool.Reset() // new connections may lead to another server
		return faults[0]
	}
	return t.err
}

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

// failed gives up the connections, since new ones may lead to another server, and notes when none could be made. Values
// that PostgreSQL cannot store, or that are too long, concern no other statement.
func (d *postgresDatabase) failed(err error) bool {
	if !errors.As(err, new(driverError)) {
		return false
	}
	if refused := new(pgconn.PgError); errors.As(err, &refused) && (strings.HasPrefix(refused.Code, "22") || strings.HasPrefix(refused.Code, "54")) {
		return false
	}
	last := d.lastFailure.Load()
	if errors.As(err, new(*pgconn.ConnectError)) && (last == nil || time.Since(last.at) >= dialPause) {
		d.lastFailure.Store(&failedDial{time.Now(), err})
	}
	d.pool.Reset()
	return true
}

var (
	// tableNames finds the tables in a statement. Every table of the schema has to be here.
	tableNames = regexp.MustCompile(`\b(FROM|JOIN|INTO|UPDATE|TABLE|VIEW|ON|REFERENCES)\s+(installation|keys|purchases|purchases_now|` +
		`terms|payments|payment_ids|events|event_ids|decisions|devices|feed|changes|schema_versions)\b`)
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
