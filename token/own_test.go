package token

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Key material of tests.
var (
	ownSecret = func() []byte {
		secret := make([]byte, 48)
		rand.Read(secret)
		secret[0] = 0xff // no text
		return secret
	}()
	ownPrivate = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
)

func encodePEM(t testing.TB, kind string, der []byte, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func privatePEM(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return encodePEM(t, "PRIVATE KEY", der, err)
}

func publicPEM(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	return encodePEM(t, "PUBLIC KEY", der, err)
}

func parsed(t testing.TB, raw []byte) OwnKey {
	t.Helper()
	key, err := ParseOwnKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestOwnKeysAreRead(t *testing.T) {
	base := base64.StdEncoding.EncodeToString(ownSecret)
	hmacID, edwardsID := parsed(t, ownSecret).ID(), thumbprint(ownPrivate.Public().(ed25519.PublicKey))
	for name, test := range map[string]struct {
		raw      []byte
		id       string
		canSign  bool
		signWith any
	}{
		"raw":               {ownSecret, hmacID, true, ownSecret},
		"hex":               {[]byte(hex.EncodeToString(ownSecret) + "\n"), hmacID, true, ownSecret},
		"HEX":               {[]byte(strings.ToUpper(hex.EncodeToString(ownSecret))), hmacID, true, ownSecret},
		"base64":            {[]byte(base + "\n"), hmacID, true, ownSecret},
		"base64 in lines":   {[]byte(base[:40] + "\r\n" + base[40:] + "\r\n"), hmacID, true, ownSecret},
		"base64url":         {[]byte(base64.RawURLEncoding.EncodeToString(ownSecret)), hmacID, true, ownSecret},
		"Ed25519 private":   {privatePEM(t, ownPrivate), edwardsID, true, ownPrivate},
		"Ed25519 public":    {publicPEM(t, ownPrivate.Public()), edwardsID, false, nil},
		"Ed25519, indented": {append([]byte("\n\n"), privatePEM(t, ownPrivate)...), edwardsID, true, ownPrivate},
	} {
		t.Run(name, func(t *testing.T) {
			key := parsed(t, test.raw)
			if key.ID() != test.id || key.CanSign() != test.canSign {
				t.Errorf("id %q, can sign: %v", key.ID(), key.CanSign())
			}
			switch with := test.signWith.(type) {
			case []byte:
				if !bytes.Equal(key.key.signing.([]byte), with) || key.Algorithm() != HS256 {
					t.Error("another secret")
				}
			case ed25519.PrivateKey:
				if !with.Equal(key.key.signing.(ed25519.PrivateKey)) || key.Algorithm() != EdDSA {
					t.Error("another key")
				}
			}
		})
	}
}

// RFC 8037, appendix A.3.
func TestTheIDOfAnEd25519KeyIsItsThumbprint(t *testing.T) {
	x, err := base64.RawURLEncoding.DecodeString("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
	if err != nil {
		t.Fatal(err)
	}
	if got := thumbprint(x); got != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" {
		t.Errorf("got %s", got)
	}
}

func TestOwnKeysThatAreRefused(t *testing.T) {
	ecdsaKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private := privatePEM(t, ownPrivate)
	for name, test := range map[string]struct {
		raw  []byte
		want error
	}{
		"empty":                       {nil, ErrKeyTooShort},
		"a line's end":                {[]byte("\n"), ErrKeyTooShort},
		"31 bytes":                    {ownSecret[:31], ErrKeyTooShort},
		"31 bytes in hex":             {[]byte(hex.EncodeToString(ownSecret[:31])), ErrKeyTooShort},
		"24 bytes in hex":             {[]byte(hex.EncodeToString(ownSecret[:24])), ErrKeyTooShort}, // 36 bytes if it were base64
		"31 bytes in base64":          {[]byte(base64.StdEncoding.EncodeToString(ownSecret[:31])), ErrKeyTooShort},
		"half a byte of hex":          {[]byte(strings.Repeat("a", 65)), errKeyText},
		"a passphrase":                {[]byte("a secret sentence, long enough, that somebody made up!"), errKeyText},
		"ECDSA":                       {privatePEM(t, ecdsaKey), errKeyType},
		"ECDSA public":                {publicPEM(t, ecdsaKey.Public()), errKeyType},
		"garbage in PEM":              {encodePEM(t, "PRIVATE KEY", []byte("x"), nil), errKeyType},
		"an encrypted key":            {encodePEM(t, "ENCRYPTED PRIVATE KEY", []byte("x"), nil), errKeyEnclosed},
		"a key of OpenSSH":            {encodePEM(t, "OPENSSH PRIVATE KEY", []byte("x"), nil), errKeyEnclosed},
		"truncated PEM":               {private[:len(private)-10], errKeyEnclosed},
		"two keys":                    {append(bytes.Clone(private), private...), errKeySeveral},
		"a certificate after the key": {append(bytes.Clone(private), "x"...), errKeySeveral},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseOwnKey(test.raw)
			if !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func with(t testing.TB, keyring *Keyring, sign bool, files ...[]byte) *Keyring {
	t.Helper()
	var own []OwnKey
	for _, file := range files {
		own = append(own, parsed(t, file))
	}
	view, err := keyring.With(own, sign)
	if err != nil {
		t.Fatal(err)
	}
	return view
}

func TestOwnKeysComeAndGoWithoutLockingAnybodyOut(t *testing.T) {
	c, storage := newClock(), newMemory()
	stored := ensured(t, c, storage, HS256)
	next := bytes.Repeat([]byte{0xee}, 32)
	var issued []string
	for _, step := range []struct {
		name  string
		sign  bool
		files [][]byte
		want  string
	}{
		{"stored", false, nil, stored.List(HS256)[0].ID},
		{"an own key", true, [][]byte{ownSecret}, parsed(t, ownSecret).ID()},
		{"the next one", true, [][]byte{next, ownSecret}, parsed(t, next).ID()},
		{"an Ed25519 key", true, [][]byte{privatePEM(t, ownPrivate), next, ownSecret}, thumbprint(ownPrivate.Public().(ed25519.PublicKey))},
		{"back to the stored one", false, [][]byte{publicPEM(t, ownPrivate.Public()), next, ownSecret}, stored.List(HS256)[0].ID},
	} {
		view := with(t, stored, step.sign, step.files...)
		raw := signed(t, view, sample(c), HS256)
		if kid, _ := kidAndAlgorithm(t, raw); kid != step.want {
			t.Errorf("%s: %q signs, want %q", step.name, kid, step.want)
		}
		issued = append(issued, raw)
		for i, each := range issued {
			if access, err := view.VerifyAccess(each, site); err != nil || !view.Knows(access.Key) {
				t.Errorf("%s: token %d: %v", step.name, i, err)
			}
		}
		if _, err := stored.VerifyAccess(raw, site); (err == nil) != (step.want == stored.List(HS256)[0].ID) {
			t.Errorf("%s: the keyring that others use has changed: %v", step.name, err)
		}
	}
	if _, err := with(t, stored, true, next).VerifyAccess(issued[1], site); !errors.Is(err, ErrInvalid) {
		t.Errorf("a key that is listed no longer: %v", err)
	}
}

func TestStoredKeysOfAViewAreRefreshed(t *testing.T) {
	c, storage := newClock(), newMemory()
	stored := ensured(t, c, storage, HS256)
	view := with(t, stored, true, ownSecret)
	kid := rotated(t, view, storage, HS256)
	if !stored.Knows(kid) || !view.Knows(kid) {
		t.Error("the new key is not known to both")
	}
	if _, err := view.Remove(t.Context(), storage, parsed(t, ownSecret).ID(), HS256); !errors.Is(err, ErrOwnKey) {
		t.Errorf("an own key is removed: %v", err)
	}
}

func TestOwnKeysThatDoNotGoTogether(t *testing.T) {
	keyring := NewKeyring(newClock().now)
	private, public := parsed(t, privatePEM(t, ownPrivate)), parsed(t, publicPEM(t, ownPrivate.Public()))
	for name, test := range map[string]struct {
		own  []OwnKey
		sign bool
		want error
	}{
		"a public key first":              {[]OwnKey{public}, true, ErrCannotSign},
		"a public key that only verifies": {[]OwnKey{public}, false, nil},
		"one key twice":                   {[]OwnKey{private, public}, true, ErrTwice},
		"none":                            {nil, true, nil},
	} {
		if _, err := keyring.With(test.own, test.sign); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

func TestDeniedTokensWithSeveralAndOwnKeys(t *testing.T) {
	f := newForge(t)
	f.keyring = with(t, f.keyring, true, ownSecret, privatePEM(t, ownPrivate))
	public := []byte(ownPrivate.Public().(ed25519.PublicKey))
	hmacID, edwardsID := parsed(t, ownSecret).ID(), thumbprint(public)
	edwards := func(message []byte) []byte { return ed25519.Sign(ownPrivate, message) }
	forged := func(header members, sign func([]byte) []byte) string {
		return craft(header.json(), f.claims().json(), sign)
	}
	for name, raw := range map[string]string{
		"HMAC": forged(header(HS256, hmacID), hs256(ownSecret)), "Edwards": forged(header(EdDSA, edwardsID), edwards),
		"stored HMAC": f.hs(f.hsHeader(), f.claims()), "stored Edwards": f.ed(f.edHeader(), f.claims()),
	} {
		if _, err := f.keyring.VerifyAccess(raw, site); err != nil {
			t.Errorf("%s: %v: the table would prove nothing", name, err)
		}
	}
	for name, raw := range map[string]string{
		"T1 none":                                     forged(header("none", hmacID), unsigned),
		"T1 the public key as an HMAC key":            forged(header(HS256, edwardsID), hs256(public)),
		"T1 the published x as an HMAC key":           forged(header(HS256, edwardsID), hs256([]byte(base64.RawURLEncoding.EncodeToString(public)))),
		"T1 the public key's PEM as an HMAC key":      forged(header(HS256, edwardsID), hs256(publicPEM(t, ownPrivate.Public()))),
		"T1 the stored key's algorithm":               forged(header(EdDSA, hmacID), edwards),
		"T1 the other own key":                        forged(header(HS256, edwardsID), hs256(ownSecret)),
		"T1 an empty key":                             forged(header(HS256, hmacID), hs256(nil)),
		"T2 a stored key's id":                        forged(header(HS256, f.hmac.ID), hs256(ownSecret)),
		"T2 an own key's id":                          forged(header(HS256, hmacID), hs256(f.hmac.Secret)),
		"T2 no id":                                    forged(header(HS256, ""), hs256(ownSecret)),
		"T2 a path for an id":                         forged(header(HS256, "/etc/caddy/axra-signing.pem"), hs256(ownSecret)),
		"T2 jwk":                                      forged(header(EdDSA, edwardsID).with("jwk", members{"kty": "OKP"}), edwards),
		"T2 jku":                                      forged(header(EdDSA, edwardsID).with("jku", "https://evil.example"), edwards),
		"T6 typ of a pending cookie with an own key":  forged(header(HS256, hmacID).with("typ", Pending.typ()), hs256(ownSecret)),
		"T6 the derived key of a pending cookie used": forged(header(HS256, f.hmac.ID), hs256(f.pendingKey(t, f.hmac))),
	} {
		if _, err := f.keyring.VerifyAccess(raw, site); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Nothing is derived from an own key: under its id there must be no key at all, and
// above all not the empty one.
func TestT6OwnKeysSignAccessTokensOnly(t *testing.T) {
	f := newForge(t)
	view := with(t, f.keyring, true, ownSecret, privatePEM(t, ownPrivate))
	claims := members{"exp": f.clock.now().Add(time.Hour).Unix()}
	for _, kid := range []string{parsed(t, ownSecret).ID(), thumbprint(ownPrivate.Public().(ed25519.PublicKey))} {
		for _, use := range uses {
			for name, sign := range map[string]func([]byte) []byte{"the empty key": hs256(nil), "the own key": hs256(ownSecret)} {
				raw := craft(header(HS256, kid).with("typ", use.typ()).json(), claims.json(), sign)
				if err := view.Verify(use, raw, new(jwt.RegisteredClaims)); !errors.Is(err, ErrInvalid) {
					t.Errorf("%s with %s: %v", use, name, err)
				}
			}
		}
	}
	for _, use := range uses {
		raw := signedFor(t, view, use, f.clock.now().Add(time.Hour))
		if kid, _ := kidAndAlgorithm(t, raw); kid != f.edwards.ID { // the newest stored one
			t.Errorf("%s is signed with %q", use, kid)
		}
	}
}

func TestPublicKeysAreThoseOfEdwardsOnly(t *testing.T) {
	f := newForge(t)
	if _, err := NewKeyring(f.clock.now).PublicKeys(); !errors.Is(err, ErrNoKeys) {
		t.Errorf("before the keys are loaded: %v", err)
	}
	waiting := fixedKey("cccc", EdDSA, 3, f.clock.now().Add(activation))
	view := with(t, keyringOf(t, f.clock, f.hmac, f.edwards, waiting), true, ownSecret, privatePEM(t, ownPrivate))
	keys, err := view.PublicKeys()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]ed25519.PrivateKey{
		thumbprint(ownPrivate.Public().(ed25519.PublicKey)): ownPrivate,
		f.edwards.ID: ed25519.NewKeyFromSeed(f.edwards.Secret),
		waiting.ID:   ed25519.NewKeyFromSeed(waiting.Secret),
	}
	for _, key := range keys {
		x, err := base64.RawURLEncoding.DecodeString(key.X)
		if err != nil || want[key.ID] == nil || !want[key.ID].Public().(ed25519.PublicKey).Equal(ed25519.PublicKey(x)) {
			t.Errorf("%+v, %v", key, err)
		}
		delete(want, key.ID)
	}
	if len(want) > 0 {
		t.Errorf("not published: %v", maps.Keys(want))
	}
	encoded, err := json.Marshal(keys)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range [][]byte{ownSecret, f.hmac.Secret, f.edwards.Secret, ownPrivate.Seed()} {
		if bytes.Contains(encoded, []byte(base64.RawURLEncoding.EncodeToString(secret))) {
			t.Error("a secret is published")
		}
	}
}
