package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// errLeft: nobody waits for what a turn would do next.
var errLeft = errors.New("given up")

// turn is several storage operations, one after the other, on one goroutine, with one
// timer and one place among the writes. Each has the whole timeout for itself, as if it
// were alone.
type turn struct {
	timeout time.Duration
	tell    func(operation string, err error)

	mu        sync.Mutex
	operation string    // the one under way, or the last
	until     time.Time // when it is given up
	left      bool      // nobody waits
}

// operate does one operation of the turn.
func (t *turn) operate(operation string, do func() ([]byte, error)) ([]byte, error) {
	if !t.begin(operation) {
		return nil, errLeft
	}
	value, err := do()
	t.failed(err)
	return value, err
}

func (t *turn) begin(operation string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.operation, t.until = operation, time.Now().Add(t.timeout)
	return !t.left
}

// failed tells of an error, unless it comes after the operation was given up, of which
// was told.
func (t *turn) failed(err error) {
	if err == nil {
		return
	}
	t.mu.Lock()
	operation, left := t.operation, t.left
	t.mu.Unlock()
	if !left {
		t.tell(operation, err)
	}
}

// remaining is how long the operation under way still has.
func (t *turn) remaining() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Until(t.until)
}

// leave gives up the operation under way; none begins after it.
func (t *turn) leave(err error) error {
	t.mu.Lock()
	operation := t.operation
	t.left = true
	t.mu.Unlock()
	t.tell(operation, err)
	return err
}

// end is how a turn ended.
type end struct {
	fresh bool
	err   error
}

// inTurn has do ask storage several times, which is cheaper in one turn than each time by
// itself. It returns when do has, or when an operation does not end in time. do may go on
// after that, so it must not write what the caller reads.
func (l *Ledger) inTurn(ctx context.Context, do func(context.Context, *Ledger) (fresh bool, err error)) (fresh bool, err error) {
	g := l.storage
	if g.turn != nil {
		return do(ctx, l)
	}
	during, cancel := context.WithCancel(ctx)
	defer cancel()
	timer := time.NewTimer(g.timeout)
	defer timer.Stop()
	t := &turn{timeout: g.timeout, tell: g.tell, operation: "store", until: time.Now().Add(g.timeout)}
	select {
	case g.writes <- struct{}{}:
	case <-timer.C:
		return false, t.leave(fmt.Errorf("%w: too many operations are waiting: %w", ErrStorageTimeout, context.DeadlineExceeded))
	case <-ctx.Done():
		return false, t.leave(fmt.Errorf("%w: too many operations are waiting: %w", ErrStorageTimeout, ctx.Err()))
	}
	g.turn = t
	done := make(chan end, 1)
	go func() {
		defer func() { <-g.writes }()
		// A panic in a storage module would otherwise end the whole server.
		defer func() {
			if p := recover(); p != nil {
				err := fmt.Errorf("storage panicked: %v", p)
				t.failed(err)
				done <- end{err: err}
			}
		}()
		fresh, err := do(during, &Ledger{storage: g})
		done <- end{fresh, err}
	}()
	for {
		select {
		case e := <-done:
			return e.fresh, e.err
		case <-ctx.Done():
			return false, t.leave(fmt.Errorf("%w: %w", ErrStorageTimeout, ctx.Err()))
		case <-timer.C:
			remaining := t.remaining()
			if remaining <= 0 {
				return false, t.leave(fmt.Errorf("%w: %w", ErrStorageTimeout, context.DeadlineExceeded))
			}
			timer.Reset(remaining) // it is not the first operation that is under way
		}
	}
}
