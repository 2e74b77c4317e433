package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
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

var sqliteDialect = dialect{
	tables:  `SELECT name FROM sqlite_master WHERE type = 'table'`,
	migrate: func(script string) string { return script },
	list:    `json_each($1)`,
	analyze: `SELECT 1`, // the queries say their order
}

// sqliteDatabase is one opened SQLite file: a connection that writes and a pool that reads.
type sqliteDatabase struct {
	path  string
	files *files

	writing *sql.DB
	writer  *sql.Conn // the one connection of writing
	writes  *prepared // on writer
	reading *sql.DB
	lookups *prepared // on reading
}

// openSQLite opens the file at path and runs migrate in a transaction that holds the write lock.
func openSQLite(ctx context.Context, path string, pragmas []string, migrate func(*tx)) (_ database, err error) {
	if err := prepareFile(path); err != nil {
		return nil, err
	}
	db := &sqliteDatabase{path: path}
	defer func() {
		if err != nil {
			_ = db.close()
		}
	}()
	if db.writing, err = openFile(1, dsn(path, busyTimeout, pragmas...)); err != nil {
		return nil, err
	}
	err = retryBusy(ctx, func() (err error) {
		db.writer, err = db.writing.Conn(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	db.writes = &prepared{on: db.writer}
	if err := db.commit(migrate); err != nil {
		return nil, err
	}
	if db.files, err = findFiles(path); err != nil {
		return nil, err
	}
	if db.reading, err = openFile(readers, dsn(path, readBusyTimeout, "query_only(1)")); err != nil {
		return nil, err
	}
	db.lookups = &prepared{on: db.reading}
	if err := retryBusy(ctx, func() error { return warmUp(ctx, db.reading, readers) }); err != nil {
		return nil, err
	}
	return db, db.check(ctx)
}

// dsn sets every pragma in the DSN, as a statement would reach only one connection of a pool.
func dsn(path string, busy time.Duration, pragmas ...string) string {
	return plainDSN(path, url.Values{
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
	})
}

// plainDSN opens a file without changing its journal mode.
func plainDSN(path string, options url.Values) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // of Windows: file:///C:/
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: options.Encode()}).String()
}

func openFile(connections int, dsn string) (*sql.DB, error) {
	connector, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	return openPool(connector, connections), nil
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
	if d.writer != nil {
		d.writes.close()
		errs = append(errs, d.writer.Close())
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
		if err == nil || codeOf(err) != sqlite3.SQLITE_BUSY {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// codeOf is the primary result code of an SQLite error; 0: it is none.
func codeOf(err error) int {
	var failure *sqlite.Error
	if !errors.As(err, &failure) {
		return 0
	}
	return failure.Code() & 0xff
}

// write also checks the path, before the write is acknowledged.
func (d *sqliteDatabase) write(f func(*tx)) error {
	err := d.commit(func(t *tx) {
		if t.exec(countWrite) != 1 {
			t.fail(errNoFeed)
		}
		f(t)
	})
	if err != nil {
		return err
	}
	return d.check(context.Background())
}

// commit runs f with the write lock and commits. Its statements get a context that cannot be cancelled: a COMMIT that
// reports "canceled" may have been carried out.
func (d *sqliteDatabase) commit(f func(*tx)) error {
	t := &tx{ctx: context.Background(), db: d.writes}
	begun, err := d.writer.BeginTx(t.ctx, nil)
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	if f(t); t.err != nil {
		begun.Rollback() //nolint:errcheck // SQLite may have rolled back by itself
		return t.err
	}
	if err := begun.Commit(); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return nil
}

// read prepares its statements in the transaction: to prepare them for all connections takes another connection, and
// a burst would wait for itself.
func (d *sqliteDatabase) read(ctx context.Context, f func(*tx)) error {
	return readFrom(ctx, d.reading, func(begun *sql.Tx) *tx { return &tx{ctx: ctx, db: begun} }, f)
}

// readFrom runs f in a transaction that sees one state of a database.
func readFrom(ctx context.Context, pool *sql.DB, newTx func(*sql.Tx) *tx, f func(*tx)) error {
	begun, err := pool.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return err
	}
	defer begun.Rollback() //nolint:errcheck // nothing was written
	t := newTx(begun)
	f(t)
	return t.err
}

func (d *sqliteDatabase) lookup(ctx context.Context) *tx { return &tx{ctx: ctx, db: d.lookups} }

func (d *sqliteDatabase) check(ctx context.Context) error { return d.files.check(d.lookup(ctx)) }

// kindOf knows no lost connections: there is no other process.
func (d *sqliteDatabase) kindOf(err error) errorKind {
	if codeOf(err) != 0 {
		return databaseError
	}
	return ownError
}

func (d *sqliteDatabase) dropIdle() {}

// prepared prepares every query once, for a connection or for each of a pool.
type prepared struct {
	on interface {
		PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
	}
	statements sync.Map // query to *sql.Stmt
}

func (p *prepared) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if known, ok := p.statements.Load(query); ok {
		return known.(*sql.Stmt), nil
	}
	statement, err := p.on.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	if other, loaded := p.statements.LoadOrStore(query, statement); loaded {
		statement.Close()
		return other.(*sql.Stmt), nil
	}
	return statement, nil
}

func (p *prepared) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	statement, err := p.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return statement.ExecContext(ctx, args...)
}

// QueryContext runs a query. The caller closes the rows.
func (p *prepared) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	statement, err := p.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return statement.QueryContext(ctx, args...)
}

func (p *prepared) close() {
	p.statements.Range(func(_, statement any) bool {
		statement.(*sql.Stmt).Close()
		return true
	})
}
