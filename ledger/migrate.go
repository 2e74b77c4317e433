package ledger

import (
	"context"
	_ "embed" // the scripts
	"fmt"
	"slices"
	"time"
)

//go:embed schema/0001_initial.sql
var initialSchema string

// migration is a step from one schema version to the next. It only adds, and every column that it adds has a
// default, so that old and new programs share a database.
type migration struct {
	name   string
	script string
	oldest int                                       // schema version whose programs may still use the database
	then   func(*Ledger, context.Context, *tx) error // nil: nothing
}

// migrations are run in order, each once.
var migrations = []migration{
	{name: "0001_initial", script: initialSchema, oldest: 1, then: (*Ledger).startFeed},
}

// migrateTimeout is for a statement of a migration, which may change every row.
const migrateTimeout = 10 * time.Minute

// migrate brings the schema up to date. It runs in a transaction that holds the write lock.
func (l *Ledger) migrate(ctx context.Context, tx *tx) (created bool, err error) {
	version, err := l.schemaVersion(ctx, tx)
	if err != nil {
		return false, err
	}
	if version > 0 && version < len(l.options.migrations) {
		// Older programs write meanwhile. This is the lock that they take first.
		if _, err := tx.ExecContext(ctx, `UPDATE feed SET seq = seq`); err != nil {
			return false, err
		}
	}
	if version < len(l.options.migrations) {
		tx.waitUpTo(migrateTimeout)
	}
	for i := version; i < len(l.options.migrations); i++ {
		if err := l.runMigration(ctx, tx, i); err != nil {
			return false, fmt.Errorf("%s: %w", l.options.migrations[i].name, err)
		}
	}
	return version == 0, nil
}

// schemaVersion is the number of migrations that have run. It refuses the tables of another program, and
// those that a newer version of this program has changed too much.
func (l *Ledger) schemaVersion(ctx context.Context, tx *tx) (int, error) {
	tables, err := tx.texts(ctx, l.options.dialect().tables)
	if err != nil || len(tables) == 0 {
		return 0, err
	}
	if !slices.Contains(tables, "schema_versions") {
		return 0, foreign("the database belongs to another program")
	}
	var version, oldest int
	row := tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(version), 0), COALESCE(MAX(oldest), 0) FROM schema_versions`)
	if err := row.Scan(&version, &oldest); err != nil {
		return 0, err
	}
	if version == 0 {
		return 0, foreign("the database says no schema version")
	}
	return version, l.checkSchema(oldest)
}

// checkSchema compares the oldest schema version that may be used with what this program knows.
func (l *Ledger) checkSchema(oldest int) error {
	if known := len(l.options.migrations); oldest > known {
		return fmt.Errorf("the database needs a program that knows schema %d, this one knows %d: upgrade the plugin", oldest, known)
	}
	return nil
}

func (l *Ledger) runMigration(ctx context.Context, tx *tx, i int) error {
	step := l.options.migrations[i]
	if err := tx.runScript(ctx, l.options.dialect().migrate(step.script)); err != nil {
		return err
	}
	if step.then != nil {
		if err := step.then(l, ctx, tx); err != nil {
			return err
		}
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO schema_versions (version, oldest, at) VALUES ($1, $2, $3)`, i+1, step.oldest, l.now())
	return err
}

// startFeed writes the first row of the change feed, so that a position always names a row.
func (l *Ledger) startFeed(ctx context.Context, tx *tx) error {
	nonce, err := l.randomHex(nonceBytes)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO feed (seq, nonce, writes) VALUES (1, $1, 0)`, nonce); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO changes (seq, nonce, purchase_id, at) VALUES (1, $1, '', $2)`, nonce, l.now())
	return err
}
