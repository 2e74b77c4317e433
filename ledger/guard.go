package ledger

import (
	"context"
	"errors"
	"fmt"
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
}

func newGuarded(s Storage, timeout time.Duration) guarded {
	return guarded{
		storage: s, timeout: timeout,
		reads: make(chan struct{}, inFlight), writes: make(chan struct{}, inFlight),
	}
}

func (g guarded) load(ctx context.Context, key string) ([]byte, error) {
	return g.run(ctx, g.reads, func(ctx context.Context) ([]byte, error) {
		return g.storage.Load(ctx, key)
	})
}

func (g guarded) store(ctx context.Context, key string, value []byte) error {
	_, err := g.run(ctx, g.writes, func(ctx context.Context) ([]byte, error) {
		return nil, g.storage.Store(ctx, key, value)
	})
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
		return nil, fmt.Errorf("%w: too many operations are waiting", ErrStorageTimeout)
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
