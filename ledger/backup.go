package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

var (
	// ErrNoFile means that the ledger is in PostgreSQL, which has tools of its own for backups.
	ErrNoFile = errors.New("the ledger is in PostgreSQL: back it up with pg_dump and put it back with pg_restore, or use export and import")
	// ErrInUse means that another process has the ledger open. Nothing was replaced.
	ErrInUse = errors.New("the ledger is in use by another process: stop that first")
	// ErrNotBackup means that the file is no intact ledger, or one of another installation. Nothing was replaced.
	ErrNotBackup = errors.New("not a usable backup of this ledger")
)

// Backup writes a consistent copy of the SQLite file while the ledger is in use. The copy holds the signing keys: whoever
// has it can sign access tokens. It needs as much free space as the size of the ledger.
func (l *Ledger) Backup(ctx context.Context, w io.Writer) error {
	db, err := l.database()
	if err != nil {
		return err
	}
	file, ok := db.(*sqliteDatabase)
	if !ok {
		return ErrNoFile
	}
	return file.copy(ctx, func(copied *os.File) error {
		_, err := io.Copy(w, copied)
		return err
	})
}

// snapshot works on a copy: one long read transaction would let the WAL grow.
func (d *sqliteDatabase) snapshot(ctx context.Context, f func(*tx) error) error {
	return d.copy(ctx, func(copied *os.File) error { return onFile(ctx, copied.Name(), f) })
}

// onFile runs f on a file that nothing else uses.
func onFile(ctx context.Context, path string, f func(*tx) error) error {
	db, err := sql.Open("sqlite", plainDSN(path, url.Values{"mode": {"rw"}, "_pragma": {"synchronous(FULL)"}}))
	if err != nil {
		return err
	}
	defer db.Close()
	t := newTx(ctx, db)
	err = f(t)
	return cmp.Or(t.err, err)
}

// copy calls f with a copy, which it removes afterwards.
func (d *sqliteDatabase) copy(ctx context.Context, f func(*os.File) error) error {
	file, err := temporaryBeside(d.files.path, "backup")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	db, err := sql.Open("sqlite", dsn(d.files.path, busyTimeout)) // the connections that read may not write anywhere
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, `VACUUM INTO $1`, file.Name()); err != nil {
		return fmt.Errorf("copying: %w", err)
	}
	if err := d.check(ctx); err != nil {
		return err // it may be a copy of another file
	}
	return f(file)
}

func temporaryBeside(path, purpose string) (*os.File, error) {
	return os.CreateTemp(filepath.Dir(path), filepath.Base(path)+"."+purpose+"-*") // mode 0600
}

// Restored is what a restored backup holds.
type Restored struct {
	Installation string    `json:"installation"`
	Payments     int       `json:"payments"`
	LastPayment  time.Time `json:"last_payment,omitzero"` // zero: there is none
	Kept         string    `json:"kept,omitempty"`        // where the ledger that was replaced is now; empty: there was none
}

// Restore puts a backup in place of the ledger, which may be open, and keeps the old one beside it. Nothing is sold while
// it does so. The change feed gets another nonce, so every node that has seen the old one forgets what it remembers.
func (l *Ledger) Restore(ctx context.Context, backup io.Reader) (restored Restored, err error) {
	path := l.options.Path
	if path == "" {
		return Restored{}, ErrNoFile
	}
	staged, err := temporaryBeside(path, "restore") // to be put in place by renaming
	if err != nil {
		return Restored{}, err
	}
	defer os.Remove(staged.Name())
	_, err = io.Copy(staged, backup)
	if err = cmp.Or(err, staged.Close()); err != nil {
		return Restored{}, err
	}
	err = onFile(ctx, staged.Name(), func(t *tx) error {
		restored = l.readBackup(t)
		isolateFeed(t)
		return nil
	})
	if err != nil {
		return Restored{}, fmt.Errorf("%w: %w", ErrNotBackup, err)
	}
	if exists, _ := fileExists(path); exists {
		_, _ = l.Open(ctx) // so that the installation is known, unless the ledger is damaged
	}
	if known := l.installation.Load(); known != nil && *known != restored.Installation {
		return Restored{}, fmt.Errorf("%w: it is of installation %s, the ledger of %s: move the ledger away first",
			ErrNotBackup, restored.Installation, *known)
	}
	err = l.swap(ctx, func() (err error) {
		if restored.Kept, err = keepOld(path, l.options.Now()); err != nil {
			return err
		}
		return os.Rename(staged.Name(), path)
	})
	return restored, err
}

// readBackup checks that a database is an intact ledger that this program can use.
func (l *Ledger) readBackup(t *tx) (restored Restored) {
	var result string
	if t.get(`PRAGMA quick_check(1)`, nil, &result); result != "ok" {
		t.fail(errors.New("it is damaged: " + result))
	}
	l.schemaVersion(t)
	if !t.get(`SELECT id FROM installation`, nil, &restored.Installation) {
		t.fail(errors.New("it has no installation"))
	}
	t.get(`SELECT COUNT(*), MAX(paid_at) FROM payments`, nil, &restored.Payments, unix(&restored.LastPayment))
	return restored
}

// isolateFeed gives a backup's change feed another nonce. A node may have read the feed up to any change of the backup:
// it must find none of them again.
func isolateFeed(t *tx) {
	nonce := randomHex(nonceBytes)
	t.exec(`DELETE FROM changes WHERE seq < (SELECT MAX(seq) FROM changes)`)
	t.exec(`UPDATE changes SET nonce = $1`, nonce)
	t.exec(`UPDATE feed SET nonce = $1`, nonce)
	t.exec(`PRAGMA journal_mode = DELETE`) // a backup may be in WAL mode; without it the one file is everything
}

// swap closes the database, runs replace, and opens what is there then. Meanwhile every method returns ErrUnavailable.
// The next Poll notices whether the feed went backwards.
func (l *Ledger) swap(ctx context.Context, replace func() error) error {
	l.opening.Lock()
	defer l.opening.Unlock()
	l.writing.Lock()
	defer l.writing.Unlock()
	_, notOpen := l.database()
	err := l.closeDatabase(errNotOpen)
	// SQLite removes the -wal with its last connection. A damaged ledger, which cannot be opened, may leave one.
	if inUse, _ := fileExists(l.options.Path + "-wal"); inUse && notOpen == nil {
		err = cmp.Or(err, ErrInUse)
	}
	if err == nil {
		err = replace()
	}
	if directory, openErr := os.Open(filepath.Dir(l.options.Path)); openErr == nil {
		_ = directory.Sync() // makes it durable; not on Windows
		_ = directory.Close()
	}
	_, openErr := l.open(ctx)
	return errors.Join(err, openErr)
}

// keepOld moves the old ledger away, if there is one. The -wal of a damaged ledger would corrupt the new one.
func keepOld(path string, now time.Time) (kept string, err error) {
	at := path + ".before-restore-" + now.UTC().Format("20060102T150405Z")
	if exists, err := fileExists(at); exists || err != nil {
		return "", cmp.Or(err, fs.ErrExist)
	}
	for _, suffix := range fileSuffixes {
		err := os.Rename(path+suffix, at+suffix)
		if suffix == "" && err == nil {
			kept = at
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return kept, nil
}
