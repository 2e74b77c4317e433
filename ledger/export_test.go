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
	err = l.write(ctx, func(ctx context.Context, tx *tx) (err error) {
		deleted, err = sweepChanges(ctx, tx, before, limit)
		return err
	})
	return deleted, err
}

// Exec runs a statement on the writing connection, as nobody else may.
func (l *Ledger) Exec(ctx context.Context, query string, args ...any) error {
	return l.write(ctx, func(ctx context.Context, tx *tx) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	})
}

// Dump returns every row of the tables that a purchase is computed from, and the purchase itself, without
// the times at which rows were stored.
func (l *Ledger) Dump(ctx context.Context) (dump []string, err error) {
	err = l.read(ctx, func(ctx context.Context, tx *tx) error {
		dump = nil
		for _, query := range []string{
			`SELECT 'purchase ' || id || ' ' || product || ' ' || resource || ' ' || status || ' ' || starts_at || ' ' ||
				COALESCE(ends_at, 0) || ' ' || device_limit || ' ' || download_limit FROM purchases ORDER BY id`,
			`SELECT 'payment ' || session_id || ' ' || purchase_id || ' ' || outcome || ' ' || paid_at FROM payments ORDER BY session_id`,
			`SELECT 'id ' || session_id || ' ' || payment_id || ' ' || same_as || ' ' || outcome FROM payment_ids ORDER BY session_id, payment_id, same_as`,
			`SELECT 'event ' || kind || ' ' || session_id || ' ' || id FROM events ORDER BY id`,
		} {
			rows, err := tx.texts(ctx, query)
			if err != nil {
				return err
			}
			dump = append(dump, rows...)
		}
		return nil
	})
	return dump, err
}

// lookUpQueries must use indexes.
var lookUpQueries = map[string]string{
	"holding": holdingQuery, "session": sessionQuery, "poll": pollQuery, "events": eventsQuery,
	"payments": paymentsQuery, "purchase events": purchaseEventsQuery, "extensions": extensionsQuery,
}

// Plans explains the queries that must use indexes.
func (l *Ledger) Plans(ctx context.Context) (map[string]string, error) {
	return l.explainAll(ctx, lookUpQueries, explain)
}

// Hold keeps the write lock for a while, beside other writes of the same transaction.
func (l *Ledger) Hold(ctx context.Context, d time.Duration) error {
	return l.write(ctx, func(context.Context, *tx) error {
		time.Sleep(d)
		return nil
	})
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
