package paywall

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-axra/paywall/internal/node"
)

// pool holds what survives a reload, by kind and by a hash of the configuration
// that it depends on.
var pool = caddy.NewUsagePool()

// acquire returns a value from the pool, constructing it if necessary. The app holds it until it is cleaned up.
func acquire[T caddy.Destructor](a *App, kind string, construct func() T, dependsOn ...any) T {
	hash := sha256.New()
	for _, part := range dependsOn {
		fmt.Fprintf(hash, "%#v\n", part)
	}
	key := kind + ":" + hex.EncodeToString(hash.Sum(nil))
	value, _, _ := pool.LoadOrNew(key, func() (caddy.Destructor, error) { return construct(), nil })
	a.shared.releases = append(a.shared.releases, func() { _, _ = pool.Delete(key) })
	return value.(T) //nolint:forcetypeassert // the kind is part of the key
}

// acquireValue is acquire for values that need no clean-up.
func acquireValue[T any](a *App, kind string, construct func() T, dependsOn ...any) T {
	return acquire(a, kind, func() *pooled[T] { return &pooled[T]{value: construct()} }, dependsOn...).value
}

type pooled[T any] struct{ value T }

// Destruct does nothing.
func (*pooled[T]) Destruct() error { return nil }

// inPool returns the values of a type in the pool. It releases the pool's lock, for which a reload waits, before
// callers use them.
func inPool[T any]() (found []T) {
	pool.Range(func(_, value any) bool {
		if each, ok := value.(T); ok {
			found = append(found, each)
		}
		return true
	})
	return found
}

// runningNode returns the running node that another one would replace; nil if there is none.
func runningNode(other *node.Node) *node.Node {
	if other.IsStarted() {
		return nil
	}
	for _, n := range inPool[*node.Node]() {
		if n != other && n.IsStarted() {
			return n
		}
	}
	return nil
}

// anySuspended returns 1 if a client in the pool has suspended its calls. A client that has left the pool does not
// count, even if old requests still use it.
func anySuspended() float64 {
	for _, client := range inPool[*axraClient]() {
		if client.isSuspended.Load() {
			return 1
		}
	}
	return 0
}

// oldestFeed returns the seconds since the change feed was last read; 0 without a ledger.
func oldestFeed() float64 {
	oldest := 0.0
	for _, n := range inPool[*node.Node]() {
		oldest = max(oldest, n.FeedAge().Seconds())
	}
	return oldest
}

// countTokens returns how many verified tokens this process remembers.
func countTokens() float64 {
	total := 0
	for _, n := range inPool[*node.Node]() {
		total += n.Access.Size()
	}
	return float64(total)
}
