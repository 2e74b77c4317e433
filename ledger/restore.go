package ledger

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Errors of RestoreBackup. Nothing was replaced.
var (
	// ErrInUse means that another process has the ledger open.
	ErrInUse = errors.New("the ledger is in use: stop Caddy first")
	// ErrNotBackup means that the file is no intact ledger, or one of another installation.
	ErrNotBackup = errors.New("not a usable backup of this ledger")
)

// Restored is what a restored backup holds.
type Restored struct {
	Installation string    `json:"installation"`
	Payments     int       `json:"payments"`
	LastPayment  time.Time `json:"last_payment,omitzero"` // zero: there is none
	Kept         string    `json:"kept,omitempty"`        // where the ledger that was replaced is now; empty: there was none
}

// Restore puts a backup in place of the ledger while it is open. Meanwhile nothing is sold.
func (l *Ledger) Restore(ctx context.Context, backup string) (restored Restored, err error) {
	if l.options.URL != "" {
		return Restored{}, ErrNoFile
	}
	err = l.swap(ctx, func(path string) error {
		restored, err = RestoreBackup(ctx, backup, path, l.options.Now())
		return err
	})
	return restored, err
}

// RestoreBackup puts a copy of a backup in place of the ledger at path, which no process may have open. It
// keeps the old ledger beside it. The change feed gets another nonce, so every node that has seen the old
// one forgets what it remembers.
func RestoreBackup(ctx context.Context, backup, path string, now time.Time) (Restored, error) {
	restored, err := restoreBackup(ctx, backup, path, now)
	if err != nil {
		return Restored{}, fmt.Errorf("restoring %s: %w", backup, err)
	}
	return restored, nil
}

func restoreBackup(ctx context.Context, backup, path string, now time.Time) (Restored, error) {
	staged, err := stageBackup(backup, path)
	if err != nil {
		return Restored{}, err
	}
	defer func() { _ = os.Remove(staged) }()
	restored, err := prepareStaged(ctx, staged)
	if err != nil {
		return Restored{}, err
	}
	installation, err := settleOld(ctx, path)
	if err != nil {
		return Restored{}, err
	}
	if installation != "" && installation != restored.Installation {
		return Restored{}, fmt.Errorf("%w: it is of installation %s, the ledger of %s: move the ledger away first",
			ErrNotBackup, restored.Installation, installation)
	}
	if restored.Kept, err = keepOld(path, now); err != nil {
		return Restored{}, err
	}
	if err := os.Rename(staged, path); err != nil {
		return Restored{}, err
	}
	return restored, syncDirectory(filepath.Dir(path))
}

// stageBackup copies a backup beside the ledger, so that it can be put in place by renaming.
func stageBackup(backup, path string) (staged string, err error) {
	if info, err := os.Stat(backup + "-wal"); err == nil && info.Size() > 0 {
		return "", fmt.Errorf("%w: %s-wal belongs to it: make backups with caddy axra backup", ErrNotBackup, backup)
	}
	from, err := os.Open(backup) //nolint:gosec // the operator's own path
	if err != nil {
		return "", err
	}
	defer func() { _ = from.Close() }()
	if there, err := os.Stat(path); err == nil {
		if info, err := from.Stat(); err == nil && os.SameFile(info, there) {
			return "", fmt.Errorf("%w: it is the ledger itself", ErrNotBackup)
		}
	}
	if staged, err = temporaryBeside(path, "restore"); err != nil {
		return "", err
	}
	if err := copyInto(staged, from); err != nil {
		_ = os.Remove(staged)
		return "", err
	}
	return staged, ownAs(staged, path)
}

func copyInto(path string, from io.Reader) error {
	to, err := os.OpenFile(path, os.O_WRONLY, 0o600) //nolint:gosec // made by temporaryBeside
	if err != nil {
		return err
	}
	defer func() { _ = to.Close() }()
	if _, err := io.Copy(to, from); err != nil {
		return err
	}
	return to.Sync()
}

// prepareStaged checks a backup and gives its change feed another nonce.
func prepareStaged(ctx context.Context, path string) (restored Restored, err error) {
	db, err := sql.Open("sqlite", plainDSN(path, "mode=rw", "_pragma=synchronous(FULL)"))
	if err != nil {
		return Restored{}, err
	}
	defer db.Close()
	restored, err = checkBackup(ctx, db)
	if err != nil {
		return Restored{}, fmt.Errorf("%w: %w", ErrNotBackup, err)
	}
	var raw [nonceBytes]byte
	rand.Read(raw[:]) // never fails
	nonce := hex.EncodeToString(raw[:])
	// A node may have read the feed up to any change of the backup: it must find none of them again.
	if _, err := db.ExecContext(ctx, `DELETE FROM changes WHERE seq < (SELECT MAX(seq) FROM changes)`); err != nil {
		return Restored{}, err
	}
	for _, query := range []string{`UPDATE changes SET nonce = $1`, `UPDATE feed SET nonce = $1`} {
		if _, err := db.ExecContext(ctx, query, nonce); err != nil {
			return Restored{}, err
		}
	}
	// A backup may be in WAL mode. Without it the one file is everything.
	_, err = db.ExecContext(ctx, `PRAGMA journal_mode = DELETE`)
	return restored, err
}

// checkBackup checks that a database is an intact ledger that this program can use.
func checkBackup(ctx context.Context, db *sql.DB) (restored Restored, err error) {
	var result string
	if err := db.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&result); err != nil {
		return restored, err
	}
	if result != "ok" {
		return restored, errors.New("it is damaged: " + result)
	}
	var oldest int
	if err := db.QueryRowContext(ctx, `SELECT COALESCE(MAX(oldest), 0) FROM schema_versions`).Scan(&oldest); err != nil {
		return restored, err
	}
	if oldest == 0 || oldest > len(migrations) {
		return restored, fmt.Errorf("its schema is of version %d, this program knows %d: upgrade the plugin", oldest, len(migrations))
	}
	if err := db.QueryRowContext(ctx, `SELECT id FROM installation`).Scan(&restored.Installation); err != nil {
		return restored, fmt.Errorf("its installation: %w", err)
	}
	var last sql.NullInt64
	err = db.QueryRowContext(ctx, `SELECT COUNT(*), MAX(paid_at) FROM payments`).Scan(&restored.Payments, &last)
	restored.LastPayment = timeOf(last)
	return restored, err
}

// settleOld makes sure that no process has the old ledger open, and that its file is everything. Leaving
// WAL mode does both: it needs the exclusive lock, writes the WAL into the file and removes it. An old ledger
// that cannot be read at all has no installation.
func settleOld(ctx context.Context, path string) (installation string, err error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	db, err := sql.Open("sqlite", plainDSN(path, "mode=rw"))
	if err != nil {
		return "", err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	var mode string
	err = db.QueryRowContext(ctx, `PRAGMA journal_mode = DELETE`).Scan(&mode)
	if err == nil {
		err = db.QueryRowContext(ctx, `SELECT id FROM installation`).Scan(&installation)
	}
	var failure *sqlite.Error
	switch {
	case isBusy(err), err == nil && mode != "delete":
		return "", ErrInUse
	case errors.Is(err, sql.ErrNoRows):
		return "", nil
	case errors.As(err, &failure) && isDamage(failure.Code()&0xff):
		return "", nil // for this people restore
	}
	return installation, err
}

// isDamage reports whether a code of SQLite means that a file is no intact ledger.
func isDamage(code int) bool {
	return code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB || code == sqlite3.SQLITE_ERROR
}

// keepOld gives the old ledger a second name. Its path leads to one ledger or the other at any time, unless
// the file system has no hard links. A WAL is left only by a damaged ledger; it would wreck the new one.
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
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if os.Link(path, kept) == nil {
		return kept, nil
	}
	return kept, os.Rename(path, kept)
}

// plainDSN opens a file without changing its journal mode.
func plainDSN(path string, options ...string) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // of Windows: file:///C:/
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: strings.Join(options, "&")}).String()
}
