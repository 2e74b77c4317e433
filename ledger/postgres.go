package ledger

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	// statementTimeout bounds each statement of a write. A server that is stopped answers nothing, so the deadline
	// has to be our own.
	statementTimeout = 2 * time.Second
	// dialPause is how long none dials after a connection could not be made. Without it a server that was stopped
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

// Errors of a server that may not be used.
var (
	errStandby  = errors.New("the server is a standby: its rows may be old")
	errReadOnly = errors.New("the server is read-only")
	errAsync    = errors.New("synchronous_commit is off, so that a payment which was acknowledged could be lost: " +
		"turn it on for this user, `ALTER ROLE … SET synchronous_commit = on`")
	errNotUTF8  = errors.New("the database is not in UTF-8: create one with ENCODING 'UTF8'")
	errNoAnswer = errors.New("the database server does not answer")
)

// ErrURL means that a PostgreSQL URL cannot be read. The URL holds a password, so nothing of it is in the error.
var ErrURL = errors.New("the URL of the database cannot be read: write postgres://user:password@host:5432/database, " +
	"with %-escapes for the special characters of the password")

// CheckURL reads the URL of a PostgreSQL database and returns its server and database, without user and
// password. It connects to nothing. Where it cannot be read, it returns ErrURL; a certificate that it names may be
// missing, too.
func CheckURL(rawURL string) (location string, err error) {
	config, err := parseURL(rawURL)
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(config.Host, "/") {
		return "postgres:" + config.Host + "/" + config.Database, nil
	}
	return "postgres://" + net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port))) + "/" + config.Database, nil
}

// HasPassword reports whether a URL holds a password, or may.
func HasPassword(rawURL string) bool {
	parsed, err := url.Parse(rawURL)
	if err != nil || isAmbiguous(rawURL) {
		return true
	}
	_, inAuthority := parsed.User.Password()
	return inAuthority || parsed.Query().Has("password") || parsed.Query().Has("sslpassword")
}

// isAmbiguous finds a password whose special characters are not escaped: a part of it would be taken for the server
// or the database, and shown. Space may hide a parameter.
func isAmbiguous(rawURL string) bool {
	_, rest, _ := strings.Cut(rawURL, "://")
	before, after := rest, ""
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		before, after = rest[:end], rest[end:]
	}
	return strings.Count(before, "@") > 1 || strings.Contains(after, "@") || strings.ContainsAny(rawURL, " \t\r\n")
}

func parseURL(rawURL string) (*pgx.ConnConfig, error) {
	if !strings.HasPrefix(rawURL, "postgres://") && !strings.HasPrefix(rawURL, "postgresql://") || isAmbiguous(rawURL) {
		return nil, ErrURL
	}
	config, err := pgx.ParseConfig(rawURL)
	var missing *fs.PathError
	switch {
	case errors.As(err, &missing):
		return nil, fmt.Errorf("a file that the URL of the database names cannot be read: %w", missing)
	case err != nil:
		return nil, ErrURL
	}
	// A transaction pooler gives each transaction another connection, so nothing is prepared.
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	config.StatementCacheCapacity, config.DescriptionCacheCapacity = 0, 0
	if config.ConnectTimeout == 0 || config.ConnectTimeout > statementTimeout {
		config.ConnectTimeout = statementTimeout
	}
	isOther := func(f *pgconn.FallbackConfig) bool { return f.Host != config.Host || f.Port != config.Port }
	if slices.ContainsFunc(config.Fallbacks, isOther) {
		// A server that does not answer leaves time to ask the next one, within that of a poll.
		tries := 1 + len(config.Fallbacks)
		config.ConnectTimeout = min(config.ConnectTimeout, pollTimeout*9/10/time.Duration(tries))
	}
	if config.ValidateConnect == nil {
		config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "caddy-axra"
	}
	return config, nil
}

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

func openPool(connector driver.Connector, size int) *sql.DB {
	pool := sql.OpenDB(connector)
	pool.SetMaxOpenConns(size)
	pool.SetMaxIdleConns(size)
	return pool
}

// warmUp makes the connections that read and are not there: the next visitors would wait for them.
func (d *postgresDatabase) warmUp(ctx context.Context) error {
	var made []*sql.Conn
	defer func() {
		for _, conn := range made {
			conn.Close() // it goes back to the pool
		}
	}()
	for range readers - d.reading.Stats().InUse {
		conn, err := d.reading.Conn(ctx)
		if err != nil {
			return err
		}
		made = append(made, conn)
	}
	return nil
}

// refill replaces the connections that were lost: by a fault, or as somebody hung up amid a query.
func (d *postgresDatabase) refill() {
	if d.reading.Stats().OpenConnections >= readers || !d.refilling.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer d.refilling.Store(false)
		ctx, cancel := context.WithTimeout(context.Background(), statementTimeout)
		defer cancel()
		_ = d.warmUp(ctx) // the next check tries again
	}()
}

func (d *postgresDatabase) migrate(migrate func(context.Context, *tx) (bool, error)) (created bool, err error) {
	err = d.commit(`SELECT current_setting('synchronous_commit'), `+perTransaction+` || `+yieldToReaders+`
		FROM pg_advisory_xact_lock($1)`, []any{migrationLock}, func(ctx context.Context, tx *tx) error {
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

// transaction is serial in the whole database: each begins with the lock of the feed's only row. READ COMMITTED is
// named, as with another default a statement would not see what was committed while it waited for the lock.
func (d *postgresDatabase) transaction(f func(context.Context, *tx) error) error {
	return d.commit(`SELECT current_setting('synchronous_commit'), `+perTransaction+` FROM feed FOR UPDATE`, nil, f)
}

// planByIndex makes the rest of a transaction join tables in the order in which they are written, by indexes, as
// SQLite does. With a million payments PostgreSQL would read whole tables: a month's report took 1.4 s instead of 0.2 s.
const planByIndex = `set_config('join_collapse_limit', '1', true) || set_config('enable_seqscan', 'off', true) ||
	set_config('enable_hashjoin', 'off', true) || set_config('enable_mergejoin', 'off', true) || set_config('jit', 'off', true)`

// perTransaction are the settings of a transaction.
const perTransaction = planByIndex + ` || ` + forgetAfter

// commit takes a lock by a query that returns synchronous_commit, runs f and commits.
func (d *postgresDatabase) commit(lock string, args []any, f func(context.Context, *tx) error) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	statements := &postgresTransaction{limit: statementTimeout}
	statements.deadline = time.AfterFunc(statements.limit, func() { cancel(errNoAnswer) })
	defer statements.deadline.Stop()
	err := d.commitWith(ctx, statements, lock, args, f)
	if err != nil && context.Cause(ctx) == errNoAnswer { //nolint:errorlint // it is not wrapped
		return fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	return err
}

func (d *postgresDatabase) commitWith(ctx context.Context, s *postgresTransaction, lock string, args []any, f func(context.Context, *tx) error) error {
	begun, err := d.begin(ctx, s, lock, args)
	if err != nil {
		return err
	}
	if err := f(ctx, &tx{statements: s}); err != nil {
		begun.Rollback() //nolint:errcheck // the connection may be lost
		return err
	}
	s.extend()
	if err := begun.Commit(); err != nil {
		// If the connection broke, the outcome is not known.
		return fmt.Errorf("committing: %w", err)
	}
	return nil
}

// begin begins a transaction and takes its lock. The connection may have been lost since it was last used, so it
// tries once more.
func (d *postgresDatabase) begin(ctx context.Context, s *postgresTransaction, lock string, args []any) (*sql.Tx, error) {
	for try := 1; ; try++ {
		begun, err := d.writing.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
		var synchronous, settings string
		if err == nil {
			s.postgresQueries = postgresQueries{begun}
			err = s.QueryRowContext(ctx, lock, args...).Scan(&synchronous, &settings)
		}
		if err == nil && synchronous == "off" {
			err = errAsync
		}
		if err == nil {
			return begun, nil
		}
		if begun != nil {
			begun.Rollback() //nolint:errcheck // nothing was written
		}
		isLost := d.isLost(err)
		if isLost {
			dropIdle(d.writing, 1)
		}
		if try > 1 || ctx.Err() != nil || !isLost {
			return nil, fmt.Errorf("beginning a transaction: %w", err)
		}
	}
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
	defer begun.Rollback() //nolint:errcheck // nothing was written
	if _, err := begun.ExecContext(ctx, `SELECT `+settings); err != nil {
		return err
	}
	return f(postgresQueries{begun})
}

func (d *postgresDatabase) lookup() *tx { return &tx{statements: postgresQueries{d.reading}} }

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
		dropIdle(d.writing, 1)
		dropIdle(d.reading, readers)
		return err
	}
	d.refill()
	return nil
}

// checkPlace has nothing to add: a connection leads to one server for as long as it lasts.
func (d *postgresDatabase) checkPlace(context.Context) error { return nil }

// reconnects also closes the idle connections: most often, they were lost with this one.
func (d *postgresDatabase) reconnects(err error) bool {
	if !d.isLost(err) {
		return false
	}
	dropIdle(d.reading, readers)
	return true
}

// dropIdle closes the idle connections of a pool. New ones may lead to another server.
func dropIdle(pool *sql.DB, size int) {
	pool.SetMaxIdleConns(0)
	pool.SetMaxIdleConns(size)
}

func (d *postgresDatabase) isLost(err error) bool {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Severity == "FATAL" || refused.Code == readOnlyTransaction ||
			strings.HasPrefix(refused.Code, "08") || strings.HasPrefix(refused.Code, "57P")
	}
	var failed *pgconn.ConnectError
	var broken net.Error // such as a deadline that has passed
	if errors.As(err, &failed) || errors.As(err, &broken) {
		return true
	}
	return slices.ContainsFunc(lostErrors, func(known error) bool { return errors.Is(err, known) })
}

// readOnlyTransaction is what a server says that became a standby: another one may take its place.
const readOnlyTransaction = "25006"

// lostErrors are those of connections that are closed.
var lostErrors = []error{driver.ErrBadConn, sql.ErrConnDone, pgconn.ErrConnClosed, net.ErrClosed, io.EOF, io.ErrUnexpectedEOF, context.Canceled}

// isFault leaves out values that are none for PostgreSQL, or too long.
func (d *postgresDatabase) isFault(err error) bool {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return !strings.HasPrefix(refused.Code, "22") && !strings.HasPrefix(refused.Code, "54")
	}
	return d.isLost(err)
}

// close does not wait for a server that does not answer: to take leave of it takes five seconds a connection.
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

// pausingConnector does not connect for a while after a connection could not be made.
type pausingConnector struct {
	driver.Connector

	mu     sync.Mutex
	failed time.Time
	err    error
}

func (c *pausingConnector) Connect(ctx context.Context) (driver.Conn, error) {
	if err := c.lastError(); err != nil {
		return nil, err
	}
	conn, err := c.Connector.Connect(ctx)
	if err != nil && !errors.Is(ctx.Err(), context.Canceled) { // whoever hangs up has learnt nothing
		c.mu.Lock()
		defer c.mu.Unlock()
		c.failed, c.err = time.Now(), err
	}
	return conn, err
}

func (c *pausingConnector) lastError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.failed) < dialPause {
		return c.err
	}
	return nil
}

// postgresQueries runs queries with the schema before the names of the tables.
type postgresQueries struct{ on queries }

func (q postgresQueries) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return q.on.ExecContext(ctx, qualify(query), storable(args)...)
}

func (q postgresQueries) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return q.on.QueryContext(ctx, qualify(query), storable(args)...)
}

func (q postgresQueries) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return q.on.QueryRowContext(ctx, qualify(query), storable(args)...)
}

// runScript runs statements without arguments, which pgx sends as they are.
func (q postgresQueries) runScript(ctx context.Context, script string) error {
	_, err := q.on.ExecContext(ctx, qualify(script))
	return err
}

// waitUpTo does nothing: the context of who reads has a deadline.
func (q postgresQueries) waitUpTo(time.Duration) {}

// postgresTransaction gives every statement its own time.
type postgresTransaction struct {
	postgresQueries
	deadline *time.Timer
	limit    time.Duration
}

func (t *postgresTransaction) extend() { t.deadline.Reset(t.limit) }

func (t *postgresTransaction) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	t.extend()
	return t.postgresQueries.ExecContext(ctx, query, args...)
}

func (t *postgresTransaction) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	t.extend()
	return t.postgresQueries.QueryContext(ctx, query, args...)
}

func (t *postgresTransaction) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	t.extend()
	return t.postgresQueries.QueryRowContext(ctx, query, args...)
}

func (t *postgresTransaction) runScript(ctx context.Context, script string) error {
	t.extend()
	return t.postgresQueries.runScript(ctx, script)
}

func (t *postgresTransaction) waitUpTo(limit time.Duration) { t.limit = limit }

// postgresDialect keeps the order of text as SQLite and Go have it, whatever the database's language is.
var postgresDialect = dialect{
	tables: `SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = 'axra'`,
	migrate: strings.NewReplacer(
		" TEXT ", ` TEXT COLLATE "C" `,
		" WITHOUT ROWID", "",
		"strftime('%s', 'now')", "EXTRACT(EPOCH FROM now())",
	).Replace,
	analyze: `ANALYZE axra.purchases, axra.terms, axra.payments, axra.payment_ids, axra.events, axra.event_ids, axra.devices`,
}

// unqualified finds the tables in a statement. Every table of the schema has to be here.
var unqualified = regexp.MustCompile(`\b(FROM|JOIN|INTO|UPDATE|TABLE|VIEW|ON|REFERENCES)\s+(installation|keys|purchases|purchases_now|` +
	`terms|payments|payment_ids|events|event_ids|decisions|devices|claims|feed|changes|schema_versions)\b`)

// qualified holds every query with the schema before its tables.
var qualified sync.Map // string to string

// qualify puts the schema before the tables: through a transaction pooler, the search path may be that of another
// program. The queries stay readable, and the same for both databases.
func qualify(query string) string {
	if known, ok := qualified.Load(query); ok {
		return known.(string)
	}
	result := unqualified.ReplaceAllString(query, "$1 axra.$2")
	qualified.Store(query, result)
	return result
}

// storable replaces what PostgreSQL takes for no text: a webhook with such an id could never be stored.
func storable(args []any) []any {
	for i, arg := range args {
		if text, ok := arg.(string); ok {
			args[i] = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
		}
	}
	return args
}
