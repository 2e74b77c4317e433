package ledger

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"
)

const (
	// maxBatch bounds the writes of one transaction.
	maxBatch = 256
	// batchTime is how long a transaction accepts further writes. Other nodes wait for its lock for two seconds at most.
	batchTime = 500 * time.Millisecond
)

// write runs f in a transaction, which it shares with other writes, and returns after the commit what f has returned. An
// error that f returns does not roll back; tx.fail does. f may run twice and must not act on anything but its tx. ctx
// bounds how long the caller waits; a write that has begun goes on. ErrUnavailable leaves the outcome unknown.
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

// job is a write that waits in the queue.
type job struct {
	run   func(*tx)
	done  chan error  // holds one
	taken atomic.Bool // by the writer, or by a caller that stopped waiting
}

// transact queues f and returns after the commit of the transaction that ran it.
func (l *Ledger) transact(ctx context.Context, f func(*tx)) error {
	j := &job{run: f, done: make(chan error, 1)}
	select {
	case l.queue <- j:
		go l.writeQueue()
	case <-ctx.Done():
	}
	select {
	case err := <-j.done:
		return err
	case <-ctx.Done():
		j.taken.CompareAndSwap(false, true) // it is skipped if it has not begun
		return fmt.Errorf("%w: waiting for a write: %w", ErrUnavailable, context.Cause(ctx))
	}
}

// writeQueue writes what has gathered in the queue once it is its turn: with 32 callers, that stores several times as
// many payments a second as one transaction for each.
func (l *Ledger) writeQueue() {
	l.writing <- struct{}{}
	defer func() { <-l.writing }()
	var batch []*job
	for range min(len(l.queue), maxBatch) {
		if j := <-l.queue; j.taken.CompareAndSwap(false, true) {
			batch = append(batch, j)
		}
	}
	began := time.Now()
	for len(batch) > 0 {
		ran, failed, err := l.commit(batch)
		if failed && len(batch) > 1 {
			for _, j := range batch { // each fails only by itself, unless the database hangs: then as the batch did
				outcome := err
				if time.Since(began) < 4*batchTime {
					_, _, outcome = l.commit([]*job{j})
				}
				j.done <- outcome
			}
			return
		}
		for _, j := range batch[:ran] {
			j.done <- err
		}
		batch = batch[ran:]
	}
}

// commit runs as many jobs as there is time for in one transaction and commits it, and notes whether the ledger can be
// written. failed means that a job failed, so nothing was committed.
func (l *Ledger) commit(batch []*job) (ran int, failed bool, err error) {
	db, err := l.writable()
	if err != nil {
		return len(batch), false, err
	}
	var done tx // empty: no job ran
	err = db.write(func(t *tx) {
		l.checkOwner(t)
		for began := time.Now(); t.err == nil && ran < len(batch) && (ran == 0 || time.Since(began) < batchTime); ran++ {
			runSafely(t, batch[ran].run)
			done = *t
		}
	})
	if failed = done.err != nil; ran == 0 {
		ran = len(batch) // it did not begin, for any of them
	}
	databaseFailed := db.failed(err)
	if err = unavailable(err); errors.Is(err, ErrForeign) {
		l.health.checked(err)
	} else if err == nil && done.paid || err != nil && (!failed || databaseFailed) {
		l.health.wrote(err)
	}
	if err == nil && done.adopted != "" {
		l.installation.Store(&done.adopted)
	}
	if !failed && (len(done.changed) > 0 || done.keys) {
		l.options.OnChange(done.changed, done.keys) // also if the outcome is unknown
	}
	return ran, failed, err
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
