// Package token holds the signing keys of an installation, and signs and verifies tokens with them. All nodes share one
// Store, so tokens survive a reload or a restart and are valid on every node.
package token

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
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

// Keyring holds the keys in memory. It is safe for concurrent use and outlives a reload of the configuration.
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

// Installation returns the random id of this installation, "" before the keys are loaded.
func (k *Keyring) Installation() string {
	if s := k.snap.Load(); s != nil {
		return s.installation
	}
	return ""
}

// Knows reports whether tokens of the key are accepted. A verified token may be remembered
// for as long as its key is known.
func (k *Keyring) Knows(kid string) bool {
	snap := k.snap.Load()
	return snap != nil && snap.byID[kid] != nil
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
	case slices.ContainsFunc(k.snap.Load().ordered, func(each *key) bool { return each.Algorithm == algorithm }):
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

// Rotate adds a key of the algorithm and returns its id. The key signs after three minutes, when every node knows it.
// The keys that it replaces still verify. Like Ensure, it may wait for a write transaction.
func (k *Keyring) Rotate(ctx context.Context, store Store, algorithm string) (kid string, err error) {
	err = k.change(ctx, store, func(set *KeySet) (changed bool, err error) {
		kid = set.add(algorithm, k.now()).ID
		return true, nil
	})
	return kid, err
}

// Remove revokes a leaked key and everything that it has signed: here at once, on other nodes when they Refresh. An older
// key, which all nodes know, signs in its place. Without one, a waiting or new key of the algorithm signs at once; other
// nodes refuse its tokens until they Refresh. Like Ensure, Remove may wait for a write transaction.
func (k *Keyring) Remove(ctx context.Context, store Store, kid, algorithm string) error {
	return k.change(ctx, store, func(set *KeySet) (changed bool, err error) {
		at := slices.IndexFunc(set.Keys, func(stored StoredKey) bool { return stored.ID == kid })
		if at < 0 {
			return false, ErrUnknownKey
		}
		set.Keys = slices.Delete(set.Keys, at, at+1)
		set.replace(algorithm, k.now())
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
		snap.addHeads(usable)
		snap.byID[usable.ID] = usable
		snap.ordered = append(snap.ordered, usable)
	}
	if k.snap.Swap(snap) == nil {
		close(k.ready)
	}
	return nil
}

// What a key signs.
const (
	SignsAccess = "access tokens"
	SignsOthers = "cookies and links" // pending cookies, device links, private addresses, previews
)

// KeyInfo describes a key. It never holds a secret.
type KeyInfo struct {
	ID        string    `json:"kid"`
	Algorithm string    `json:"alg"`
	Created   time.Time `json:"created,omitzero"`
	SignsFrom time.Time `json:"signs_from,omitzero"`
	Signs     []string  `json:"signs,omitempty"` // now; others only verify
}

// List describes the keys, oldest first. The algorithm is the configured one.
func (k *Keyring) List(algorithm string) []KeyInfo {
	list := []KeyInfo{}
	snap := k.snap.Load()
	if snap == nil {
		return list
	}
	access, others := snap.signer(algorithm, k.now()), snap.signer(anyAlgorithm, k.now())
	for _, each := range snap.ordered {
		info := KeyInfo{ID: each.ID, Algorithm: each.Algorithm, Created: each.CreatedAt, SignsFrom: each.SignFrom}
		if each == access {
			info.Signs = append(info.Signs, SignsAccess)
		}
		if each == others {
			info.Signs = append(info.Signs, SignsOthers)
		}
		list = append(list, info)
	}
	return list
}

// PublicKeys returns the public keys of all Ed25519 keys, including those that do not sign yet, as RFC 8037, section 2,
// writes them. The error is ErrNoKeys before the stored keys are loaded.
func (k *Keyring) PublicKeys() ([]map[string]string, error) {
	snap := k.snap.Load()
	if snap == nil {
		return nil, ErrNoKeys
	}
	public := []map[string]string{}
	for _, each := range snap.ordered {
		if key, ok := each.verifying.(ed25519.PublicKey); ok {
			public = append(public, map[string]string{
				"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(key), "kid": each.ID, "alg": EdDSA, "use": "sig",
			})
		}
	}
	return public, nil
}
