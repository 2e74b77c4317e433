package ledger

import (
	_ "embed" // the scripts
	"fmt"
	"slices"
	"time"
)

//go:embed schema/0001_initial.sql
var initialSchema string

// migration is a step from one schema version to the next. It only adds, and every column that it adds has a default,
// so that old and new programs share a database.
type migration struct {
	name   string
	script string
	oldest int // schema version whose programs may still use the database
}

var migrations = []migration{
	{name: "0001_initial", script: initialSchema, oldest: 1},
}

// migrateTimeout is for a statement of a migration, which may change every row.
const migrateTimeout = 10 * time.Minute

// migrate brings the schema up to date. It runs in a transaction that holds the write lock.
func (l *Ledger) migrate(t *tx) (created bool) {
	version := 0
	if len(t.texts(t.dialect.tables)) > 0 {
		version = l.schemaVersion(t)
	}
	if version > 0 && version < len(l.options.migrations) {
		t.exec(`UPDATE feed SET seq = seq`) // the lock that older programs take first
	}
	t.waitUpTo(migrateTimeout)
	for i := version; i < len(l.options.migrations) && t.err == nil; i++ {
		step := l.options.migrations[i]
		t.exec(t.dialect.migrate(step.script))
		t.exec(`INSERT INTO schema_versions (version, oldest, at) VALUES ($1, $2, $3)`, i+1, step.oldest, l.now())
		if t.err != nil {
			t.err = fmt.Errorf("%s: %w", step.name, t.err)
		}
	}
	return version == 0
}

// schemaVersion is the number of migrations that have run. It refuses the tables of another program, and those that a
// newer version of this program has changed too much.
func (l *Ledger) schemaVersion(t *tx) (version int) {
	if !slices.Contains(t.texts(t.dialect.tables), "schema_versions") {
		t.fail(foreign("the database belongs to another program"))
	}
	var oldest int
	if t.get(`SELECT COALESCE(MAX(version), 0), COALESCE(MAX(oldest), 0) FROM schema_versions`, nil, &version, &oldest); version == 0 {
		t.fail(foreign("the database states no schema version"))
	}
	t.fail(l.checkSchema(oldest))
	return version
}

// checkSchema compares the oldest schema version that may be used with what this program knows.
func (l *Ledger) checkSchema(oldest int) error {
	if known := len(l.options.migrations); oldest > known {
		return fmt.Errorf("the database needs a program that knows schema %d, this one knows %d: upgrade the plugin", oldest, known)
	}
	return nil
}
