package token

import (
	"context"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Algorithms a key can be pinned to.
const (
	HS256 = "HS256"
	EdDSA = "EdDSA"
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
		if stored.ID == "" || len(stored.Secret) != secretSize || stored.Algorithm != HS256 && stored.Algorithm != EdDSA {
			return fmt.Errorf("%w: key %q has the algorithm %q and a secret of %d bytes instead of %d",
				ErrCorruptKeys, stored.ID, stored.Algorithm, len(stored.Secret), secretSize)
		}
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
		ID: rand.Text()[:8], Algorithm: algorithm, Secret: make([]byte, secretSize), CreatedAt: now, SignFrom: now,
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

// replace makes sure that a key may sign now and that there is one of the algorithm.
func (s *KeySet) replace(algorithm string, now time.Time) {
	maySign := slices.ContainsFunc(s.Keys, func(stored StoredKey) bool { return !stored.SignFrom.After(now) })
	if !s.has(algorithm) {
		s.add(algorithm, now)
	}
	if !maySign { // before every node knows the key
		at := slices.IndexFunc(s.Keys, func(stored StoredKey) bool { return stored.Algorithm == algorithm })
		s.Keys[at].SignFrom = now.UTC().Truncate(time.Second)
	}
}

// key is one usable key.
type key struct {
	StoredKey
	signing   any // []byte or ed25519.PrivateKey
	verifying any // []byte or ed25519.PublicKey
	derived   map[Use][]byte
}

// usable turns a checked key into one that signs and verifies.
func (s StoredKey) usable() (*key, error) {
	out := &key{StoredKey: s, signing: s.Secret, verifying: s.Secret, derived: make(map[Use][]byte, len(uses))}
	if s.Algorithm == EdDSA {
		private := ed25519.NewKeyFromSeed(s.Secret)
		out.signing, out.verifying = private, private.Public()
	}
	// Each use has its own key, so that no kind of token passes for another.
	for _, use := range uses {
		derived, err := hkdf.Key(sha256.New, s.Secret, nil, "axra paywall "+string(use), 32)
		if err != nil {
			return nil, fmt.Errorf("deriving the key for %s: %w", use, err)
		}
		out.derived[use] = derived
	}
	return out, nil
}

// keys is an immutable snapshot of the stored keys.
type keys struct {
	installation string
	byID         map[string]*key
	heads        map[string]head // by a token's header as it is written
	ordered      []*key          // oldest first
}

// anyAlgorithm makes signer prefer none.
const anyAlgorithm = ""

// signer returns the newest key that may sign, preferring the algorithm.
func (s *keys) signer(algorithm string, now time.Time) *key {
	best := s.ordered[0] // also where this clock is behind that of the node that made the first key
	for _, candidate := range s.ordered {
		if !candidate.SignFrom.After(now) && (best.SignFrom.After(now) || candidate.Algorithm == algorithm || best.Algorithm != algorithm) {
			best = candidate
		}
	}
	return best
}

// head is what a known header says about a token.
type head struct {
	kid       string
	typ       string
	method    jwt.SigningMethod
	verifying any
}

// addHeads adds the encoded headers under which a key signs.
func (s *keys) addHeads(k *key) {
	add := func(algorithm, typ string, verifying any) {
		encoded, _ := json.Marshal(headerOf(algorithm, k.ID, typ)) // three strings
		written := base64.RawURLEncoding.EncodeToString(encoded)   // as sign writes it
		s.heads[written] = head{k.ID, typ, jwt.GetSigningMethod(algorithm), verifying}
	}
	add(k.Algorithm, typeAccess, k.verifying)
	for use, derived := range k.derived {
		add(HS256, use.typ(), derived)
	}
}

// headerOf holds alg, kid and typ, and none of jku, jwk, x5c and crit.
func headerOf(algorithm, kid, typ string) map[string]any {
	return map[string]any{"alg": algorithm, "kid": kid, "typ": typ}
}
