package ledger

import (
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
	rewrite:     func(query string) string { return query },
	tables:      `SELECT name FROM sqlite_master WHERE type = 'table'`,
	migrate:     func(script string) string { return script },
	list:        `json_each($1)`,
	analyze:     `SELECT 1`,                         // the queries say their order
	writeLock:   countWrite + ` RETURNING 'on', ''`, // the transaction has the lock from its beginning
	migrateLock: `SELECT 'on', ''`,
}

// openSQLite opens the file at path and runs migrate in a transaction that holds the write lock.
func openSQLite(ctx context.Context, path string, pragmas []string, migrate func(*tx)) (_ *database, err error) {
	if err := prepareFile(path); err != nil {
		return nil, err
	}
	db := &database{
		dialect: sqliteDialect, failed: func(err error) bool { return codeOf(err) != 0 }, release: func() {},
		writing: openPool(1, dsn(path, busyTimeout, pragmas...)), reading: openPool(readers, dsn(path, readBusyTimeout, "query_only(1)")),
	}
	defer func() {
		if err != nil {
			_ = db.close()
		}
	}()
	if err := warmUp(ctx, db.writing, 1); err != nil {
		return nil, err
	}
	if err := db.commit(db.migrateLock, migrate); err != nil {
		return nil, err
	}
	opened, err := findFiles(path)
	if err != nil {
		return nil, err
	}
	db.committed, db.check = opened.check, func(context.Context) error { return opened.check() }
	if err := warmUp(ctx, db.reading, readers); err != nil {
		return nil, err
	}
	return db, opened.check()
}

// dsn sets every pragma in the DSN, as a statement would reach only one connection of a pool.
func dsn(path string, busy time.Duration, pragmas ...string) string {
	options := url.Values{
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
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // of Windows: file:///C:/
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: options.Encode()}).String()
}

func openPool(size int, dsn string) *sql.DB {
	pool, _ := sql.Open("sqlite", dsn) // the driver is registered
	pool.SetMaxOpenConns(size)
	pool.SetMaxIdleConns(size)
	return pool
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

// codeOf is the primary result code of an SQLite error; 0: it is none.
func codeOf(err error) int {
	if failure := new(sqlite.Error); errors.As(err, &failure) {
		return failure.Code() & 0xff
	}
	return 0
}
