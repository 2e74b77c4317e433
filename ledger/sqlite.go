package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	// readers is the number of connections that read.
	readers = 4
	// busyTimeout is how long a write waits for another process. It is shorter than a webhook's deadline.
	busyTimeout = 2 * time.Second
	// readBusyTimeout is short: in WAL mode only a recovery or an exclusive lock makes a reader wait.
	readBusyTimeout = 500 * time.Millisecond
)

// sqliteDatabase is one opened SQLite file: a connection that writes and a pool that reads.
type sqliteDatabase struct {
	path  string
	files *files

	writing  *sql.DB
	writer   *sql.Conn            // the one connection of writing
	prepared map[string]*sql.Stmt // of writer; only the writer's goroutine uses it

	reading        *sql.DB
	preparedToRead sync.Map // of reading: query to *sql.Stmt
}

// openSQLite opens the file at path and runs migrate in a transaction that holds the write lock.
func openSQLite(ctx context.Context, path string, pragmas []string, migrate func(context.Context, *tx) (bool, error)) (_ database, created bool, err error) {
	if err := prepareFile(path); err != nil {
		return nil, false, err
	}
	db := &sqliteDatabase{path: path, prepared: map[string]*sql.Stmt{}}
	defer func() {
		if err != nil {
			_ = db.close()
		}
	}()
	if err := retryBusy(ctx, func() error { return db.connectWriter(ctx, pragmas) }); err != nil {
		return nil, false, err
	}
	err = db.commit(func(ctx context.Context, tx *tx) (err error) {
		created, err = migrate(ctx, tx)
		return err
	})
	if err != nil {
		return nil, false, err
	}
	// The files are known before the readers connect, so that no reader opens another file unnoticed.
	if db.files, err = findFiles(path); err != nil {
		return nil, false, err
	}
	if err := retryBusy(ctx, func() error { return db.connectReaders(ctx) }); err != nil {
		return nil, false, err
	}
	return db, created, db.check(ctx)
}

// prepareFile creates the file with mode 0600, as SQLite would follow the umask. An existing file is not
// opened: closing it would drop the locks of another handle in this process.
func prepareFile(path string) error {
	if !filepath.IsAbs(path) {
		return errNotAbsolute
	}
	directory := filepath.Dir(path)
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return err
	}
	if err := checkFileSystem(directory); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600) //nolint:gosec // the operator's own path
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return file.Close()
}

// dsn sets every pragma in the DSN, as a statement would reach only one connection of a pool.
func dsn(path string, busy time.Duration, pragmas ...string) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // of Windows: file:///C:/
	}
	query := url.Values{
		"mode":    {"rw"}, // a file that was deleted meanwhile is not created anew
		"_txlock": {"immediate"},
		"_pragma": append([]string{
			fmt.Sprintf("busy_timeout(%d)", busy.Milliseconds()),
			"journal_mode(WAL)",
			"synchronous(FULL)",
			"foreign_keys(1)",
			"temp_store(MEMORY)",
			"wal_autocheckpoint(4000)",
			"cache_size(-16000)",
		}, pragmas...),
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}).String()
}

func (d *sqliteDatabase) connectWriter(ctx context.Context, pragmas []string) error {
	connector, err := sqlite.NewConnector(dsn(d.path, busyTimeout, pragmas...))
	if err != nil {
		return err
	}
	d.writing = sql.OpenDB(connector)
	d.writing.SetMaxOpenConns(1)
	if d.writer, err = d.writing.Conn(ctx); err != nil {
		d.writing.Close()
		d.writing = nil
	}
	return err
}

// connectReaders opens all connections at once: one that is opened later might open another file.
func (d *sqliteDatabase) connectReaders(ctx context.Context) error {
	base, err := sqlite.NewConnector(dsn(d.path, readBusyTimeout, "query_only(1)"))
	if err != nil {
		return err
	}
	d.reading = sql.OpenDB(connector{base, d})
	d.reading.SetMaxOpenConns(readers)
	d.reading.SetMaxIdleConns(readers)
	conns := make([]*sql.Conn, readers)
	for i := range conns {
		if conns[i], err = d.reading.Conn(ctx); err != nil {
			break
		}
	}
	for _, conn := range conns {
		if conn != nil {
			conn.Close() // it goes back to the pool
		}
	}
	if err != nil {
		d.reading.Close()
		d.reading = nil
	}
	return err
}

// connector refuses to connect once the path leads to another file. A reader whose query was interrupted is
// replaced by a new one at any time.
type connector struct {
	driver.Connector
	db *sqliteDatabase
}

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.db.files.checkIdentity(); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// close closes all connections and waits for those in use.
func (d *sqliteDatabase) close() error {
	var errs []error
	if d.reading != nil {
		errs = append(errs, d.reading.Close())
		for deadline := time.Now().Add(2 * readTimeout); d.reading.Stats().OpenConnections > 0 && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
	}
	for _, statement := range d.prepared {
		statement.Close()
	}
	if d.writer != nil {
		d.writer.Close()
	}
	if d.writing != nil {
		errs = append(errs, d.writing.Close())
	}
	return errors.Join(errs...)
}

// retryBusy repeats f while another process opens the database: switching to WAL does not wait for locks.
func retryBusy(ctx context.Context, f func() error) error {
	for {
		err := f()
		if err == nil || !isBusy(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func isBusy(err error) bool {
	var failure *sqlite.Error
	return errors.As(err, &failure) && failure.Code()&0xff == sqlite3.SQLITE_BUSY
}

// sqliteDialect is that of the scripts, which are written for SQLite.
var sqliteDialect = dialect{
	tables:  `SELECT name FROM sqlite_master WHERE type = 'table'`,
	migrate: func(script string) string { return script },
	analyze: `SELECT 1`, // the queries say their order
}

// transaction also checks the path, before anybody is told that something is stored.
func (d *sqliteDatabase) transaction(f func(context.Context, *tx) error) error {
	err := d.commit(func(ctx context.Context, tx *tx) error {
		if counted, err := tx.affects(ctx, countWrite); err != nil || counted != 1 {
			return cmp.Or(err, errNoFeed)
		}
		return f(ctx, tx)
	})
	if err != nil {
		return err
	}
	return d.check(context.Background())
}

// commit runs f with the write lock and commits. Its statements get a context that cannot be cancelled: a COMMIT
// that reports "canceled" may have been carried out.
func (d *sqliteDatabase) commit(f func(context.Context, *tx) error) error {
	ctx := context.Background()
	begun, err := d.writer.BeginTx(ctx, &sql.TxOptions{})
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	if err := f(ctx, &tx{statements: sqliteStatements{d.writer, d.prepare}}); err != nil {
		begun.Rollback() //nolint:errcheck // SQLite may have rolled back by itself
		return err
	}
	if err := begun.Commit(); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return nil
}

func (d *sqliteDatabase) read(ctx context.Context, f func(context.Context, *tx) error) error {
	begun, err := d.reading.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer begun.Rollback() //nolint:errcheck // nothing was written
	// Statements are prepared in the transaction. To prepare them for all connections takes another connection,
	// and a burst would wait for itself.
	return f(ctx, &tx{statements: sqliteStatements{begun, begun.PrepareContext}})
}

func (d *sqliteDatabase) lookup() *tx {
	return &tx{statements: sqliteStatements{d.reading, d.prepareToRead}}
}

func (d *sqliteDatabase) check(ctx context.Context) error { return d.checkPlace(ctx) }

func (d *sqliteDatabase) checkPlace(ctx context.Context) error { return d.files.check(ctx, d.lookup()) }

// isLost is never true: there are no connections to another process.
func (d *sqliteDatabase) isLost(error) bool { return false }

func (d *sqliteDatabase) dropIdle() {}

func (d *sqliteDatabase) isFault(err error) bool {
	var failure *sqlite.Error
	return errors.As(err, &failure)
}

// prepare prepares a query for the writing connection.
func (d *sqliteDatabase) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if statement, ok := d.prepared[query]; ok {
		return statement, nil
	}
	statement, err := d.writer.PrepareContext(ctx, query)
	if err == nil {
		d.prepared[query] = statement
	}
	return statement, err
}

// prepareToRead prepares a query for the reading connections.
func (d *sqliteDatabase) prepareToRead(ctx context.Context, query string) (*sql.Stmt, error) {
	if statement, ok := d.preparedToRead.Load(query); ok {
		return statement.(*sql.Stmt), nil
	}
	statement, err := d.reading.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	if other, loaded := d.preparedToRead.LoadOrStore(query, statement); loaded {
		statement.Close()
		return other.(*sql.Stmt), nil
	}
	return statement, nil
}

// sqliteStatements prepares every query once for each connection.
type sqliteStatements struct {
	unprepared queries
	prepare    func(ctx context.Context, query string) (*sql.Stmt, error)
}

func (s sqliteStatements) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	statement, err := s.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return statement.ExecContext(ctx, args...)
}

// QueryContext runs a query. The caller closes the rows.
func (s sqliteStatements) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	statement, err := s.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return statement.QueryContext(ctx, args...)
}

func (s sqliteStatements) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	statement, err := s.prepare(ctx, query)
	if err != nil {
		// The row reports why the query cannot be prepared.
		return s.unprepared.QueryRowContext(ctx, query, args...)
	}
	return statement.QueryRowContext(ctx, args...)
}

func (s sqliteStatements) runScript(ctx context.Context, script string) error {
	_, err := s.unprepared.ExecContext(ctx, script)
	return err
}

// waitUpTo does nothing: a file answers, or fails.
func (s sqliteStatements) waitUpTo(time.Duration) {}
