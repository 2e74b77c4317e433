package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Backup writes a copy of the SQLite file, consistent while the ledger is in use, with the signing keys:
// who has it can sign access tokens. It needs as much space beside the ledger as the ledger itself.
func (l *Ledger) Backup(ctx context.Context, w io.Writer) error {
	db, err := l.database()
	if err != nil {
		return err
	}
	file, ok := db.(*sqliteDatabase)
	if !ok {
		return ErrNoFile
	}
	err = file.copy(ctx, func(path string) error {
		file, err := os.Open(path) //nolint:gosec // made by copyFile
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		_, err = io.Copy(w, contextReader{ctx, file})
		return err
	})
	if err != nil {
		return fmt.Errorf("backing up the ledger: %w", err)
	}
	return nil
}

// ErrNoFile means that the ledger is in PostgreSQL, which has tools of its own for backups.
var ErrNoFile = errors.New("the ledger is in PostgreSQL: back it up with pg_dump and put it back with pg_restore, or use export and import")

// snapshot works on a copy: one long read transaction would let the WAL grow.
func (d *sqliteDatabase) snapshot(ctx context.Context, f func(queries) error) error {
	return d.copy(ctx, func(path string) error {
		db, err := sql.Open("sqlite", plainDSN(path, "mode=ro"))
		if err != nil {
			return err
		}
		defer db.Close()
		return f(db)
	})
}

// copy calls f with the path of a copy, which it removes afterwards.
func (d *sqliteDatabase) copy(ctx context.Context, f func(path string) error) error {
	path, err := temporaryBeside(d.path, "backup")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(path) }()
	if err := vacuumInto(ctx, d.path, path); err != nil {
		return fmt.Errorf("copying: %w", err)
	}
	if err := d.files.checkIdentity(); err != nil {
		return err // it may be a copy of another file
	}
	return f(path)
}

// vacuumInto copies a database by a connection of its own: those that read may not write anywhere.
func vacuumInto(ctx context.Context, from, to string) error {
	db, err := sql.Open("sqlite", dsn(from, busyTimeout))
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, `VACUUM INTO $1`, to)
	return err
}

// temporaryBeside creates an empty file with mode 0600 in the directory of path.
func temporaryBeside(path, purpose string) (string, error) {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+"."+purpose+"-*")
	if err != nil {
		return "", err
	}
	return file.Name(), file.Close()
}

// contextReader ends a long copy when its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
