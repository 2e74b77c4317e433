package token

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"strings"
)

// OwnKey is a key that the owner of the site has made and keeps. It is for access
// tokens only.
type OwnKey struct{ key *key }

// ID names the key, wherever it is listed: the RFC 7638 thumbprint of an Ed25519 key,
// something derived from the secret of an HMAC key.
func (o OwnKey) ID() string { return o.key.id }

// Algorithm is what the key is for: HS256 or EdDSA.
func (o OwnKey) Algorithm() string { return o.key.algorithm }

// CanSign reports whether it is more than a public key.
func (o OwnKey) CanSign() bool { return o.key.signing != nil }

// minSecret is the least length of an HMAC key in bytes (RFC 7518, section 3.2).
const minSecret = 32

// Errors of ParseOwnKey. None repeats what was read.
var (
	ErrKeyTooShort = errors.New("fewer than 32 bytes: make a key with `openssl rand -base64 32`")
	errKeyType     = errors.New("not an Ed25519 key: make one with `openssl genpkey -algorithm ed25519`")
	errKeyEnclosed = errors.New("this kind of PEM is not read: write an unencrypted PKCS#8 key (`BEGIN PRIVATE KEY`), such as `openssl genpkey -algorithm ed25519` makes, or its public key (`BEGIN PUBLIC KEY`)")
	errKeySeveral  = errors.New("more than one key in one file: give each key a file of its own")
	errKeyText     = errors.New("neither a PEM key nor random bytes, hex or base64: make a key with `openssl rand -base64 32`")
)

// ParseOwnKey reads a key: an Ed25519 key in PEM, private (PKCS#8) or public, or at
// least 32 random bytes for HMAC, as they are, in hex or in base64.
func ParseOwnKey(raw []byte) (OwnKey, error) {
	if text := bytes.TrimSpace(raw); bytes.HasPrefix(text, []byte("-----BEGIN ")) {
		return parsePEM(text)
	}
	secret, err := decodeSecret(raw)
	if err != nil {
		return OwnKey{}, err
	}
	if len(secret) < minSecret {
		return OwnKey{}, ErrKeyTooShort
	}
	// The id is public. It is derived like a key for another use, so that it says
	// nothing about the secret.
	id, err := hkdf.Key(sha256.New, secret, nil, "axra paywall key id", 16)
	if err != nil {
		return OwnKey{}, fmt.Errorf("deriving the key's id: %w", err)
	}
	return OwnKey{&key{id: base64.RawURLEncoding.EncodeToString(id), algorithm: HS256, signing: secret, verifying: secret}}, nil
}

func parsePEM(text []byte) (OwnKey, error) {
	block, rest := pem.Decode(text)
	switch {
	case block == nil:
		return OwnKey{}, errKeyEnclosed
	case len(bytes.TrimSpace(rest)) > 0:
		return OwnKey{}, errKeySeveral
	}
	switch block.Type {
	case "PRIVATE KEY":
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		private, ok := parsed.(ed25519.PrivateKey)
		if err != nil || !ok {
			return OwnKey{}, errKeyType
		}
		public, _ := private.Public().(ed25519.PublicKey)
		return OwnKey{&key{id: thumbprint(public), algorithm: EdDSA, signing: private, verifying: public}}, nil
	case "PUBLIC KEY":
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		public, ok := parsed.(ed25519.PublicKey)
		if err != nil || !ok {
			return OwnKey{}, errKeyType
		}
		return OwnKey{&key{id: thumbprint(public), algorithm: EdDSA, verifying: public}}, nil
	default:
		return OwnKey{}, errKeyEnclosed
	}
}

// decodeSecret tells apart how random bytes are written. Hex digits are hex, whatever
// else they could be: read as base64, half a key would pass for a whole one.
func decodeSecret(raw []byte) ([]byte, error) {
	if !isText(raw) {
		return raw, nil
	}
	text := strings.Join(strings.Fields(string(raw)), "") // base64 comes in lines
	if strings.Trim(text, "0123456789abcdefABCDEF") == "" {
		secret, err := hex.DecodeString(text)
		if err != nil {
			return nil, errKeyText
		}
		return secret, nil
	}
	text = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(text), "=")
	secret, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return nil, errKeyText // a passphrase, most likely
	}
	return secret, nil
}

// isText reports whether all bytes are printable ASCII or white space, as not one of
// 10¹² random keys is.
func isText(raw []byte) bool {
	for _, b := range raw {
		if (b < ' ' || b > '~') && b != '\n' && b != '\r' && b != '\t' {
			return false
		}
	}
	return true
}

// ownKeys are the owner's own keys of one configuration.
type ownKeys struct {
	signer  *key // nil: a stored key signs
	byID    map[string]*key
	heads   map[string]head // by a token's header as it is written
	ordered []*key
}

// Errors of With.
var (
	ErrCannotSign = errors.New("the first key is a public key and cannot sign")
	ErrTwice      = errors.New("the same key occurs twice")
)

// With returns a keyring with the same stored keys, now and later, and these of the
// owner for access tokens: all of them verify, and if sign is set, the first one signs in
// place of the stored ones. All else is signed with stored keys. The keyring itself is
// left as it is.
func (k *Keyring) With(own []OwnKey, sign bool) (*Keyring, error) {
	with := &Keyring{now: k.now, ring: k.ring, own: ownKeys{byID: make(map[string]*key, len(own)), heads: make(map[string]head)}}
	for _, each := range own {
		if with.own.byID[each.key.id] != nil {
			return nil, ErrTwice
		}
		with.own.byID[each.key.id] = each.key
		with.own.ordered = append(with.own.ordered, each.key)
		heads, err := headsOf(each.key)
		if err != nil {
			return nil, err
		}
		maps.Copy(with.own.heads, heads)
	}
	if sign && len(own) > 0 {
		if !own[0].CanSign() {
			return nil, ErrCannotSign
		}
		with.own.signer = own[0].key
	}
	return with, nil
}
