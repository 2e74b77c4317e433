package ledger

import (
	"context"
	"database/sql"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// postgresQueries runs queries with the schema before the names of the tables.
type postgresQueries struct {
	queries
	deadline *statementDeadline // nil: the context has one
}

func (q postgresQueries) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	q.deadline.restart()
	return q.queries.ExecContext(ctx, qualify(query), storable(args)...)
}

func (q postgresQueries) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	q.deadline.restart()
	return q.queries.QueryContext(ctx, qualify(query), storable(args)...)
}

func (q postgresQueries) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	q.deadline.restart()
	return q.queries.QueryRowContext(ctx, qualify(query), storable(args)...)
}

// runScript runs statements without arguments, which pgx sends as they are.
func (q postgresQueries) runScript(ctx context.Context, script string) error {
	_, err := q.ExecContext(ctx, script)
	return err
}

func (q postgresQueries) waitUpTo(limit time.Duration) {
	if q.deadline != nil {
		q.deadline.limit = limit
	}
}

// statementDeadline gives every statement of a transaction its own time. A nil one does nothing.
type statementDeadline struct {
	timer *time.Timer
	limit time.Duration
}

func (d *statementDeadline) restart() {
	if d != nil {
		d.timer.Reset(d.limit)
	}
}

// postgresDialect keeps the order of text as SQLite and Go have it, whatever the database's language is.
var postgresDialect = dialect{
	tables: `SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = 'axra'`,
	migrate: strings.NewReplacer(
		" TEXT ", ` TEXT COLLATE "C" `,
		" WITHOUT ROWID", "",
		"strftime('%s', 'now')", "EXTRACT(EPOCH FROM now())",
	).Replace,
	analyze: `ANALYZE axra.purchases, axra.terms, axra.payments, axra.payment_ids, axra.events, axra.event_ids, axra.devices`,
}

// unqualified finds the tables in a statement. Every table of the schema has to be here.
var unqualified = regexp.MustCompile(`\b(FROM|JOIN|INTO|UPDATE|TABLE|VIEW|ON|REFERENCES)\s+(installation|keys|purchases|purchases_now|` +
	`terms|payments|payment_ids|events|event_ids|decisions|devices|claims|feed|changes|schema_versions)\b`)

// qualified holds every query with the schema before its tables.
var qualified sync.Map // string to string

// qualify puts the schema before the tables: through a transaction pooler, the search path may be that of another
// program. The queries stay readable, and the same for both databases.
func qualify(query string) string {
	if known, ok := qualified.Load(query); ok {
		return known.(string)
	}
	result := unqualified.ReplaceAllString(query, "$1 axra.$2")
	qualified.Store(query, result)
	return result
}

// storable replaces NUL and invalid UTF-8, which PostgreSQL refuses: such a webhook could never be stored.
func storable(args []any) []any {
	args = slices.Clone(args)
	for i, arg := range args {
		if text, ok := arg.(string); ok {
			args[i] = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
		}
	}
	return args
}
