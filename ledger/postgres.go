package ledger

import (
	"context"
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
	// perTransaction are settings, joined so that they are one column. The rest of a transaction joins tables in the
	// order in which they are written, by indexes, as SQLite does: with a million payments PostgreSQL would read whole
	// tables, and a month's report took 1.4 s instead of 0.2 s. A transaction whose node went silent is ended, or every
	// other node would wait for its lock for hours.
	perTransaction = `set_config('join_collapse_limit', '1', true) || set_config('enable_seqscan', 'off', true) ||
		set_config('enable_hashjoin', 'off', true) || set_config('enable_mergejoin', 'off', true) || set_config('jit', 'off', true) ||
		set_config('idle_in_transaction_session_timeout', '5s', true)`
	// yieldToReaders gives up a migration that waits for a reader, such as an export: every other look-up would wait
	// behind it. It is tried again a second later.
	yieldToReaders = `SET LOCAL lock_timeout = '500ms'`
)

// postgresDialect keeps the order of text as SQLite and Go have it, whatever the database's language is.
var postgresDialect = &dialect{
	rewrite:  qualify,
	settings: perTransaction,
	// Each write changes the feed's only row first.
	writeLock:   countWrite + ` RETURNING current_setting('synchronous_commit'), ` + perTransaction,
	migrateLock: `SELECT current_setting('synchronous_commit'), ` + perTransaction + ` FROM pg_advisory_xact_lock(1635283553)`, // "axra"
	timeout:     statementTimeout,
	tables:      `SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = 'axra'`,
	migrate: strings.NewReplacer(
		" TEXT ", ` TEXT COLLATE "C" `,
		" WITHOUT ROWID", "",
		"strftime('%s', 'now')", "EXTRACT(EPOCH FROM now())",
		"lower(hex(randomblob(16)))", "replace(CAST(gen_random_uuid() AS TEXT), '-', '')",
	).Replace,
	list:    `json_array_elements(CAST($1 AS json))`,
	analyze: `ANALYZE axra.purchases, axra.terms, axra.payments, axra.payment_ids, axra.events, axra.event_ids, axra.devices`,
}

// server is the way to a PostgreSQL server.
type server struct {
	pool        *pgxpool.Pool
	lastFailure atomic.Pointer[failedDial]
}

type failedDial struct {
	at  time.Time
	err error
}

// openPostgres connects and runs migrate in a transaction that holds the lock of migrations.
func openPostgres(ctx context.Context, rawURL string, migrate func(*tx)) (*database, error) {
	s := new(server)
	if err := s.connect(rawURL); err != nil {
		return nil, err
	}
	db := &database{
		dialect: postgresDialect, writing: stdlib.OpenDBFromPool(s.pool), reading: stdlib.OpenDBFromPool(s.pool),
		committed: func() error { return nil }, failed: s.failed, release: s.pool.Close,
	}
	db.writing.SetMaxOpenConns(1)
	db.reading.SetMaxOpenConns(readers)
	// A restored or a promoted server is noticed by the change feed.
	db.check = func(ctx context.Context) error {
		t := db.lookup(ctx)
		if faults := readServer(t).Faults; len(faults) > 0 {
			s.pool.Reset() // new connections may lead to another server
			return faults[0]
		}
		return t.err
	}
	err := db.check(ctx)
	if err == nil {
		err = db.commit(db.migrateLock, func(t *tx) {
			t.exec(yieldToReaders)
			if len(t.texts(`SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname = 'axra'`)) == 0 {
				t.exec(`CREATE SCHEMA axra`)
			}
			migrate(t)
		})
	}
	if err != nil {
		_ = db.close()
		return nil, err
	}
	return db, nil
}

// connect makes the pool of connections, which are always as many: a cold one cost half a second at the 99th percentile.
func (s *server) connect(rawURL string) error {
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
		if last := s.lastFailure.Load(); last != nil && time.Since(last.at) < dialPause {
			return last.err
		}
		return nil
	}
	s.pool, err = pgxpool.NewWithConfig(context.Background(), config)
	return err
}

// failed gives up the connections, since new ones may lead to another server, and notes when none could be made. Values
// that PostgreSQL cannot store, or that are too long, concern no other statement.
func (s *server) failed(err error) bool {
	if !errors.As(err, new(driverError)) {
		return false
	}
	if refused := new(pgconn.PgError); errors.As(err, &refused) && (strings.HasPrefix(refused.Code, "22") || strings.HasPrefix(refused.Code, "54")) {
		return false
	}
	last := s.lastFailure.Load()
	if errors.As(err, new(*pgconn.ConnectError)) && (last == nil || time.Since(last.at) >= dialPause) {
		s.lastFailure.Store(&failedDial{time.Now(), err})
	}
	s.pool.Reset()
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
