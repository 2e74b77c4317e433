// Package cache holds bounded caches whose readers do not wait for each other.
//
// They share one instance of the generic otter.Cache: each further one would add 140 kB
// to Caddy's binary.
package cache

import (
	"time"

	"github.com/maypok86/otter/v2"
)

// Cache maps strings to values. V is a pointer. It is safe for concurrent use.
type Cache[V any] struct{ entries *otter.Cache[string, any] }

// New returns a cache of at most size entries.
func New[V any](size int) Cache[V] {
	return with[V](otter.Options[string, any]{MaximumSize: size})
}

// Expiring returns a cache of at most size entries that drops each entry a lifetime after
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

// Set stores a value.
func (c Cache[V]) Set(key string, value V) { c.entries.Set(key, value) }

// SetIfAbsent stores a value unless the key has one. It returns the value of the key, and
// whether it is new.
func (c Cache[V]) SetIfAbsent(key string, value V) (V, bool) {
	known, first := c.entries.SetIfAbsent(key, value)
	return known.(V), first
}

// Invalidate drops a key.
func (c Cache[V]) Invalidate(key string) { c.entries.Invalidate(key) }

// InvalidateAll drops every key.
func (c Cache[V]) InvalidateAll() { c.entries.InvalidateAll() }

// EstimatedSize applies the bounds and returns the number of entries.
func (c Cache[V]) EstimatedSize() int {
	c.entries.CleanUp()
	return c.entries.EstimatedSize()
}

// StopAllGoroutines stops the background work.
func (c Cache[V]) StopAllGoroutines() { c.entries.StopAllGoroutines() }
