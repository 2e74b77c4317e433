package token

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
)

// JWK is the public key of an Ed25519 key pair as RFC 8037, section 2, writes it.
type JWK struct {
	Type      string `json:"kty"`
	Curve     string `json:"crv"`
	X         string `json:"x"`
	ID        string `json:"kid"`
	Algorithm string `json:"alg"`
	Use       string `json:"use"`
}

// PublicKeys returns the public keys of all keys that access tokens may be signed with,
// those that are still waiting to sign among them. HMAC keys have none. The error is
// ErrNoKeys before the stored keys are loaded.
func (k *Keyring) PublicKeys() ([]JWK, error) {
	snap := k.ring.snap.Load()
	if snap == nil {
		return nil, ErrNoKeys
	}
	public := []JWK{}
	for _, of := range [][]*key{k.own.ordered, snap.ordered} {
		for _, each := range of {
			if key, ok := each.verifying.(ed25519.PublicKey); ok {
				public = append(public, JWK{
					Type: "OKP", Curve: "Ed25519", X: base64.RawURLEncoding.EncodeToString(key),
					ID: each.id, Algorithm: EdDSA, Use: "sig",
				})
			}
		}
	}
	return public, nil
}

// thumbprint names a public key by what it is (RFC 7638, section 3; RFC 8037, appendix
// A.3).
func thumbprint(public ed25519.PublicKey) string {
	x := base64.RawURLEncoding.EncodeToString(public)
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + x + `"}`))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
