package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
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

var sqliteDialect = &dialect{
	rewrite: func(query string) string { return query },
	tables:  `SELECT name FROM sqlite_master WHERE type = 'table'`,
	migrate: func(script string) string { return script },
	list:    `json_each($1)`,
	analyze: `SELECT 1`, // the queries say their order
}

// sqliteDatabase is one opened SQLite file: a connection that writes and a pool that reads.
type sqliteDatabase struct {
	files            *files
	writing, reading *sql.DB
}

// openSQLite opens the file at path and runs migrate in a transaction that holds the write lock.
func openSQLite(ctx context.Context, path string, pragmas []string, migrate func(*tx)) (_ database, err error) {
	if err := prepareFile(path); err != nil {
		return nil, err
	}
	db := &sqliteDatabase{}
	defer func() {
		if err != nil {
			_ = db.close()
		}
	}()
	if db.writing, err = openFile(ctx, 1, dsn(path, busyTimeout, pragmas...)); err != nil {
		return nil, err
	}
	if err := commit(newTx(context.Background(), sqliteDialect, nil), db.writing, migrate); err != nil {
		return nil, err
	}
	if db.files, err = findFiles(path); err != nil {
		return nil, err
	}
	if db.reading, err = openFile(ctx, readers, dsn(path, readBusyTimeout, "query_only(1)")); err != nil {
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

func openFile(ctx context.Context, size int, dsn string) (*sql.DB, error) {
	pool, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(size)
	pool.SetMaxIdleConns(size)
	return pool, warmUp(ctx, pool, size)
}

// warmUp makes n connections now, as a later one could find another file at the path. While another process opens the
// database, it tries again: switching to WAL does not wait for locks.
func warmUp(ctx context.Context, pool *sql.DB, n int) error {
	if n == 0 {
		return nil
	}
	conn, err := pool.Conn(ctx)
	for codeOf(err) == sqlite3.SQLITE_BUSY && ctx.Err() == nil {
		time.Sleep(20 * time.Millisecond)
		conn, err = pool.Conn(ctx)
	}
	if err != nil {
		return err
	}
	defer conn.Close() // it goes back to the pool
	return warmUp(ctx, pool, n-1)
}

// close closes all connections and waits for those in use.
func (d *sqliteDatabase) close() (err error) {
	for _, pool := range []*sql.DB{d.reading, d.writing} {
		if pool == nil {
			continue
		}
		err = cmp.Or(err, pool.Close())
		for deadline := time.Now().Add(2 * readTimeout); pool.Stats().OpenConnections > 0 && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
	}
	return err
}

// codeOf is the primary result code of an SQLite error; 0: it is none.
func codeOf(err error) int {
	if failure := new(sqlite.Error); errors.As(err, &failure) {
		return failure.Code() & 0xff
	}
	return 0
}

// write also checks the path, before the write is acknowledged. Its statements get a context that cannot be cancelled: a
// COMMIT that reports "canceled" may have been carried out.
func (d *sqliteDatabase) write(f func(*tx)) error {
	err := commit(newTx(context.Background(), sqliteDialect, nil), d.writing, func(t *tx) {
		if t.exec(countWrite) != 1 {
			t.fail(errNoFeed)
		}
		f(t)
	})
	return cmp.Or(err, d.check(context.Background()))
}

// commit runs f in a transaction and commits.
func commit(t *tx, pool *sql.DB, f func(*tx)) error {
	// READ COMMITTED is named, as with another default PostgreSQL would not see what was committed during its wait for a lock.
	begun, err := pool.BeginTx(t.ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", driverError{err})
	}
	t.db = begun
	if f(t); t.err != nil {
		begun.Rollback() //nolint:errcheck // the database may have rolled back by itself, or its connection may be lost
		return t.err
	}
	t.waitUpTo(t.limit)
	if err := begun.Commit(); err != nil { // if a connection breaks, the outcome is not known
		return fmt.Errorf("committing: %w", driverError{err})
	}
	return nil
}

func (d *sqliteDatabase) read(ctx context.Context, f func(*tx) error) error {
	return readFrom(newTx(ctx, sqliteDialect, nil), d.reading, f)
}

// readFrom runs f in a transaction that sees one state of a database.
func readFrom(t *tx, pool *sql.DB, f func(*tx) error) error {
	begun, err := pool.BeginTx(t.ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return driverError{err}
	}
	defer begun.Rollback() //nolint:errcheck // nothing was written
	t.db = begun
	err = f(t)
	return cmp.Or(t.err, err)
}

func (d *sqliteDatabase) lookup(ctx context.Context) *tx { return newTx(ctx, sqliteDialect, d.reading) }

func (d *sqliteDatabase) check(context.Context) error { return d.files.check() }

func (d *sqliteDatabase) failed(err error) bool { return codeOf(err) != 0 }
