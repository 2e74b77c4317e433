package token

import (
	"context"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"
)

// activation is how long a new key waits before it signs, so that every node knows it by then.
const activation = 3 * time.Minute

// secretSize is the length of an HMAC key and of an Ed25519 seed.
const secretSize = 32

// Store is where an installation keeps its keys.
type Store interface {
	// Keys returns ErrNoKeys where there are none yet.
	Keys(ctx context.Context) (KeySet, error)
	// ChangeKeys replaces the keys by those that edit returns, in a serializable transaction;
	// nil keeps them. edit may be called twice. It creates the installation if there is none.
	ChangeKeys(ctx context.Context, edit func(KeySet) ([]StoredKey, error)) (KeySet, error)
}

// StoredKey is a key as stored, to the second.
type StoredKey struct {
	ID        string
	Algorithm string
	Secret    []byte // 32 random bytes: the HMAC key, or the Ed25519 seed
	CreatedAt time.Time
	SignFrom  time.Time
}

// KeySet is the installation with its keys, oldest first.
type KeySet struct {
	Installation string
	Keys         []StoredKey
}

// check returns ErrCorruptKeys if a key cannot be used. Such a set is never changed.
func (s KeySet) check() error {
	if s.Installation == "" {
		return fmt.Errorf("%w: they have no installation", ErrCorruptKeys)
	}
	for _, stored := range s.Keys {
		if err := stored.check(); err != nil {
			return err
		}
	}
	return nil
}

func (s StoredKey) check() error {
	switch {
	case s.ID == "":
		return fmt.Errorf("%w: a key has no id", ErrCorruptKeys)
	case len(s.Secret) != secretSize:
		return fmt.Errorf("%w: the secret of key %q has %d bytes instead of %d", ErrCorruptKeys, s.ID, len(s.Secret), secretSize)
	case s.Algorithm != HS256 && s.Algorithm != EdDSA:
		return fmt.Errorf("%w: key %q has the unknown algorithm %q", ErrCorruptKeys, s.ID, s.Algorithm)
	}
	return nil
}

func (s KeySet) has(algorithm string) bool {
	return slices.ContainsFunc(s.Keys, func(stored StoredKey) bool { return stored.Algorithm == algorithm })
}

// add creates a key. The first key signs at once, others after activation. Each is dated later
// than the previous one, as stores order keys by date and the clocks of nodes differ.
func (s *KeySet) add(algorithm string, now time.Time) *StoredKey {
	now = now.UTC().Truncate(time.Second)
	added := StoredKey{
		ID: randomHex(4), Algorithm: algorithm, Secret: make([]byte, secretSize), CreatedAt: now, SignFrom: now,
	}
	rand.Read(added.Secret)
	if len(s.Keys) > 0 {
		added.SignFrom = now.Add(activation)
		if newest := s.Keys[len(s.Keys)-1].CreatedAt; !now.After(newest) {
			added.CreatedAt = newest.Add(time.Second)
		}
	}
	s.Keys = append(s.Keys, added)
	return &s.Keys[len(s.Keys)-1]
}

// replace makes sure that a key may sign now and that there is one of the algorithm. It returns
// the id of a key that signs before every node knows it, or "".
func (s *KeySet) replace(algorithm string, now time.Time) string {
	if slices.ContainsFunc(s.Keys, func(stored StoredKey) bool { return !stored.SignFrom.After(now) }) {
		if !s.has(algorithm) {
			s.add(algorithm, now)
		}
		return ""
	}
	at := slices.IndexFunc(s.Keys, func(stored StoredKey) bool { return stored.Algorithm == algorithm })
	if at < 0 {
		s.add(algorithm, now)
		at = len(s.Keys) - 1
	}
	s.Keys[at].SignFrom = now.UTC().Truncate(time.Second)
	return s.Keys[at].ID
}

// usable turns a checked key into one that signs and verifies.
func (s StoredKey) usable() (*key, error) {
	out := &key{
		id: s.ID, algorithm: s.Algorithm, created: s.CreatedAt, signFrom: s.SignFrom,
		signing: s.Secret, verifying: s.Secret, derived: make(map[Use][]byte, len(uses)),
	}
	if s.Algorithm == EdDSA {
		private := ed25519.NewKeyFromSeed(s.Secret)
		out.signing, out.verifying = private, private.Public()
	}
	// Each use has its own key, so that no kind of token passes for another.
	for _, use := range uses {
		derived, err := hkdf.Key(sha256.New, s.Secret, nil, use.label(), 32)
		if err != nil {
			return nil, fmt.Errorf("deriving the key for %s: %w", use, err)
		}
		out.derived[use] = derived
	}
	return out, nil
}

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}
