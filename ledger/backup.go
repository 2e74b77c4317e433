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

	sqlite3 "modernc.org/sqlite/lib"
)

var (
	// ErrNoFile means that the ledger is in PostgreSQL, which has tools of its own for backups.
	ErrNoFile = errors.New("the ledger is in PostgreSQL: back it up with pg_dump and put it back with pg_restore, or use export and import")
	// ErrInUse means that another process has the ledger open. Nothing was replaced.
	ErrInUse = errors.New("the ledger is in use: stop Caddy first")
	// ErrNotBackup means that the file is no intact ledger, or one of another installation. Nothing was replaced.
	ErrNotBackup = errors.New("not a usable backup of this ledger")
)

// Backup writes a copy of the SQLite file, consistent while the ledger is in use, with the signing keys: who has it can
// sign access tokens. It needs as much space beside the ledger as the ledger itself.
func (l *Ledger) Backup(ctx context.Context, w io.Writer) error {
	db, err := l.database()
	if err != nil {
		return err
	}
	file, ok := db.(*sqliteDatabase)
	if !ok {
		return ErrNoFile
	}
	return file.copy(ctx, func(path string) error {
		copied, err := os.Open(path) //nolint:gosec // made by copy
		if err != nil {
			return err
		}
		defer func() { _ = copied.Close() }()
		_, err = io.Copy(w, copied)
		return err
	})
}

// snapshot works on a copy: one long read transaction would let the WAL grow.
func (d *sqliteDatabase) snapshot(ctx context.Context, f func(*tx)) error {
	return d.copy(ctx, func(path string) error {
		db, err := sql.Open("sqlite", plainDSN(path, url.Values{"mode": {"ro"}}))
		if err != nil {
			return err
		}
		defer db.Close()
		t := &tx{ctx: ctx, db: db}
		f(t)
		return t.err
	})
}

// copy calls f with the path of a copy, which it removes afterwards.
func (d *sqliteDatabase) copy(ctx context.Context, f func(path string) error) error {
	file, err := temporaryBeside(d.path, "backup")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	_ = file.Close()
	db, err := sql.Open("sqlite", dsn(d.path, busyTimeout)) // the connections that read may not write anywhere
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, `VACUUM INTO $1`, file.Name()); err != nil {
		return fmt.Errorf("copying: %w", err)
	}
	if err := d.files.check(d.lookup(ctx)); err != nil {
		return err // it may be a copy of another file
	}
	return f(file.Name())
}

func temporaryBeside(path, purpose string) (*os.File, error) {
	return os.CreateTemp(filepath.Dir(path), filepath.Base(path)+"."+purpose+"-*")
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
func (l *Ledger) Restore(ctx context.Context, backup io.Reader) (Restored, error) {
	if l.options.URL != "" {
		return Restored{}, ErrNoFile
	}
	staged, err := stageBackup(backup, l.options.Path)
	if err != nil {
		return Restored{}, err
	}
	defer func() { _ = os.Remove(staged) }()
	restored, err := prepareStaged(ctx, staged)
	if err != nil {
		return Restored{}, err
	}
	err = l.swap(ctx, func(path string) error {
		installation, err := settleOld(ctx, path)
		if err == nil && installation != "" && installation != restored.Installation {
			err = fmt.Errorf("%w: it is of installation %s, the ledger of %s: move the ledger away first", ErrNotBackup, restored.Installation, installation)
		}
		if err == nil {
			restored.Kept, err = keepOld(path, l.options.Now())
		}
		if err == nil {
			err = os.Rename(staged, path)
		}
		if err != nil {
			return err
		}
		return syncDirectory(filepath.Dir(path))
	})
	return restored, err
}

// stageBackup stores a backup beside the ledger, so that it can be put in place by renaming.
func stageBackup(backup io.Reader, path string) (staged string, err error) {
	to, err := temporaryBeside(path, "restore")
	if err != nil {
		return "", err
	}
	_, err = io.Copy(to, backup)
	if err = cmp.Or(err, to.Sync(), to.Close(), ownAs(to.Name(), path)); err != nil {
		_ = os.Remove(to.Name())
	}
	return to.Name(), err
}

// prepareStaged checks a backup and gives its change feed another nonce.
func prepareStaged(ctx context.Context, path string) (restored Restored, err error) {
	db, err := sql.Open("sqlite", plainDSN(path, url.Values{"mode": {"rw"}, "_pragma": {"synchronous(FULL)"}}))
	if err != nil {
		return Restored{}, err
	}
	defer db.Close()
	t := &tx{ctx: ctx, db: db}
	if restored = readBackup(t); t.err != nil {
		return Restored{}, fmt.Errorf("%w: %w", ErrNotBackup, t.err)
	}
	nonce := randomHex(nonceBytes)
	// A node may have read the feed up to any change of the backup: it must find none of them again.
	t.exec(`DELETE FROM changes WHERE seq < (SELECT MAX(seq) FROM changes)`)
	t.exec(`UPDATE changes SET nonce = $1`, nonce)
	t.exec(`UPDATE feed SET nonce = $1`, nonce)
	// A backup may be in WAL mode. Without it the one file is everything.
	t.exec(`PRAGMA journal_mode = DELETE`)
	return restored, t.err
}

// readBackup checks that a database is an intact ledger that this program can use.
func readBackup(t *tx) (restored Restored) {
	var result string
	if t.get(`PRAGMA quick_check(1)`, nil, &result); result != "ok" {
		t.fail(errors.New("it is damaged: " + result))
	}
	var oldest int
	t.get(`SELECT COALESCE(MAX(oldest), 0) FROM schema_versions`, nil, &oldest)
	if oldest == 0 || oldest > len(migrations) {
		t.fail(fmt.Errorf("its schema is of version %d, this program knows %d: upgrade the plugin", oldest, len(migrations)))
	}
	if !t.get(`SELECT id FROM installation`, nil, &restored.Installation) {
		t.fail(errors.New("it has no installation"))
	}
	t.get(`SELECT COUNT(*), MAX(paid_at) FROM payments`, nil, &restored.Payments, unix(&restored.LastPayment))
	return restored
}

// settleOld makes sure that no process has the old ledger open, and that its file is everything. Leaving WAL mode does
// both: it needs the exclusive lock, writes the WAL into the file and removes it. An old ledger that cannot be read at
// all has no installation.
func settleOld(ctx context.Context, path string) (installation string, err error) {
	if exists, err := fileExists(path); !exists {
		return "", err
	}
	db, err := sql.Open("sqlite", plainDSN(path, url.Values{"mode": {"rw"}}))
	if err != nil {
		return "", err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	t := &tx{ctx: ctx, db: db}
	var mode string
	t.get(`PRAGMA journal_mode = DELETE`, nil, &mode)
	t.get(`SELECT id FROM installation`, nil, &installation)
	switch code := codeOf(t.err); {
	case code == sqlite3.SQLITE_BUSY, t.err == nil && mode != "delete":
		return "", ErrInUse
	case code == sqlite3.SQLITE_CORRUPT, code == sqlite3.SQLITE_NOTADB, code == sqlite3.SQLITE_ERROR:
		return "", nil // which is why people restore
	}
	return installation, t.err
}

// keepOld gives the old ledger a second name. Its path leads to one ledger or the other at any time, unless the file
// system has no hard links. A WAL is left only by a damaged ledger; it would wreck the new one.
func keepOld(path string, now time.Time) (kept string, err error) {
	kept = path + ".before-restore-" + now.UTC().Format("20060102T150405Z")
	if _, err := os.Lstat(kept); err == nil {
		return "", fmt.Errorf("%s exists already", kept)
	}
	for _, suffix := range fileSuffixes[1:] {
		if err := os.Rename(path+suffix, kept+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	if exists, err := fileExists(path); !exists {
		return "", err
	}
	if os.Link(path, kept) == nil {
		return kept, nil
	}
	return kept, os.Rename(path, kept)
}
