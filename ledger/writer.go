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
	// batchTime is how long a transaction takes further writes: other nodes wait for its lock, and give up after two
	// seconds.
	batchTime = 500 * time.Millisecond
)

// job is a write that waits in the queue.
type job struct {
	run   func(context.Context, *tx) error
	done  chan error // holds one
	taken atomic.Bool
}

// write runs f in a transaction and returns after its commit. It shares the transaction with other writes.
//
// f may run twice and must not act on anything but its tx. An error of f undoes the transaction, so f
// reports outcomes that undo nothing through a variable. ctx bounds the wait in the queue; after that the
// caller may stop waiting, but the write goes on. An error that wraps ErrUnavailable leaves the outcome
// unknown.
func (l *Ledger) write(ctx context.Context, f func(context.Context, *tx) error) error {
	if _, err := l.database(); err != nil {
		return err
	}
	if err := l.health.fault(); err != nil {
		return err
	}
	j := &job{run: f, done: make(chan error, 1)}
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
		return fmt.Errorf("%w: closed", ErrUnavailable)
	}
	select {
	case l.queue <- j:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: waiting for a write: %w", ErrUnavailable, context.Cause(ctx))
	}
}

// runWriter turns what has gathered in the queue into transactions until the queue is closed.
func (l *Ledger) runWriter() {
	defer close(l.stopped)
	batch := make([]*job, 0, maxBatch)
	for first := range l.queue {
		batch = appendTaken(batch[:0], first)
		for gathering := true; gathering && len(batch) < maxBatch; {
			select {
			case next, ok := <-l.queue:
				if gathering = ok; ok {
					batch = appendTaken(batch, next)
				}
			default:
				gathering = false
			}
		}
		l.runBatch(batch)
		clear(batch)
	}
}

func appendTaken(batch []*job, j *job) []*job {
	if !j.taken.CompareAndSwap(false, true) {
		return batch // its caller has gone
	}
	return append(batch, j)
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

// runTransaction runs the first jobs of a batch, as many as there is time for, and commits them. failed says that a
// job failed and nothing was committed.
func (l *Ledger) runTransaction(batch []*job) (ran int, failed bool, err error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	db, err := l.database()
	if err != nil {
		return 0, false, err
	}
	if err := l.health.fault(); err != nil {
		return 0, false, err
	}
	var current *tx
	err = db.transaction(func(ctx context.Context, tx *tx) error {
		current = tx
		if err := l.ownInstallation(ctx, tx); err != nil {
			return err
		}
		for began := time.Now(); ran < len(batch) && (ran == 0 || time.Since(began) < batchTime); ran++ {
			if err := runJob(ctx, tx, batch[ran]); err != nil {
				failed = true
				return err
			}
		}
		l.options.beforeCommit()
		return nil
	})
	failed = failed && !db.isLost(err)    // without a connection, the others would fail as well
	isFault := !failed || db.isFault(err) // a job's own error says nothing about the database
	err = unavailable(err)
	switch {
	case errors.Is(err, ErrForeign):
		l.health.fail(l.options, err)
	case err == nil && current.paid || err != nil && isFault && errors.Is(err, ErrUnavailable):
		l.health.wrote(l.options, err)
	}
	if failed {
		return 0, true, err
	}
	if err == nil && current.adopted != "" {
		l.installation.Store(&current.adopted)
	}
	if current != nil && (len(current.changed) > 0 || current.keys) {
		l.options.OnChange(current.changed, current.keys) // also where the outcome is unknown
	}
	return ran, false, err
}

// ownershipQuery returns the installation, empty where there is none, and the oldest schema version that may be used.
const ownershipQuery = `
	SELECT COALESCE((SELECT id FROM installation), ''), COALESCE((SELECT MAX(oldest) FROM schema_versions), 0)`

// ownInstallation makes sure that a transaction writes to the ledger that this process opened, and that no newer
// program has changed it too much meanwhile.
func (l *Ledger) ownInstallation(ctx context.Context, tx *tx) error {
	var id string
	var oldest int
	if err := tx.QueryRowContext(ctx, ownershipQuery).Scan(&id, &oldest); err != nil {
		return err
	}
	if err := l.checkSchema(oldest); err != nil {
		return err
	}
	return l.checkInstallation(id)
}

// runJob turns a panic into an error: the writer belongs to all.
func runJob(ctx context.Context, tx *tx, j *job) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic in a write: %v\n%s", r, debug.Stack())
		}
	}()
	return j.run(ctx, tx)
}
