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
	signFrom  time.Time
}

// keys is an immutable snapshot of the keyring.
type keys struct {
	installation string
	byID         map[string]*key
	ordered      []*key // oldest first
}

// Keyring holds the keys in memory. It is safe for concurrent use and is meant
// to outlive a reload of the configuration.
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

// Ready is closed once keys are loaded.
func (k *Keyring) Ready() <-chan struct{} { return k.ready }

// Installation returns the random id of this installation, "" before the keys
// are loaded.
func (k *Keyring) Installation() string {
	if s := k.snap.Load(); s != nil {
		return s.installation
	}
	return ""
}

// Refresh loads the stored keys without taking a lock. It returns an error
// that wraps fs.ErrNotExist where none are stored yet.
func (k *Keyring) Refresh(ctx context.Context, storage Storage) error {
	record, err := load(ctx, storage)
	if err != nil {
		return err
	}
	return k.use(record)
}

// Ensure loads the keys and makes sure that one of the given algorithm is
// among them, creating it under the storage's lock. It may wait for that lock:
// never call it on a request's path.
func (k *Keyring) Ensure(ctx context.Context, storage Storage, algorithm string) error {
	record, err := load(ctx, storage)
	if err == nil && record.has(algorithm) {
		return k.use(record)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// Keys that exist are used while a further one is being made.
	if err == nil {
		if err := k.use(record); err != nil {
			return err
		}
	}
	if err := storage.Lock(ctx, keyringLock); err != nil {
		return fmt.Errorf("locking the keyring: %w", err)
	}
	defer func() { _ = storage.Unlock(context.WithoutCancel(ctx), keyringLock) }()
	record, err = k.addKey(ctx, storage, algorithm)
	if err != nil {
		return err
	}
	return k.use(record)
}

// addKey runs under the lock: another node may have added the key meanwhile.
func (k *Keyring) addKey(ctx context.Context, storage Storage, algorithm string) (keyringRecord, error) {
	record, err := load(ctx, storage)
	switch {
	case err == nil && record.has(algorithm):
		return record, nil
	case err == nil:
	case errors.Is(err, fs.ErrNotExist):
		record = keyringRecord{Version: keyringVersion, Installation: randomHex(8)}
	default:
		return keyringRecord{}, err
	}
	now := k.now().UTC().Truncate(time.Second)
	added := keyRecord{ID: randomHex(4), Algorithm: algorithm, Secret: make([]byte, 32), Created: now, SignFrom: now}
	rand.Read(added.Secret)
	if len(record.Keys) > 0 {
		added.SignFrom = now.Add(activation)
	}
	record.Keys = append(record.Keys, added)
	encoded, err := json.Marshal(record)
	if err != nil {
		return keyringRecord{}, fmt.Errorf("encoding the keyring: %w", err)
	}
	if err := storage.Store(ctx, keyringKey, encoded); err != nil {
		return keyringRecord{}, fmt.Errorf("storing the keyring: %w", err)
	}
	stored, err := storage.Load(ctx, keyringKey)
	if err != nil {
		return keyringRecord{}, fmt.Errorf("reading the keyring back: %w", err)
	}
	if !bytes.Equal(stored, encoded) {
		return keyringRecord{}, fmt.Errorf("%w: it does not read back as written", ErrGarbledKeys)
	}
	return record, nil
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

func (k *Keyring) use(record keyringRecord) error {
	snap := &keys{installation: record.Installation, byID: make(map[string]*key, len(record.Keys))}
	for _, stored := range record.Keys {
		usable, err := stored.usable()
		if err != nil {
			return err
		}
		snap.byID[usable.id] = usable
		snap.ordered = append(snap.ordered, usable)
	}
	k.snap.Store(snap)
	k.once.Do(func() { close(k.ready) })
	return nil
}

func (r keyRecord) usable() (*key, error) {
	if r.ID == "" || len(r.Secret) != 32 {
		return nil, fmt.Errorf("%w: a key without id or of the wrong length", ErrGarbledKeys)
	}
	out := &key{id: r.ID, algorithm: r.Algorithm, signFrom: r.SignFrom}
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

// signer returns the newest key that may sign, preferring the algorithm.
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
