package ledger

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
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
	ctx  context.Context // of its caller
	run  func(*tx)
	done chan error // holds one
}

// queueUp runs a job in a transaction and returns after its commit.
func (l *Ledger) queueUp(ctx context.Context, run func(*tx)) error {
	if _, err := l.writable(); err != nil {
		return err
	}
	j := &job{ctx: ctx, run: run, done: make(chan error, 1)}
	l.mu.RLock()
	if l.closed {
		l.mu.RUnlock()
		return errClosed
	}
	select {
	case l.queue <- j:
	case <-ctx.Done():
	}
	l.mu.RUnlock()
	select {
	case err := <-j.done:
		return err
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
		batch = slices.DeleteFunc(batch, func(j *job) bool { return j.ctx.Err() != nil }) // nobody waits for it
		for len(batch) > 0 {
			batch = batch[l.runBatch(batch):]
		}
	}
}

// runBatch runs as many jobs as there is time for in one transaction, and returns their number. If one of them fails,
// each runs in a transaction of its own.
func (l *Ledger) runBatch(batch []*job) int {
	ran, failed, err := l.runTransaction(batch)
	if failed && ran > 1 {
		for _, j := range batch[:ran] {
			l.runBatch([]*job{j})
		}
		return ran
	}
	if err != nil && !failed {
		ran = len(batch) // the others would fail as well
	}
	for _, j := range batch[:ran] {
		j.done <- err
	}
	return ran
}

// runTransaction runs and commits jobs. failed means that the last one failed and nothing was committed.
func (l *Ledger) runTransaction(batch []*job) (ran int, failed bool, err error) {
	db, err := l.writable()
	if err != nil {
		return 0, false, err
	}
	var current tx
	err = db.write(func(t *tx) {
		l.checkOwner(t)
		for began := time.Now(); t.err == nil && ran < len(batch) && (ran == 0 || time.Since(began) < batchTime); ran++ {
			batch[ran].runIn(t)
			failed = t.err != nil
		}
		current = *t
	})
	kind := db.kindOf(err)
	failed = failed && kind != lostConnection
	if err = unavailable(err); errors.Is(err, ErrForeign) {
		l.health.checked(err)
	} else if err == nil && current.paid || err != nil && (!failed || kind == databaseError) {
		l.health.wrote(err)
	}
	if err == nil && current.adopted != "" {
		l.installation.Store(&current.adopted)
	}
	if !failed && (len(current.changed) > 0 || current.keys) {
		l.options.OnChange(current.changed, current.keys) // also if the outcome is unknown
	}
	return ran, failed, err
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
