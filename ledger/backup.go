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
	if l.options.Path == "" {
		return ErrNoFile
	}
	opened, err := l.database()
	if err != nil {
		return err
	}
	return l.withFile(func(copied *os.File) error {
		err := onFile(ctx, l.options.Path, func(t *tx) error { // the connections that read may not write anywhere
			t.exec(`VACUUM INTO $1`, copied.Name())
			return opened.check(ctx) // it may be a copy of another file
		})
		if err != nil {
			return fmt.Errorf("copying: %w", err)
		}
		return copyAll(w, copied)
	})
}

// onFile runs f on a file by a connection of its own.
func onFile(ctx context.Context, path string, f func(*tx) error) error {
	db, err := sql.Open("sqlite", plainDSN(path, url.Values{"mode": {"rw"}}))
	if err != nil {
		return err
	}
	defer db.Close()
	t := newTx(ctx, sqliteDialect, db)
	err = f(t)
	return cmp.Or(t.err, err)
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
	if l.options.Path == "" {
		return Restored{}, ErrNoFile
	}
	err = l.withFile(func(staged *os.File) error {
		_, err := io.Copy(staged, backup)
		if err := cmp.Or(err, staged.Close()); err != nil {
			return err
		}
		err = onFile(ctx, staged.Name(), func(t *tx) error {
			restored = l.prepareBackup(t)
			return nil
		})
		if err != nil {
			return fmt.Errorf("%w: %w", ErrNotBackup, err)
		}
		if fileExists(l.options.Path) {
			_, _ = l.Open(ctx) // so that the installation is known, unless the ledger is damaged
		}
		if known := l.installation.Load(); known != nil && *known != restored.Installation {
			return fmt.Errorf("%w: it is of installation %s, the ledger of %s: move the ledger away first", ErrNotBackup, restored.Installation, *known)
		}
		restored.Kept, err = l.swap(ctx, staged.Name())
		return err
	})
	return restored, err
}

// prepareBackup checks that a database is an intact ledger that this program can use, and gives its change feed another
// nonce. A node may have read the feed up to any change of the backup: it must find none of them again.
func (l *Ledger) prepareBackup(t *tx) (restored Restored) {
	var result string
	if t.get(`PRAGMA quick_check(1)`, nil, &result); result != "ok" {
		t.fail(errors.New("it is damaged: " + result))
	}
	l.schemaVersion(t)
	if !t.get(`SELECT id FROM installation`, nil, &restored.Installation) {
		t.fail(errors.New("it has no installation"))
	}
	t.get(`SELECT COUNT(*), MAX(paid_at) FROM payments`, nil, &restored.Payments, unix(&restored.LastPayment))
	nonce := randomHex(nonceBytes)
	t.exec(`DELETE FROM changes WHERE seq < (SELECT MAX(seq) FROM changes)`)
	t.exec(`UPDATE changes SET nonce = $1`, nonce)
	t.exec(`UPDATE feed SET nonce = $1`, nonce)
	t.exec(`PRAGMA journal_mode = DELETE`) // a backup may be in WAL mode; without it the one file is everything
	return restored
}

// swap closes the database, moves its files away, and opens another one in its place. Meanwhile every method returns
// ErrUnavailable. The next Poll notices that the feed is another one.
func (l *Ledger) swap(ctx context.Context, staged string) (kept string, err error) {
	l.opening.Lock()
	defer l.opening.Unlock()
	_, wasDamaged := l.database()
	if errors.Is(wasDamaged, errClosed) {
		return "", errClosed
	}
	err = l.closeDatabase(errNotOpen)
	// SQLite removes the -wal with its last connection. Only a ledger that cannot be opened may leave one.
	if wasDamaged == nil && fileExists(l.options.Path+"-wal") {
		err = cmp.Or(err, ErrInUse)
	}
	if err == nil {
		kept, err = replaceFile(staged, l.options.Path, l.options.Now())
	}
	_, openErr := l.open(ctx)
	return kept, errors.Join(err, openErr)
}

// replaceFile keeps a ledger under another name, if there is one, and puts another in its place. With a hard link, the
// path leads to one of the two at any time. The -wal of a damaged ledger would corrupt the new one.
func replaceFile(staged, path string, now time.Time) (kept string, err error) {
	at := path + ".before-restore-" + now.UTC().Format("20060102T150405.000Z")
	if err = os.Link(path, at); err != nil { // some file systems have none
		err = os.Rename(path, at)
	}
	if err == nil {
		kept = at
	}
	for _, suffix := range fileSuffixes[1:] {
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			err = os.Rename(path+suffix, at+suffix)
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return kept, err
	}
	if err := os.Rename(staged, path); err != nil {
		return kept, err
	}
	if directory, err := os.Open(filepath.Dir(path)); err == nil {
		_ = directory.Sync() // makes it durable; not on Windows
		_ = directory.Close()
	}
	return kept, nil
}
