package ledger

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"
)

const (
	// maxBatch bounds the writes of one transaction.
	maxBatch = 256
	// batchTime is how long a transaction accepts further writes. Other nodes wait for its lock for two seconds at most.
	batchTime = 500 * time.Millisecond
)

// write runs f in a transaction, which it shares with other writes, and returns after the commit what f has returned.
// An error that f returns does not roll back; tx.fail does.
//
// f may run twice and must not act on anything but its tx. ctx bounds the wait in the queue; after that the caller may
// stop waiting, but the write goes on. ErrUnavailable leaves the outcome unknown.
func write[T any](ctx context.Context, l *Ledger, f func(*tx) (T, error)) (T, error) {
	var result, none T
	var outcome error
	if err := l.queueUp(ctx, func(t *tx) { result, outcome = f(t) }); err != nil {
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
	done  chan error // holds one
	taken atomic.Bool
}

// queueUp runs a job in a transaction and returns after its commit.
func (l *Ledger) queueUp(ctx context.Context, run func(*tx)) error {
	if _, err := l.writable(); err != nil {
		return err
	}
	j := &job{run: run, done: make(chan error, 1)}
	if err := l.enqueue(ctx, j); err != nil {
		return err
	}
	select {
	case err := <-j.done:
		return err
	case <-ctx.Done():
		j.taken.CompareAndSwap(false, true) // the writer skips it if it has not begun
		return fmt.Errorf("%w: waiting for a write: %w", ErrUnavailable, context.Cause(ctx))
	}
}

func (l *Ledger) enqueue(ctx context.Context, j *job) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return errClosed
	}
	select {
	case l.queue <- j:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: waiting for a write: %w", ErrUnavailable, context.Cause(ctx))
	}
}

// runWriter turns the queue into transactions until it is closed.
func (l *Ledger) runWriter() {
	defer close(l.stopped)
	for first := range l.queue {
		batch := []*job{first}
		for range min(len(l.queue), maxBatch-1) {
			batch = append(batch, <-l.queue)
		}
		hasGone := func(j *job) bool { return !j.taken.CompareAndSwap(false, true) } // its caller
		l.runBatch(slices.DeleteFunc(batch, hasGone))
	}
}

// runBatch runs jobs as one transaction, or as several if they take long. If one of them fails, each runs in a
// transaction of its own.
func (l *Ledger) runBatch(batch []*job) {
	for len(batch) > 0 {
		ran, failed, err := l.runTransaction(batch)
		if failed && len(batch) > 1 {
			for _, j := range batch {
				l.runBatch([]*job{j})
			}
			return
		}
		if err != nil {
			ran = len(batch)
		}
		for _, j := range batch[:ran] {
			j.done <- err
		}
		batch = batch[ran:]
	}
}

// runTransaction runs and commits as many jobs of a batch as there is time for. failed means that a job failed and
// nothing was committed.
func (l *Ledger) runTransaction(batch []*job) (ran int, failed bool, err error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	db, err := l.writable()
	if err != nil {
		return 0, false, err
	}
	var current *tx
	err = db.write(func(t *tx) {
		current = t
		l.checkOwner(t)
		for began := time.Now(); t.err == nil && ran < len(batch) && (ran == 0 || time.Since(began) < batchTime); ran++ {
			batch[ran].runIn(t)
			failed = t.err != nil
		}
		l.options.beforeCommit()
	})
	kind := db.kindOf(err)
	failed = failed && kind != lostConnection // without a connection, the others would fail as well
	err = unavailable(err)
	switch {
	case errors.Is(err, ErrForeign):
		l.health.checked(err)
	case err == nil && current.paid, err != nil && (!failed || kind != ownError):
		l.health.wrote(err)
	}
	if failed {
		return 0, true, err
	}
	if err == nil && current.adopted != "" {
		l.installation.Store(&current.adopted)
	}
	if current != nil && (len(current.changed) > 0 || current.keys) {
		l.options.OnChange(current.changed, current.keys) // also if the outcome is unknown
	}
	return ran, false, err
}

// runIn runs a job. It turns a panic into an error, since all jobs share the writer.
func (j *job) runIn(t *tx) {
	defer func() {
		if r := recover(); r != nil {
			t.fail(fmt.Errorf("panic in a write: %v\n%s", r, debug.Stack()))
		}
	}()
	j.run(t)
}

const ownershipQuery = `
	SELECT COALESCE((SELECT id FROM installation), ''), COALESCE((SELECT MAX(oldest) FROM schema_versions), 0)`

// checkOwner makes sure that this is still the ledger that this process opened, and that no newer program has migrated
// it too far.
func (l *Ledger) checkOwner(t *tx) {
	var id string
	var oldest int
	if t.get(ownershipQuery, nil, &id, &oldest) {
		t.fail(l.checkSchema(oldest))
		t.fail(l.checkInstallation(id))
	}
}
