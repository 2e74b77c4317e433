package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// ErrStorageTimeout: a storage operation did not end in time; whether a Store
// took place is unknown.
var ErrStorageTimeout = errors.New("storage did not answer in time")

// inFlight bounds how many storage operations may hang at once.
const inFlight = 128

// guarded gives every storage operation an end, also where the backend ignores
// its context, as file systems do. Reads and writes are bounded apart, so that
// stalled readers cannot keep a webhook from being stored.
type guarded struct {
	storage Storage
	timeout time.Duration
	reads   chan struct{}
	writes  chan struct{}
	observe func(operation string, err error) // may be nil
}

func newGuarded(s Storage, timeout time.Duration) guarded {
	return guarded{
		storage: s, timeout: timeout,
		reads: make(chan struct{}, inFlight), writes: make(chan struct{}, inFlight),
	}
}

// Observe has each operation that failed told to f: "load", "store", "list" or
// "delete", and the error, which is ErrStorageTimeout where storage did not answer in time. That a
// record is not there is no failure, nor that who asked has left. It is called
// before the ledger is used.
func (l *Ledger) Observe(f func(operation string, err error)) { l.storage.observe = f }

// tell passes an error on to the observer.
func (g guarded) tell(operation string, err error) {
	if g.observe == nil || err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, context.Canceled) {
		return
	}
	g.observe(operation, err)
}

func (g guarded) load(ctx context.Context, key string) ([]byte, error) {
	value, err := g.run(ctx, g.reads, func(ctx context.Context) ([]byte, error) {
		return g.storage.Load(ctx, key)
	})
	g.tell("load", err)
	return value, err
}

func (g guarded) store(ctx context.Context, key string, value []byte) error {
	_, err := g.run(ctx, g.writes, func(ctx context.Context) ([]byte, error) {
		return nil, g.storage.Store(ctx, key, value)
	})
	g.tell("store", err)
	return err
}

type result struct {
	value []byte
	err   error
}

func (g guarded) run(ctx context.Context, slots chan struct{}, op func(context.Context) ([]byte, error)) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: too many operations are waiting: %w", ErrStorageTimeout, ctx.Err())
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-slots }()
		// A panic in a storage module would otherwise end the whole server.
		defer func() {
			if p := recover(); p != nil {
				done <- result{err: fmt.Errorf("storage panicked: %v", p)}
			}
		}()
		value, err := op(ctx)
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrStorageTimeout, ctx.Err())
	}
}
