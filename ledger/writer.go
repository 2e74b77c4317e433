package ledger

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
)

// write runs f in a transaction of its own, one after another, and returns after the commit what f has returned. An error
// that f returns does not roll back; tx.fail does. ctx bounds how long the caller waits; a write that has begun goes on.
// ErrUnavailable leaves the outcome unknown.
func write[T any](ctx context.Context, l *Ledger, f func(*tx) (T, error)) (T, error) {
	var result, none T
	var outcome error
	if err := l.transact(ctx, func(t *tx) { result, outcome = f(t) }); err != nil {
		return none, err // f may still be running
	}
	return result, outcome
}

func change(ctx context.Context, l *Ledger, f func(*tx) error) error {
	_, err := write(ctx, l, func(t *tx) (struct{}, error) { return struct{}{}, f(t) })
	return err
}

// transact waits for its turn, runs f in a transaction and returns after its commit.
func (l *Ledger) transact(ctx context.Context, f func(*tx)) error {
	done := make(chan error, 1)
	select {
	case l.writing <- struct{}{}:
		go func() {
			defer func() { <-l.writing }()
			done <- l.commit(f)
		}()
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: waiting for a write: %w", ErrUnavailable, context.Cause(ctx))
	}
}

// commit runs f in a transaction and commits it, and notes whether the ledger can be written.
func (l *Ledger) commit(f func(*tx)) error {
	db, err := l.writable()
	if err != nil {
		return err
	}
	var done tx // empty: f did not run
	err = db.write(func(t *tx) {
		if l.checkOwner(t); t.err == nil {
			runSafely(t, f)
			done = *t
		}
	})
	failed := db.failed(err)
	if err = unavailable(err); errors.Is(err, ErrForeign) {
		l.health.checked(err)
	} else if err == nil && done.paid || err != nil && (done.err == nil || failed) {
		l.health.wrote(err)
	}
	if err == nil && done.adopted != "" {
		l.installation.Store(&done.adopted)
	}
	if done.err == nil && (len(done.changed) > 0 || done.keys) {
		l.options.OnChange(done.changed, done.keys) // also if the outcome is unknown
	}
	return err
}

// runSafely turns a panic into an error: no other recovers it here.
func runSafely(t *tx, f func(*tx)) {
	defer func() {
		if r := recover(); r != nil {
			t.fail(fmt.Errorf("panic in a write: %v\n%s", r, debug.Stack()))
		}
	}()
	f(t)
}

// checkOwner makes sure that this is still the ledger that this process opened, and that no newer program has migrated
// it too far.
func (l *Ledger) checkOwner(t *tx) {
	var id string
	var oldest int
	if t.get(`SELECT COALESCE((SELECT id FROM installation), ''), COALESCE((SELECT MAX(oldest) FROM schema_versions), 0)`, nil, &id, &oldest) {
		t.fail(l.checkSchema(oldest))
		t.fail(l.checkInstallation(id))
	}
}
