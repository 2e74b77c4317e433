package token

import (
	"crypto/ed25519"
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
