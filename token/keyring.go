// Package token holds the signing keys of an installation, and signs and
// verifies tokens with them. All nodes share one Store, so tokens survive a
// reload or a restart and are valid on every node.
package token

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// Algorithms a key can be pinned to.
const (
	HS256 = "HS256"
	EdDSA = "EdDSA"
)

// Errors of a Keyring.
var (
	// ErrNoKeys means that no keys have been loaded, or that none exist.
	ErrNoKeys = errors.New("no signing keys yet")
	// ErrCorruptKeys means that a stored key cannot be used. The set is never overwritten,
	// since that would lock out all buyers.
	ErrCorruptKeys = errors.New("stored signing keys are corrupt")
	// ErrUnknownKey means that there is no key with that id.
	ErrUnknownKey = errors.New("no signing key has this id")
)

// key is one usable key.
type key struct {
	id        string
	algorithm string
	signing   any // []byte or ed25519.PrivateKey
	verifying any // []byte or ed25519.PublicKey
	derived   map[Use][]byte
	created   time.Time
	signFrom  time.Time
	keepUntil time.Time // zero: it may still sign
}

// keys is an immutable snapshot of the stored keys.
type keys struct {
	installation string
	byID         map[string]*key
	heads        map[string]head // by a token's header as it is written
	ordered      []*key          // oldest first
}

// Keyring holds the keys in memory. It is safe for concurrent use and outlives a reload of
// the configuration.
type Keyring struct {
	now   func() time.Time
	snap  atomic.Pointer[keys]
	ready chan struct{}
	once  sync.Once
}

// NewKeyring returns an empty keyring; Ensure fills it.
func NewKeyring(now func() time.Time) *Keyring {
	return &Keyring{now: now, ready: make(chan struct{})}
}

// Ready is closed once the stored keys are loaded.
func (k *Keyring) Ready() <-chan struct{} { return k.ready }

// Installation returns the random id of this installation, "" before the keys
// are loaded.
func (k *Keyring) Installation() string {
	if s := k.snap.Load(); s != nil {
		return s.installation
	}
	return ""
}

// Refresh loads the stored keys, as other nodes may have added and removed some. It returns
// ErrNoKeys if none are stored, and then keeps the keys in memory.
func (k *Keyring) Refresh(ctx context.Context, store Store) error {
	for {
		before := k.snap.Load()
		set, err := store.Keys(ctx)
		if err != nil {
			return fmt.Errorf("reading the signing keys: %w", err)
		}
		if done, err := k.use(set, before); done || err != nil {
			return err
		}
	}
}

// Ensure loads the keys and adds one of the algorithm if there is none. It may wait for a write
// transaction: never call it while serving a request.
func (k *Keyring) Ensure(ctx context.Context, store Store, algorithm string) error {
	switch err := k.Refresh(ctx, store); {
	case errors.Is(err, ErrNoKeys):
	case err != nil:
		return err
	case k.has(algorithm):
		return nil
	}
	return k.change(ctx, store, func(set *KeySet) (changed bool, err error) {
		if set.has(algorithm) { // another node was faster
			return false, nil
		}
		set.add(algorithm, k.now())
		return true, nil
	})
}

// change edits the stored keys in a transaction and loads them. edit may be called twice.
func (k *Keyring) change(ctx context.Context, store Store, edit func(*KeySet) (changed bool, err error)) error {
	var before *keys
	set, err := store.ChangeKeys(ctx, func(set KeySet) ([]StoredKey, error) {
		before = k.snap.Load()
		set = set.withoutRemoved()
		if err := set.check(); err != nil {
			return nil, err
		}
		if changed, err := edit(&set); !changed || err != nil {
			return nil, err
		}
		set.prune(k.now())
		return set.Keys, nil
	})
	if err != nil {
		return fmt.Errorf("changing the signing keys: %w", err)
	}
	if done, err := k.use(set, before); done || err != nil {
		return err
	}
	return k.Refresh(ctx, store)
}

// use loads the stored keys, unless others were loaded in the meantime. The set may be older than
// those, and a removed key must not come back, so the caller then reads the set again.
func (k *Keyring) use(set KeySet, before *keys) (done bool, err error) {
	snap, err := newKeys(set.withoutRemoved())
	if err != nil {
		return false, err
	}
	if !k.snap.CompareAndSwap(before, snap) {
		return false, nil
	}
	k.once.Do(func() { close(k.ready) })
	return true, nil
}

func newKeys(set KeySet) (*keys, error) {
	if len(set.Keys) == 0 {
		return nil, ErrNoKeys
	}
	if err := set.check(); err != nil {
		return nil, err
	}
	snap := &keys{installation: set.Installation, byID: make(map[string]*key, len(set.Keys)), heads: make(map[string]head)}
	for i, stored := range set.Keys {
		usable, err := stored.usable()
		if err != nil {
			return nil, err
		}
		usable.keepUntil = set.keepUntil(i)
		heads, err := headsOf(usable)
		if err != nil {
			return nil, err
		}
		maps.Copy(snap.heads, heads)
		snap.byID[usable.id] = usable
		snap.ordered = append(snap.ordered, usable)
	}
	return snap, nil
}

func (k *Keyring) has(algorithm string) bool {
	snap := k.snap.Load()
	if snap == nil {
		return false
	}
	for _, each := range snap.ordered {
		if each.algorithm == algorithm {
			return true
		}
	}
	return false
}

// anyAlgorithm makes signer prefer none.
const anyAlgorithm = ""

// signer returns the newest key that may sign, preferring the algorithm. keepUntil relies on it
// never returning an older key of an algorithm.
func (s *keys) signer(algorithm string, now time.Time) *key {
	var best *key
	for _, candidate := range s.ordered {
		if candidate.signFrom.After(now) {
			continue
		}
		if best == nil || candidate.algorithm == algorithm || best.algorithm != algorithm {
			best = candidate
		}
	}
	if best == nil { // this clock is behind that of the node that made the first key
		return s.ordered[0]
	}
	return best
}
