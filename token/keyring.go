// Package token keeps the signing keys of an installation and signs and
// verifies with them. Keys live in the storage that all nodes share, so that a
// reload, a restart or a second node changes nothing for a paid visitor.
package token

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
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
	// ErrNoKeys: the keys have not been loaded yet.
	ErrNoKeys = errors.New("signing keys are not loaded")
	// ErrGarbledKeys: the stored keyring cannot be read; it is never overwritten,
	// since that would log out everybody who has paid.
	ErrGarbledKeys = errors.New("stored keyring is garbled")
	// ErrUnknownKey: there is no key of that id.
	ErrUnknownKey = errors.New("no signing key has this id")
)

const (
	keyringVersion = 1
	keyringKey     = "axra/keyring.json"
	keyringLock    = "axra_keyring"

	// activation is how long a further key waits before it signs, so that every
	// node has read it by then (they look every RefreshEvery).
	activation = 3 * RefreshEvery
)

// RefreshEvery is how often a node looks for keys that other nodes have added.
const RefreshEvery = time.Minute

// Storage is the part of certmagic.Storage that a Keyring needs.
type Storage interface {
	Load(ctx context.Context, key string) ([]byte, error)
	Store(ctx context.Context, key string, value []byte) error
	Lock(ctx context.Context, name string) error
	Unlock(ctx context.Context, name string) error
}

// keyRecord is one key as stored.
type keyRecord struct {
	ID        string    `json:"kid"`
	Algorithm string    `json:"alg"`
	Secret    []byte    `json:"secret"` // 32 random bytes: the HMAC key, or the Ed25519 seed
	Created   time.Time `json:"created"`
	SignFrom  time.Time `json:"sign_from"`
}

type keyringRecord struct {
	Version      int         `json:"v"`
	Installation string      `json:"installation"`
	Keys         []keyRecord `json:"keys"`
}

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

// keys is an immutable snapshot of the keyring.
type keys struct {
	installation string
	byID         map[string]*key
	heads        map[string]head // by a token's header as it is written
	ordered      []*key          // oldest first
}

// Keyring holds the keys in memory. It is safe for concurrent use, and meant to outlive a reload of
// the configuration.
type Keyring struct {
	now    func() time.Time
	snap   atomic.Pointer[keys]
	ready  chan struct{}
	once   sync.Once
	forged *forgedTokens

	mu      sync.Mutex
	changes int // how often this process has changed what is stored

	generation atomic.Pointer[Generation]
}

// NewKeyring returns an empty keyring; Ensure fills it.
func NewKeyring(now func() time.Time) *Keyring {
	return &Keyring{now: now, ready: make(chan struct{}), forged: newForgedTokens()}
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

// Refresh loads the stored keys without taking a lock: keys that other nodes have
// added are known from then on, and those that they have removed are void. It returns
// an error that wraps fs.ErrNotExist where none are stored yet.
func (k *Keyring) Refresh(ctx context.Context, storage Storage) error {
	before := k.changed()
	record, err := load(ctx, storage)
	if err != nil {
		return err
	}
	return k.use(record, before)
}

// Ensure loads the keys and makes sure that one of the given algorithm is
// among them, creating it under the storage's lock. It may wait for that lock:
// never call it on a request's path.
func (k *Keyring) Ensure(ctx context.Context, storage Storage, algorithm string) error {
	before := k.changed()
	record, err := load(ctx, storage)
	if err == nil && record.has(algorithm) {
		return k.use(record, before)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// Keys that exist are used while a further one is being made.
	if err == nil {
		if err := k.use(record, before); err != nil {
			return err
		}
	}
	return k.change(ctx, storage, func(record *keyringRecord) (changed bool, err error) {
		if record.has(algorithm) { // another node was faster
			return false, nil
		}
		record.add(algorithm, k.now())
		return true, nil
	})
}

// change edits the stored keys under the storage's lock, and uses them.
func (k *Keyring) change(ctx context.Context, storage Storage, edit func(*keyringRecord) (changed bool, err error)) error {
	if err := storage.Lock(ctx, keyringLock); err != nil {
		return fmt.Errorf("locking the keyring: %w", err)
	}
	defer func() { _ = storage.Unlock(context.WithoutCancel(ctx), keyringLock) }()
	record, err := load(ctx, storage)
	if errors.Is(err, fs.ErrNotExist) {
		record, err = keyringRecord{Version: keyringVersion, Installation: randomHex(8)}, nil
	}
	if err != nil {
		return err
	}
	changed, err := edit(&record)
	if err != nil {
		return err
	}
	if changed {
		record.prune(k.now())
		if err := save(ctx, storage, record); err != nil {
			return err
		}
	}
	return k.use(record, k.countChange())
}

// add makes a key. The first one signs at once, a further one when every node has
// read it.
func (r *keyringRecord) add(algorithm string, now time.Time) *keyRecord {
	now = now.UTC().Truncate(time.Second)
	added := keyRecord{ID: randomHex(4), Algorithm: algorithm, Secret: make([]byte, 32), Created: now, SignFrom: now}
	rand.Read(added.Secret)
	if len(r.Keys) > 0 {
		added.SignFrom = now.Add(activation)
	}
	r.Keys = append(r.Keys, added)
	return &r.Keys[len(r.Keys)-1]
}

// save stores the keys and reads them back: a key that only this process knows must
// not sign.
func save(ctx context.Context, storage Storage, record keyringRecord) error {
	encoded, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("encoding the keyring: %w", err)
	}
	if err := storage.Store(ctx, keyringKey, encoded); err != nil {
		return fmt.Errorf("storing the keyring: %w", err)
	}
	stored, err := storage.Load(ctx, keyringKey)
	if err != nil {
		return fmt.Errorf("reading the keyring back: %w", err)
	}
	if !bytes.Equal(stored, encoded) {
		return fmt.Errorf("%w: it does not read back as written", ErrGarbledKeys)
	}
	return nil
}

func load(ctx context.Context, storage Storage) (keyringRecord, error) {
	var record keyringRecord
	raw, err := storage.Load(ctx, keyringKey)
	if err != nil {
		return record, fmt.Errorf("loading the keyring: %w", err)
	}
	if err := json.Unmarshal(raw, &record); err != nil {
		return record, fmt.Errorf("%w: not JSON", ErrGarbledKeys) // the cause could quote a secret
	}
	if record.Version != keyringVersion || record.Installation == "" || len(record.Keys) == 0 {
		return record, fmt.Errorf("%w: version %d, %d keys", ErrGarbledKeys, record.Version, len(record.Keys))
	}
	// Before a further key is added: a record with an unusable one is left alone.
	for _, stored := range record.Keys {
		if _, err := stored.usable(); err != nil {
			return record, err
		}
	}
	return record, nil
}

func (r keyringRecord) has(algorithm string) bool {
	for _, k := range r.Keys {
		if k.Algorithm == algorithm {
			return true
		}
	}
	return false
}

func (k *Keyring) changed() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.changes
}

// countChange makes what was read before it too old to be used.
func (k *Keyring) countChange() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.changes++
	return k.changes
}

// use takes over the stored keys, unless this process has changed them since they
// were read: a key that has just been removed must not come back.
func (k *Keyring) use(record keyringRecord, read int) error {
	snap := &keys{installation: record.Installation, byID: make(map[string]*key, len(record.Keys)), heads: make(map[string]head)}
	for i, stored := range record.Keys {
		usable, err := stored.usable()
		if err != nil {
			return err
		}
		usable.keepUntil = record.keepUntil(i)
		snap.byID[usable.id] = usable
		heads, err := headsOf(usable)
		if err != nil {
			return err
		}
		maps.Copy(snap.heads, heads)
		snap.ordered = append(snap.ordered, usable)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if read == k.changes {
		k.snap.Store(snap)
		k.once.Do(func() { close(k.ready) })
	}
	return nil
}

func (r keyRecord) usable() (*key, error) {
	if r.ID == "" || len(r.Secret) != 32 {
		return nil, fmt.Errorf("%w: a key without id or of the wrong length", ErrGarbledKeys)
	}
	out := &key{id: r.ID, algorithm: r.Algorithm, created: r.Created, signFrom: r.SignFrom}
	switch r.Algorithm {
	case HS256:
		out.signing, out.verifying = r.Secret, r.Secret
	case EdDSA:
		private := ed25519.NewKeyFromSeed(r.Secret)
		out.signing, out.verifying = private, private.Public()
	default:
		return nil, fmt.Errorf("%w: algorithm %q", ErrGarbledKeys, r.Algorithm)
	}
	// Each use has a key of its own, so that no kind of token can ever pass for
	// another.
	out.derived = make(map[Use][]byte, len(uses))
	for _, use := range uses {
		derived, err := hkdf.Key(sha256.New, r.Secret, nil, use.label(), 32)
		if err != nil {
			return nil, fmt.Errorf("deriving the key for %s: %w", use, err)
		}
		out.derived[use] = derived
	}
	return out, nil
}

// signer returns the newest key that may sign, preferring the algorithm. Of the keys
// of one algorithm only the last that may sign is ever chosen: see keepUntil.
func (s *keys) signer(algorithm string, now time.Time) *key {
	best := s.ordered[0]
	for _, candidate := range s.ordered {
		if candidate.signFrom.After(now) {
			continue
		}
		if candidate.algorithm == algorithm || best.algorithm != algorithm {
			best = candidate
		}
	}
	return best
}

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}
