package ledger

import (
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

// database is one opened SQLite file: a connection that writes and a pool that reads.
type database struct {
	path  string
	files *files

	writing    *sql.DB
	writer     *sql.Conn            // the one connection of writing
	statements map[string]*sql.Stmt // of writer; only the writer's goroutine uses it

	reading *sql.DB
	lookups sync.Map // of reading: query to *sql.Stmt
}

// openDatabase opens the file at path and runs migrate in a transaction that holds the write lock.
func openDatabase(ctx context.Context, path string, pragmas []string, migrate func(context.Context, *tx) (bool, error)) (_ *database, created bool, err error) {
	if err := prepareFile(path); err != nil {
		return nil, false, err
	}
	db := &database{path: path, statements: map[string]*sql.Stmt{}}
	defer func() {
		if err != nil {
			_ = db.close()
		}
	}()
	if err := retryBusy(ctx, func() error { return db.connectWriter(ctx, pragmas) }); err != nil {
		return nil, false, err
	}
	err = db.transaction(func(ctx context.Context, tx *tx) (err error) {
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
	return db, created, db.files.check(db)
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

func (d *database) connectWriter(ctx context.Context, pragmas []string) error {
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
func (d *database) connectReaders(ctx context.Context) error {
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
	db *database
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
func (d *database) close() error {
	var errs []error
	if d.reading != nil {
		errs = append(errs, d.reading.Close())
		for deadline := time.Now().Add(2 * readTimeout); d.reading.Stats().OpenConnections > 0 && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
	}
	for _, statement := range d.statements {
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

// tableNames lists the tables of the database.
const tableNames = `SELECT name FROM sqlite_master WHERE type = 'table'`
