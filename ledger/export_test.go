package ledger

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/bulk"
)

// WithPragmas sets pragmas of the writing connection.
func WithPragmas(o Options, pragmas ...string) Options {
	o.pragmas = pragmas
	return o
}

// WithMigration adds a migration, as a newer program has it.
func WithMigration(o Options, script string, oldest int) Options {
	o.migrations = append(slices.Clone(migrations), migration{name: "newer", script: script, oldest: oldest})
	return o
}

// Exec runs a statement on the writing connection, as nobody else may.
func (l *Ledger) Exec(ctx context.Context, query string, args ...any) error {
	return l.transact(ctx, func(t *tx) { t.exec(query, args...) })
}

// Dump returns every row of the tables that a purchase is computed from, and the purchase itself, without
// the times at which rows were stored.
func (l *Ledger) Dump(ctx context.Context) (dump []string, err error) {
	return read(ctx, l, func(t *tx) (dump []string, err error) {
		for _, query := range []string{
			`SELECT 'purchase ' || id || ' ' || product || ' ' || resource || ' ' || status || ' ' || starts_at || ' ' ||
				COALESCE(ends_at, 0) || ' ' || device_limit || ' ' || download_limit FROM purchases ORDER BY id`,
			`SELECT 'payment ' || session_id || ' ' || purchase_id || ' ' || outcome || ' ' || paid_at FROM payments ORDER BY session_id`,
			`SELECT 'id ' || session_id || ' ' || payment_id || ' ' || charge || ' ' || outcome || ' ' || CASE WHEN repeated_at IS NULL THEN '' ELSE 'again' END FROM payment_ids ORDER BY session_id, payment_id`,
			`SELECT 'event ' || kind || ' ' || session_id || ' ' || id FROM events ORDER BY id`,
		} {
			dump = append(dump, t.texts(query)...)
		}
		return dump, nil
	})
}

// lookUpQueries must use indexes.
var lookUpQueries = map[string]string{
	"holding": holdingQuery, "payments of an event": paymentsOfEvent, "poll": pollQuery,
	"payments": paymentsOfPurchase, "ids": idsQuery, "events": eventsOfSession, "any event": anyEventOfPurchase,
}

// Plans explains the queries that must use indexes.
func (l *Ledger) Plans(ctx context.Context) (map[string]string, error) {
	queries := operatorQueries()
	maps.Copy(queries, lookUpQueries)
	return l.explainAll(ctx, queries, explain)
}

// PayThenHold records a payment in a transaction that waits for release before its commit, and closes held meanwhile.
func (l *Ledger) PayThenHold(ctx context.Context, p Payment, held, release chan struct{}) error {
	return l.hold(ctx, func(t *tx) { l.recordPayment(t, p) }, held, release)
}

// TellThenHold is PayThenHold for an event.
func (l *Ledger) TellThenHold(ctx context.Context, e Event, held, release chan struct{}) error {
	return l.hold(ctx, func(t *tx) { l.recordEvent(t, e) }, held, release)
}

func (l *Ledger) hold(ctx context.Context, run func(*tx), held, release chan struct{}) error {
	return l.transact(ctx, func(t *tx) {
		run(t)
		close(held)
		<-release
	})
}

// Hold holds a transaction for a while.
func (l *Ledger) Hold(ctx context.Context, d time.Duration) error {
	return l.transact(ctx, func(*tx) { time.Sleep(d) })
}

// CountRows counts the rows of every table.
func (l *Ledger) CountRows(ctx context.Context) (map[string]int, error) {
	return read(ctx, l, func(t *tx) (map[string]int, error) {
		counts := make(map[string]int)
		for _, table := range t.texts(t.dialect.tables) {
			var n int
			t.get(`SELECT COUNT(*) FROM `+table, nil, &n)
			counts[table] = n
		}
		return counts, nil
	})
}

// IsExported reports whether an export holds a table.
func IsExported(table string) bool {
	return slices.Contains(exportTables, table)
}

// PostgresPlans explains the look-ups, as PostgreSQL plans them for any arguments.
func (l *Ledger) PostgresPlans(ctx context.Context) (map[string]string, error) {
	if err := l.transact(ctx, func(t *tx) { t.exec(t.dialect.analyze) }); err != nil {
		return nil, err
	}
	return l.explainAll(ctx, lookUpQueries, func(t *tx, query string) string {
		t.exec(`SET LOCAL plan_cache_mode = force_generic_plan; PREPARE q AS ` + query)
		arguments := ""
		if n := parameters(query); n > 0 {
			arguments = "(" + strings.Repeat("'1', ", n-1) + "'1')"
		}
		lines := t.texts(`EXPLAIN EXECUTE q` + arguments)
		t.exec(`DEALLOCATE q`)
		return strings.Join(lines, "\n")
	})
}

func (l *Ledger) explainAll(ctx context.Context, queries map[string]string, explain func(*tx, string) string) (map[string]string, error) {
	return read(ctx, l, func(t *tx) (map[string]string, error) {
		plans := make(map[string]string)
		for name, query := range queries {
			plans[name] = explain(t, query)
		}
		return plans, nil
	})
}

func operatorQueries() map[string]string {
	return map[string]string{
		"list": listQuery, "search": searchQuery,
		"sales": salesQuery, "returns": returnsQuery, "charged again": countRepeated, "ended": sweepEnded, "closed": sweepClosed,
		"changes": sweepChanges, "unused terms": sweepTerms, "unmatched events": sweepEvents, "last event": lastEvent,
	}
}

// parameters is the number of parameters of a query.
func parameters(query string) int {
	for i := 600; i > 0; i-- {
		if strings.Contains(query, fmt.Sprintf("$%d", i)) {
			return i
		}
	}
	return 0
}

func explain(t *tx, query string) string {
	var plan []string
	var id, parent, unused int
	var detail string
	t.each(`EXPLAIN QUERY PLAN `+query, slices.Repeat([]any{1}, parameters(query)), into{&id, &parent, &unused, &detail}, func() {
		plan = append(plan, detail)
	})
	return strings.Join(plan, "\n")
}

// FillStart is the time after which most payments of Fill lie.
var FillStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Fill inserts n payments of as many purchases by SQL.
func Fill(t testing.TB, l *Ledger, n int) {
	t.Helper()
	err := l.transact(context.Background(), func(t *tx) {
		t.waitUpTo(time.Hour)
		for _, statement := range bulk.Statements(l.options.URL != "", FillStart, n) {
			t.exec(statement)
		}
		t.exec(t.dialect.analyze)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// NoteWrite notes the outcome of a write.
func (l *Ledger) NoteWrite(err error) { l.health.wrote(err) }

// NoteCheck notes the outcome of a check.
func (l *Ledger) NoteCheck(err error) { l.health.checked(err) }

// PollPlan explains the poll as PostgreSQL runs it.
func (l *Ledger) PollPlan(ctx context.Context) (string, error) {
	return lookUp(ctx, l, func(t *tx) (string, error) {
		lines := t.texts("EXPLAIN " + strings.NewReplacer("$1", "0", "$2", "1000").Replace(pollQuery))
		return strings.Join(lines, "\n"), nil
	})
}
