// Package cache holds bounded memories. A read takes no lock that others wait on.
//
// All of them are one kind of otter.Cache: each further one would have the compiler
// make its code once more, 140 kB of Caddy's binary.
package cache

import (
	"time"

	"github.com/maypok86/otter/v2"
)

// Cache remembers values by strings. V is a pointer. It is safe for concurrent use.
type Cache[V any] struct{ entries *otter.Cache[string, any] }

// New returns a cache of at most size entries.
func New[V any](size int) Cache[V] {
	return with[V](otter.Options[string, any]{MaximumSize: size})
}

// Expiring returns a cache of at most size entries that forgets each a lifetime after
// it was written.
func Expiring[V any](size int, lifetime time.Duration) Cache[V] {
	return with[V](otter.Options[string, any]{
		MaximumSize:      size,
		ExpiryCalculator: otter.ExpiryWriting[string, any](lifetime),
	})
}

// Weighted returns a cache whose entries weigh at most limit together.
func Weighted[V any](limit uint64, weigh func(V) uint32) Cache[V] {
	return with[V](otter.Options[string, any]{
		MaximumWeight: limit,
		Weigher:       func(_ string, value any) uint32 { return weigh(value.(V)) },
	})
}

func with[V any](options otter.Options[string, any]) Cache[V] {
	return Cache[V]{otter.Must(&options)}
}

// GetIfPresent returns the value of the key, and whether there is one.
func (c Cache[V]) GetIfPresent(key string) (V, bool) {
	value, _ := c.entries.GetIfPresent(key)
	known, ok := value.(V)
	return known, ok
}

// Set remembers the value in place of what the key had.
func (c Cache[V]) Set(key string, value V) { c.entries.Set(key, value) }

// SetIfAbsent remembers the value unless the key has one. It returns the one that the
// key has now, and whether that is new.
func (c Cache[V]) SetIfAbsent(key string, value V) (V, bool) {
	known, first := c.entries.SetIfAbsent(key, value)
	return known.(V), first
}

// Invalidate forgets the key.
func (c Cache[V]) Invalidate(key string) { c.entries.Invalidate(key) }

// InvalidateAll forgets every key.
func (c Cache[V]) InvalidateAll() { c.entries.InvalidateAll() }

// EstimatedSize applies the bounds and returns the number of entries.
func (c Cache[V]) EstimatedSize() int {
	c.entries.CleanUp()
	return c.entries.EstimatedSize()
}

// Size returns the number of entries, with those that the bounds are about to remove.
func (c Cache[V]) Size() int { return c.entries.EstimatedSize() }

// StopAllGoroutines ends the background work.
func (c Cache[V]) StopAllGoroutines() { c.entries.StopAllGoroutines() }
