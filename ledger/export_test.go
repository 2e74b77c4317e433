package ledger

import (
	"context"
	"slices"
	"time"
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

// Swap is what a restored backup goes through.
func (l *Ledger) Swap(ctx context.Context, replace func(path string) error) error {
	return l.swap(ctx, replace)
}

// SweepChanges sweeps the change feed.
func (l *Ledger) SweepChanges(ctx context.Context, before int64, limit int) (deleted int64, err error) {
	return write(ctx, l, func(t *tx) (int64, error) { return t.exec(sweepChanges, before, limit), nil })
}

// Exec runs a statement on the writing connection, as nobody else may.
func (l *Ledger) Exec(ctx context.Context, query string, args ...any) error {
	return l.queueUp(ctx, func(t *tx) { t.exec(query, args...) })
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
	"holding": holdingQuery, "session": sessionQuery, "poll": pollQuery, "events": eventsQuery,
	"payments": paymentsQuery, "purchase events": purchaseEventsQuery, "charges": chargesQuery,
}

// Plans explains the queries that must use indexes.
func (l *Ledger) Plans(ctx context.Context) (map[string]string, error) {
	return l.explainAll(ctx, lookUpQueries, explain)
}

// Hold keeps the write lock for a while, beside other writes of the same transaction.
func (l *Ledger) Hold(ctx context.Context, d time.Duration) error {
	return l.queueUp(ctx, func(*tx) { time.Sleep(d) })
}

// HoldNext stops the next transaction before its commit: held is closed when it is there, and it goes on when release
// is closed. Nothing may be written meanwhile but by that transaction.
func (l *Ledger) HoldNext() (held, release chan struct{}) {
	held, release = make(chan struct{}), make(chan struct{})
	l.options.beforeCommit = func() {
		l.options.beforeCommit = func() {}
		close(held)
		<-release
	}
	return held, release
}
