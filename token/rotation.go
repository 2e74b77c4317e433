package token

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"slices"
	"time"
)

// Rotate adds a key of the algorithm and returns its id. The key signs after three minutes, when
// every node knows it. The keys that it replaces still verify. Like Ensure, it may wait for a write
// transaction.
func (k *Keyring) Rotate(ctx context.Context, store Store, algorithm string) (kid string, err error) {
	err = k.change(ctx, store, func(set *KeySet) (changed bool, err error) {
		kid = set.add(algorithm, k.now()).ID
		return true, nil
	})
	return kid, err
}

// Remove revokes a leaked key and everything that it has signed: here at once, on other nodes when
// they Refresh. An older key, which all nodes know, signs in its place. Without one, a waiting or
// new key of the algorithm signs at once, and Remove returns its id: other nodes refuse its tokens
// until they Refresh.
//
// If another node has removed the key already, this node forgets it at once. The error wraps
// ErrUnknownKey. Like Ensure, Remove may wait for a write transaction.
func (k *Keyring) Remove(ctx context.Context, store Store, kid, algorithm string) (replacement string, err error) {
	known := k.Knows(kid)
	err = k.change(ctx, store, func(set *KeySet) (changed bool, err error) {
		replacement = ""
		at := slices.IndexFunc(set.Keys, func(stored StoredKey) bool { return stored.ID == kid })
		switch {
		case at < 0 && len(set.Keys) == 0, at < 0 && !known:
			return false, ErrUnknownKey
		case at < 0:
			return false, nil
		}
		set.Keys = slices.Delete(set.Keys, at, at+1)
		replacement = set.replace(algorithm, k.now())
		return true, nil
	})
	return replacement, err
}

// KeyInfo describes a key. It never holds a secret.
type KeyInfo struct {
	ID        string `json:"kid"`
	Algorithm string `json:"alg"`
	// Created is when the key was made.
	Created time.Time `json:"created,omitzero"`
	// SignsFrom is when the key may sign.
	SignsFrom time.Time `json:"signs_from,omitzero"`
	// SignsAccess says that the key signs new access tokens now.
	SignsAccess bool `json:"signs_access"`
	// SignsOther says that the key signs everything else now: pending cookies, links for
	// other devices, private addresses.
	SignsOther bool `json:"signs_other"`
}

// List describes the keys, oldest first. The algorithm is the configured one.
func (k *Keyring) List(algorithm string) []KeyInfo {
	list := []KeyInfo{}
	snap := k.snap.Load()
	if snap == nil {
		return list
	}
	access, other := snap.signer(algorithm, k.now()), snap.signer(anyAlgorithm, k.now())
	for _, stored := range snap.ordered {
		list = append(list, KeyInfo{
			ID: stored.id, Algorithm: stored.algorithm, Created: stored.created, SignsFrom: stored.signFrom,
			SignsAccess: stored == access, SignsOther: stored == other,
		})
	}
	return list
}

// JWK is the public key of an Ed25519 key pair as RFC 8037, section 2, writes it.
type JWK struct {
	Type      string `json:"kty"`
	Curve     string `json:"crv"`
	X         string `json:"x"`
	ID        string `json:"kid"`
	Algorithm string `json:"alg"`
	Use       string `json:"use"`
}

// PublicKeys returns the public keys of all Ed25519 keys, including those that do not sign
// yet. The error is ErrNoKeys before the stored keys are loaded.
func (k *Keyring) PublicKeys() ([]JWK, error) {
	snap := k.snap.Load()
	if snap == nil {
		return nil, ErrNoKeys
	}
	public := []JWK{}
	for _, each := range snap.ordered {
		if key, ok := each.verifying.(ed25519.PublicKey); ok {
			public = append(public, JWK{
				Type: "OKP", Curve: "Ed25519", X: base64.RawURLEncoding.EncodeToString(key),
				ID: each.id, Algorithm: EdDSA, Use: "sig",
			})
		}
	}
	return public, nil
}
