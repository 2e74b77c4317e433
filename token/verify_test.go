package token

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// forge is what a forger would need to know: one key of each algorithm, and a
// keyring that knows both.
type forge struct {
	keyring *Keyring
	clock   *clock
	hmac    StoredKey
	edwards StoredKey
}

func newForge(t testing.TB) *forge {
	c := newClock()
	f := &forge{
		clock:   c,
		hmac:    fixedKey("aaaaaaaaaaaaaaaa", HS256, 1, c.now().Add(-time.Hour)),
		edwards: fixedKey("bbbbbbbbbbbbbbbb", EdDSA, 2, c.now().Add(-time.Hour)),
	}
	f.keyring = keyringOf(t, c, f.hmac, f.edwards)
	return f
}

type members map[string]any

func (m members) with(name string, value any) members {
	changed := maps.Clone(m)
	changed[name] = value
	return changed
}

func (m members) without(name string) members {
	changed := maps.Clone(m)
	delete(changed, name)
	return changed
}

func (m members) json() string {
	raw, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

func header(alg, kid string) members { return members{"alg": alg, "kid": kid, "typ": typeAccess} }

// claims are those of a good access token.
func (f *forge) claims() members {
	return members{
		"iss": issuer(&keys{installation: installation}), "aud": []string{site},
		"iat": f.clock.now().Unix(), "exp": f.clock.now().Add(time.Hour).Unix(),
		"pass": "premium", "resource": "*", "purchase": "p1", "device": "d1", "downloads": 3,
	}
}

// hs and ed sign with our own keys, whatever header and claims say.
func (f *forge) hs(header, claims members) string {
	return craft(header.json(), claims.json(), hs256(f.hmac.Secret))
}

func (f *forge) ed(header, claims members) string {
	return craft(header.json(), claims.json(), eddsa(f.edwards.Secret))
}

func (f *forge) publicKey() []byte {
	public, _ := ed25519.NewKeyFromSeed(f.edwards.Secret).Public().(ed25519.PublicKey)
	return public
}

func (f *forge) hsHeader() members { return header(HS256, f.hmac.ID) }
func (f *forge) edHeader() members { return header(EdDSA, f.edwards.ID) }

func TestHandMadeTokensOfOurOwnKeysAreAccepted(t *testing.T) {
	f := newForge(t)
	for _, raw := range []string{f.hs(f.hsHeader(), f.claims()), f.ed(f.edHeader(), f.claims())} {
		access, err := f.keyring.VerifyAccess(raw, site)
		want := Access{Site: site, Pass: "premium", Resource: "*", Purchase: "p1", Device: "d1", Downloads: 3, Issued: f.clock.now(), Expires: f.clock.now().Add(time.Hour)}
		want.Key, _ = kidAndAlgorithm(t, raw)
		access.Issued, access.Expires = access.Issued.UTC(), access.Expires.UTC()
		if err != nil || access != want {
			t.Errorf("got %+v, %v, want %+v: the tables of denied tokens would prove nothing", access, err, want)
		}
	}
}

func TestDeniedTokens(t *testing.T) {
	f := newForge(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rs256 := func(message []byte) []byte {
		sum := sha256.Sum256(message)
		signature, err := rsa.SignPKCS1v15(rand.Reader, rsaKey, crypto.SHA256, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return signature
	}
	good := f.hs(f.hsHeader(), f.claims())
	goodEd := f.ed(f.edHeader(), f.claims())
	claims := f.claims()
	in := func(d time.Duration) int64 { return f.clock.now().Add(d).Unix() }
	hs := func(header members) string { return f.hs(header, claims) }

	for _, test := range []struct {
		name string
		raw  string
	}{
		{"T1 alg none", craft(header("none", f.hmac.ID).json(), claims.json(), unsigned)},
		{"T1 alg none, with a signature", hs(header("none", f.hmac.ID))},
		{"T1 alg missing", hs(f.hsHeader().without("alg"))},
		{"T1 alg null", hs(f.hsHeader().with("alg", nil))},
		{"T1 alg in another case", hs(header("hs256", f.hmac.ID))},
		{"T1 alg RS256", craft(header("RS256", f.hmac.ID).json(), claims.json(), rs256)},
		{"T1 alg HS512", hs(header("HS512", f.hmac.ID))},
		{"T1 public key as HMAC secret", craft(header(HS256, f.edwards.ID).json(), claims.json(), hs256(f.publicKey()))},
		{"T1 Edwards seed as HMAC secret", craft(header(HS256, f.edwards.ID).json(), claims.json(), hs256(f.edwards.Secret))},
		{"T1 HS256 key under EdDSA", hs(header(EdDSA, f.hmac.ID))},
		{"T1 EdDSA key under HS256", f.ed(header(HS256, f.edwards.ID), claims)},
		{"T1 empty signature", craft(f.hsHeader().json(), claims.json(), unsigned)},
		{"T1 HMAC with an empty secret", craft(f.hsHeader().json(), claims.json(), hs256(nil))},

		{"T2 unknown kid", hs(header(HS256, "cccccccccccccccc"))},
		{"T2 kid of the other key", hs(header(HS256, f.edwards.ID))},
		{"T2 no kid", hs(f.hsHeader().without("kid"))},
		{"T2 kid null", hs(f.hsHeader().with("kid", nil))},
		{"T2 kid a path", hs(header(HS256, "../../../../dev/null"))},
		{"T2 kid a path, signed with an empty secret", craft(header(HS256, "/dev/null").json(), claims.json(), hs256(nil))},
		{"T2 jku", hs(f.hsHeader().with("jku", "https://evil.example/jwks.json"))},
		{"T2 jwk", hs(f.hsHeader().with("jwk", members{"kty": "oct", "k": "AAAA"}))},
		{"T2 x5c", hs(f.hsHeader().with("x5c", []string{"MIIB"}))},
		{"T2 crit", hs(f.hsHeader().with("crit", []string{"exp"}))},

		{"T3 exp past", f.hs(f.hsHeader(), claims.with("exp", in(-time.Second)))},
		{"T3 exp now", f.hs(f.hsHeader(), claims.with("exp", in(0)))},
		{"T3 exp missing", f.hs(f.hsHeader(), claims.without("exp"))},
		{"T3 exp a word", f.hs(f.hsHeader(), claims.with("exp", "never"))},
		{"T3 exp a string of digits", f.hs(f.hsHeader(), claims.with("exp", fmt.Sprint(in(time.Hour))))},
		{"T3 exp beyond a float", craft(f.hsHeader().json(), strings.Replace(claims.json(), `"exp":`, `"exp":1e999,"x":`, 1), hs256(f.hmac.Secret))},
		{"T3 nbf in the future", f.hs(f.hsHeader(), claims.with("nbf", in(time.Minute)))},
		{"T3 nbf of the wrong type", f.hs(f.hsHeader(), claims.with("nbf", "later"))},
		{"T3 iat missing", f.hs(f.hsHeader(), claims.without("iat"))},

		{"T4 foreign audience", f.hs(f.hsHeader(), claims.with("aud", []string{"https://evil.example"}))},
		{"T4 audience with another port", f.hs(f.hsHeader(), claims.with("aud", []string{site + ":8443"}))},
		{"T4 two audiences", f.hs(f.hsHeader(), claims.with("aud", []string{site, "https://evil.example"}))},
		{"T4 no audience", f.hs(f.hsHeader(), claims.without("aud"))},
		{"T4 foreign issuer", f.hs(f.hsHeader(), claims.with("iss", issuer(&keys{installation: "ffffffffffffffff"})))},
		{"T4 no issuer", f.hs(f.hsHeader(), claims.without("iss"))},
		{"T4 no pass", f.hs(f.hsHeader(), claims.without("pass"))},
		{"T4 no resource", f.hs(f.hsHeader(), claims.without("resource"))},
		{"T4 no purchase", f.hs(f.hsHeader(), claims.without("purchase"))},

		{"T5 empty", ""},
		{"T5 two dots", ".."},
		{"T5 oversized, and signed by us", f.hs(f.hsHeader(), claims.with("device", strings.Repeat("x", MaxSize)))},
		{"T5 oversized garbage", strings.Repeat("a.", 1<<20)},
		{"T5 last byte missing", good[:len(good)-1]},
		{"T5 signature missing", good[:strings.LastIndex(good, ".")]},
		{"T5 trailing letter", good + "A"},
		{"T5 trailing newline", good + "\n"},
		{"T5 newline within the signature", good[:len(good)-5] + "\n" + good[len(good)-5:]},
		{"T5 standard base64", strings.NewReplacer("-", "+", "_", "/").Replace(goodEd) + "="},
		{"T5 base64 with other unused bits", otherUnusedBits(good)},
		{"T5 claims that are null", craft(f.hsHeader().json(), "null", hs256(f.hmac.Secret))},
		{"T5 claims with trailing data", craft(f.hsHeader().json(), claims.json()+"{}", hs256(f.hmac.Secret))},
		{"T5 header that is null", craft("null", claims.json(), hs256(f.hmac.Secret))},

		{"T6 typ of a pending cookie", hs(f.hsHeader().with("typ", Pending.typ()))},
		{"T6 our pending key", craft(f.hsHeader().json(), claims.json(), hs256(f.pendingKey(t, f.hmac)))},
	} {
		access, err := f.keyring.VerifyAccess(test.raw, site)
		want := ErrInvalid
		if strings.HasPrefix(test.name, "T1 alg") || strings.HasPrefix(test.name, "T2") {
			want = errHeader // before any key is tried
		}
		if !errors.Is(err, want) || access != (Access{}) {
			t.Errorf("%s: got %+v, %v, want %v", test.name, access, err, want)
		}
	}
}

// otherUnusedBits changes the bits of the last letter that encode nothing.
func otherUnusedBits(raw string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, raw[len(raw)-1])
	return raw[:len(raw)-1] + string(alphabet[last^1])
}

func (f *forge) pendingKey(t testing.TB, record StoredKey) []byte {
	usable, err := record.usable()
	if err != nil {
		t.Fatal(err)
	}
	return usable.derived[Pending]
}

func TestT1OneFlippedBitAnywhereIsDenied(t *testing.T) {
	f := newForge(t)
	for _, good := range []string{f.hs(f.hsHeader(), f.claims()), f.ed(f.edHeader(), f.claims())} {
		for i := range 8 * len(good) {
			raw := []byte(good)
			raw[i/8] ^= 1 << (i % 8)
			if _, err := f.keyring.VerifyAccess(string(raw), site); !errors.Is(err, ErrInvalid) {
				t.Fatalf("bit %d of %s flipped: %v", i, good, err)
			}
		}
	}
}

func TestT2NothingIsFetchedOrOpenedForAHeader(t *testing.T) {
	f := newForge(t)
	store := newMemory(f.hmac)
	keyring := NewKeyring(f.clock.now)
	refreshed(t, keyring, store)
	store.onRead = func() { t.Error("a token made the keyring read the store") }
	for _, kid := range []string{"unknown", "../ledger.db", "x' OR '1'='1"} {
		if _, err := keyring.VerifyAccess(f.hs(header(HS256, kid), f.claims()), site); !errors.Is(err, ErrInvalid) {
			t.Errorf("kid %q: %v", kid, err)
		}
	}
}

// FuzzVerifyAccess: what is accepted bears the one signature that our key gives,
// in the one form in which we write it, and has not ended.
func FuzzVerifyAccess(f *testing.F) {
	forge := newForge(f)
	f.Add(forge.hs(forge.hsHeader(), forge.claims()))
	f.Add(forge.ed(forge.edHeader(), forge.claims()))
	f.Add(forge.hs(forge.hsHeader(), forge.claims()) + "\n")
	f.Add(craft(header("none", forge.hmac.ID).json(), forge.claims().json(), unsigned))
	f.Add(forge.claims().json())
	f.Add(forge.claims().with("exp", "4102444800").json())
	f.Add(forge.claims().with("until", 1e300).json())
	f.Add("null")
	f.Add("..")
	f.Fuzz(func(t *testing.T, input string) {
		forge.checkAccepted(t, input)
		// The input as claims that we signed: reaches what a forger cannot.
		forge.checkAccepted(t, craft(forge.hsHeader().json(), input, hs256(forge.hmac.Secret)))
	})
}

func (f *forge) checkAccepted(t *testing.T, raw string) {
	access, err := f.keyring.VerifyAccess(raw, site)
	if err != nil {
		lapsed := errors.Is(err, ErrLapsed) && access.HasLapsed(f.clock.now())
		if !errors.Is(err, ErrInvalid) || access != (Access{}) && !lapsed {
			t.Fatalf("%q: %+v, %v", raw, access, err)
		}
		return
	}
	head, _, _ := strings.Cut(raw, ".")
	end := strings.LastIndex(raw, ".")
	known := map[string]func([]byte) []byte{
		segment([]byte(f.hsHeader().json())): hs256(f.hmac.Secret), segment([]byte(f.edHeader().json())): eddsa(f.edwards.Secret),
	}
	if known[head] == nil {
		t.Fatalf("accepted with a foreign header: %q", raw)
	}
	if want := segment(known[head]([]byte(raw[:end]))); raw[end+1:] != want {
		t.Fatalf("accepted with the signature %q, ours is %q", raw[end+1:], want)
	}
	if !access.Expires.After(f.clock.now()) || access.Site != site ||
		access.Pass == "" || access.Resource == "" || access.Purchase == "" {
		t.Fatalf("%q gives %+v", raw, access)
	}
}

func TestBeforeTheKeysAreLoaded(t *testing.T) {
	t.Parallel()
	keyring := NewKeyring(newClock().now)
	_, _, sign := keyring.SignAccess(Access{}, HS256)
	_, verify := keyring.VerifyAccess("a.b.c", site)
	_, signUse := keyring.Sign(Pending, jwt.MapClaims{})
	_, verifyUse := keyring.Verify(Pending, "a.b.c", jwt.MapClaims{})
	_, public := keyring.PublicKeys()
	for name, err := range map[string]error{
		"SignAccess": sign, "VerifyAccess": verify, "Sign": signUse, "PublicKeys": public,
		"Verify": verifyUse, "Refresh": keyring.Refresh(t.Context(), newMemory()),
	} {
		if !errors.Is(err, ErrNoKeys) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if keyring.Installation() != "" || len(keyring.List(HS256)) != 0 || keyring.Knows("a") || keyring.IsOfUnknownKey("a.b.c") {
		t.Error("something is known without keys")
	}
}

func TestT6NoKindOfTokenPassesForAnother(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	claims := jwt.MapClaims(f.claims()) // those of an access token, whatever signs them
	access := signed(t, f.keyring, sample(f.clock), HS256)
	tokens := make(map[Use]string)
	for _, use := range uses {
		var err error
		if tokens[use], err = f.keyring.Sign(use, claims); err != nil {
			t.Fatal(err)
		}
		if _, err := f.keyring.VerifyAccess(tokens[use], site); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s passes for an access token: %v", use, err)
		}
		if _, err := f.keyring.Verify(use, access, &jwt.MapClaims{}); !errors.Is(err, ErrInvalid) {
			t.Errorf("an access token passes for %s: %v", use, err)
		}
	}
	for use, raw := range tokens {
		_, signature, _ := strings.Cut(raw, ".")
		for presented, other := range tokens {
			header, _, _ := strings.Cut(other, ".") // the type of one use with the key of another
			for _, forged := range []string{raw, header + "." + signature} {
				if _, err := f.keyring.Verify(presented, forged, &jwt.MapClaims{}); (err == nil) != (use == presented) {
					t.Errorf("%s presented as %s: %v", use, presented, err)
				}
			}
		}
	}
}

func TestATokenOfAnUnknownKeyIsRecognized(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	for name, test := range map[string]struct {
		raw  string
		want bool
	}{
		"a known key":       {f.hs(f.hsHeader(), f.claims()), false},
		"an unknown key":    {f.hs(header(HS256, "c"), f.claims()), true},
		"another kind":      {f.hs(header(HS256, "c").with("typ", Pending.typ()), f.claims()), false},
		"not a token":       {"hello", false},
		"an unreadable one": {"!.b.c", false},
	} {
		if got := f.keyring.IsOfUnknownKey(test.raw); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestPublicKeysAreThoseOfEd25519(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	want := []map[string]string{{"kty": "OKP", "crv": "Ed25519", "x": segment(f.publicKey()), "kid": f.edwards.ID, "alg": EdDSA, "use": "sig"}}
	if got, err := f.keyring.PublicKeys(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestATokenThatEndedWithItsAccessMayAskForAnother(t *testing.T) {
	f := newForge(t)
	until := f.clock.now().Add(time.Hour).Unix()
	ended := f.claims().with("until", until)
	for name, test := range map[string]struct {
		claims members
		later  time.Duration
		want   bool
	}{
		"just ended":                 {ended, time.Hour, true},
		"nearly too long ago":        {ended, time.Hour + Lapse - time.Second, true},
		"too long ago":               {ended, time.Hour + Lapse + time.Second, false},
		"not yet":                    {ended, time.Hour - time.Second, false},
		"T3 before its access":       {ended.with("until", until+1), time.Hour + time.Minute, false},
		"T3 after its access":        {ended.with("until", until-1), time.Hour + time.Minute, false},
		"T3 of access without end":   {f.claims(), time.Hour + time.Minute, false},
		"T3 no exp":                  {ended.without("exp"), time.Hour + time.Minute, false},
		"T3 not valid yet":           {ended.with("nbf", until+3600), time.Hour + time.Minute, false},
		"T4 of another site":         {ended.with("aud", []string{"https://other.example"}), time.Hour + time.Minute, false},
		"T4 of another installation": {ended.with("iss", "axra:x"), time.Hour + time.Minute, false},
	} {
		raw := f.hs(f.hsHeader(), test.claims)
		f.clock.advance(test.later)
		access, err := f.keyring.VerifyAccess(raw, site)
		if errors.Is(err, ErrLapsed) != test.want || err != nil && !errors.Is(err, ErrInvalid) || test.want && access.Purchase != "p1" {
			t.Errorf("%s: %+v, %v", name, access, err)
		}
		f.clock.advance(-test.later)
	}
}
