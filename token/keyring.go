// Package token holds the signing keys of an installation, and signs and
// verifies tokens with them. All nodes share one Store, so tokens survive a
// reload or a restart and are valid on every node.
package token

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	now     func() time.Time
	storage sync.Mutex // held while keys are read or changed, so that an older set never replaces a newer one
	snap    atomic.Pointer[keys]
	ready   chan struct{}
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
	k.storage.Lock()
	defer k.storage.Unlock()
	set, err := store.Keys(ctx)
	if err != nil {
		return fmt.Errorf("reading the signing keys: %w", err)
	}
	return k.use(set)
}

// Ensure loads the keys and adds one of the algorithm if there is none. It may wait for a write
// transaction: never call it while serving a request.
func (k *Keyring) Ensure(ctx context.Context, store Store, algorithm string) error {
	switch err := k.Refresh(ctx, store); {
	case errors.Is(err, ErrNoKeys):
	case err != nil:
		return err
	case slices.ContainsFunc(k.snap.Load().ordered, func(each *key) bool { return each.algorithm == algorithm }):
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
	k.storage.Lock()
	defer k.storage.Unlock()
	set, err := store.ChangeKeys(ctx, func(set KeySet) ([]StoredKey, error) {
		set.Keys = slices.Clone(set.Keys)
		if err := set.check(); err != nil {
			return nil, err
		}
		if changed, err := edit(&set); !changed || err != nil {
			return nil, err
		}
		return set.Keys, nil
	})
	if err != nil {
		return fmt.Errorf("changing the signing keys: %w", err)
	}
	return k.use(set)
}

// use takes the stored keys into use.
func (k *Keyring) use(set KeySet) error {
	if len(set.Keys) == 0 {
		return ErrNoKeys
	}
	if err := set.check(); err != nil {
		return err
	}
	snap := &keys{installation: set.Installation, byID: make(map[string]*key, len(set.Keys)), heads: make(map[string]head)}
	for _, stored := range set.Keys {
		usable, err := stored.usable()
		if err != nil {
			return err
		}
		addHeads(snap.heads, usable)
		snap.byID[usable.id] = usable
		snap.ordered = append(snap.ordered, usable)
	}
	if k.snap.Swap(snap) == nil {
		close(k.ready)
	}
	return nil
}

// anyAlgorithm makes signer prefer none.
const anyAlgorithm = ""

// signer returns the newest key that may sign, preferring the algorithm.
func (s *keys) signer(algorithm string, now time.Time) *key {
	best := s.ordered[0] // also where this clock is behind that of the node that made the first key
	for _, candidate := range s.ordered {
		if !candidate.signFrom.After(now) && (best.signFrom.After(now) || candidate.algorithm == algorithm || best.algorithm != algorithm) {
			best = candidate
		}
	}
	return best
}
