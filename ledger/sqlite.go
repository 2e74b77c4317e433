package ledger

import (
	"cmp"
	"context"
	"database/sql"
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

var fileSuffixes = [...]string{"", "-wal", "-shm"}

// CheckLocation reports why a ledger cannot be at a path: a relative path, a directory that is none, or a network file
// system. Open makes directories that are missing; then the nearest one that exists is looked at. It opens and creates
// nothing.
func CheckLocation(path string) error {
	if !filepath.IsAbs(path) {
		return errors.New("the path must be absolute")
	}
	directory := existingDirectory(path)
	if info, err := os.Stat(directory); err != nil || !info.IsDir() {
		return cmp.Or(err, fmt.Errorf("%s is not a directory", directory))
	}
	if info, err := os.Stat(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	} else if err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file", path)
	}
	return checkFileSystem(directory)
}

// existingDirectory is the nearest existing directory above a path, or what is in its place.
func existingDirectory(path string) string {
	directory := filepath.Dir(path)
	if _, err := os.Stat(directory); errors.Is(err, fs.ErrNotExist) && directory != path {
		return existingDirectory(directory)
	}
	return directory
}

// CheckFile checks a place for the file of a ledger. It opens and creates nothing.
func CheckFile(path string) (exists bool, faults []*Fault) {
	if err := CheckLocation(path); err != nil {
		return false, []*Fault{{
			Problem: "no ledger can be there: " + err.Error(),
			Fix:     "write `database sqlite` with an absolute path on a local disk, such as /var/lib/axra/ledger.db, which Caddy's user can read",
		}}
	}
	_, err := os.Stat(path)
	return err == nil, checkRights(path)
}

// prepareFile creates the file with mode 0600, as SQLite would follow the umask. An existing file is not opened: closing
// it would drop the locks of another handle in this process.
func prepareFile(path string) error {
	if err := CheckLocation(path); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600) //nolint:gosec // the operator's own path
	if err == nil {
		return file.Close()
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// files knows the database file, its -wal and its -shm as they were opened. SQLite goes on writing to files that were
// deleted or replaced, so their paths are checked before a commit is acknowledged.
type files struct {
	path  string
	infos [len(fileSuffixes)]os.FileInfo

	mu   sync.Mutex
	size int64 // the largest size of the database file
}

func findFiles(path string) (*files, error) {
	f := &files{path: path}
	for i, suffix := range fileSuffixes {
		var err error
		if f.infos[i], err = os.Stat(path + suffix); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// check checks that the paths lead to the files that were opened, and that the database file, which only grows, was not
// truncated. It opens none of them: closing one would drop SQLite's locks.
func (f *files) check() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, suffix := range fileSuffixes {
		info, err := os.Stat(f.path + suffix)
		switch {
		case err != nil:
			return foreign(err.Error())
		case !os.SameFile(info, f.infos[i]):
			return foreign(f.path + suffix + " was replaced")
		case i == 0 && info.Size() < f.size:
			return foreign(f.path + " was truncated; after a VACUUM, restart Caddy")
		case i == 0:
			f.size = info.Size()
		}
	}
	return nil
}
