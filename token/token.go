package token

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// ErrInvalid wraps every reason for which a token is not accepted.
var ErrInvalid = errors.New("invalid token")

// MaxSize is the length in bytes beyond which a token is refused unread; a
// cookie could not hold more (RFC 6265, section 6.1).
const MaxSize = 4096

// Explicit types, so that one kind of token is never taken for the other
// (RFC 8725, section 3.11).
const typeAccess = "paywall+jwt"

// Use is what a token that is not an access token is for. Each use has a key and
// a type of its own.
type Use string

// The uses.
const (
	Pending Use = "pending" // the pending cookie: a checkout that this browser has started
	Preview Use = "preview" // the cookie that counts free samples
	Device  Use = "device"  // an address that opens a purchase on another device
	Link    Use = "link"    // an address that opens itself without a cookie
)

// uses lists all of them, for the keys to be derived once.
var uses = []Use{Pending, Preview, Device, Link}

func (u Use) typ() string { return string(u) + "+jwt" }

// label is the context of the use's key (RFC 5869, section 3.2).
func (u Use) label() string {
	if u == Pending {
		return "axra paywall pending cookie"
	}
	return "axra paywall " + string(u)
}

// longest is the lifetime of an access token without a nearer end: the longest
// that browsers keep a cookie (RFC 6265bis, section 5.5). It is renewed in time.
const longest = 400 * 24 * time.Hour

// LongestLife is how long anything lives that is signed: an address that opens itself
// for as long as access lasts. Keys are kept for so long after they have signed.
const LongestLife = 10 * 365 * 24 * time.Hour

// Access is what an access token says.
type Access struct {
	Site     string // origin the token is for (aud)
	Pass     string // name of the pass
	Resource string // what the purchase opens within the pass
	Session  string // Axra's checkout session that paid
	Payment  string // Axra's payment id; may be empty
	Device   string // the place among the purchase's devices; empty for the browser that paid
	// Downloads is how often the purchase may be fetched; 0: without a bound.
	Downloads int
	Until     time.Time // end of access; zero: for ever
	Expires   time.Time // end of the token itself, never after Until
	Issued    time.Time
	Key       string // id of the key that has signed it
}

// Stale reports whether a token that ends before its access should be renewed.
func (a Access) Stale(now time.Time) bool {
	endsEarly := a.Until.IsZero() || a.Expires.Before(a.Until)
	return endsEarly && a.Expires.Sub(now) < longest/2
}

type accessClaims struct {
	jwt.RegisteredClaims
	Pass      string           `json:"pass"`
	Resource  string           `json:"resource"`
	Session   string           `json:"session"`
	Payment   string           `json:"payment,omitempty"`
	Device    string           `json:"device,omitempty"`
	Downloads int              `json:"downloads,omitempty"`
	Until     *jwt.NumericDate `json:"until,omitempty"`
}

// SignAccess issues an access token with the owner's own key, or else with the newest
// key of the algorithm. It fills in Expires, Issued and Key.
func (k *Keyring) SignAccess(a Access, algorithm string) (string, Access, error) {
	snap := k.ring.snap.Load()
	if snap == nil {
		return "", a, ErrNoKeys
	}
	a.Issued = k.now().Truncate(time.Second)
	a.Expires = a.Issued.Add(longest)
	claims := accessClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:   issuer(snap),
			Audience: jwt.ClaimStrings{a.Site},
			IssuedAt: jwt.NewNumericDate(a.Issued),
		},
		Pass: a.Pass, Resource: a.Resource, Session: a.Session, Payment: a.Payment, Device: a.Device, Downloads: a.Downloads,
	}
	if !a.Until.IsZero() {
		claims.Until = jwt.NewNumericDate(a.Until)
		if a.Until.Before(a.Expires) {
			a.Expires = a.Until
		}
	}
	claims.ExpiresAt = jwt.NewNumericDate(a.Expires)
	signer := k.accessSigner(snap, algorithm)
	a.Key = signer.id
	signed, err := sign(signer.algorithm, signer.id, typeAccess, signer.signing, claims)
	return signed, a, err
}

// accessSigner is the key that signs access tokens now.
func (k *Keyring) accessSigner(snap *keys, algorithm string) *key {
	if k.own.signer != nil {
		return k.own.signer
	}
	return snap.signer(algorithm, k.now())
}

// VerifyAccess checks a token's form, type, key, signature, issuer, audience
// and times. The error wraps ErrInvalid, or is ErrNoKeys.
func (k *Keyring) VerifyAccess(raw, site string) (Access, error) {
	return k.verifyAccess(raw, site)
}

// VerifyLapsed checks a token that has ended with the access that it carries, not
// longer than Lapse ago: the purchase may have been extended since. All else is as with
// VerifyAccess. What it says opens nothing by itself.
func (k *Keyring) VerifyLapsed(raw, site string) (Access, error) {
	access, err := k.verifyAccess(raw, site, jwt.WithLeeway(Lapse))
	if err == nil && (access.Until.IsZero() || !access.Expires.Equal(access.Until) || k.now().Before(access.Until)) {
		err = fmt.Errorf("%w: it has not ended with its access", ErrInvalid)
	}
	return access, err
}

// Lapse is how long a token that has ended with its access may ask for a new one.
const Lapse = 30 * 24 * time.Hour

func (k *Keyring) verifyAccess(raw, site string, opts ...jwt.ParserOption) (Access, error) {
	var claims accessClaims
	snap, kid, err := k.verify(raw, typeAccess, &claims, func(snap *keys, kid string) (string, any) {
		key := k.own.byID[kid]
		if key == nil {
			key = snap.byID[kid]
		}
		if key == nil {
			return "", nil
		}
		return key.algorithm, key.verifying
	}, append(opts, jwt.WithAudience(site))...)
	if err != nil {
		return Access{}, err
	}
	if claims.NotBefore != nil && k.now().Before(claims.NotBefore.Time) { // no leeway for these
		return Access{}, fmt.Errorf("%w: not valid yet", ErrInvalid)
	}
	if claims.Issuer != issuer(snap) || len(claims.Audience) != 1 ||
		claims.Pass == "" || claims.Resource == "" || claims.Session == "" || claims.IssuedAt == nil {
		return Access{}, fmt.Errorf("%w: claims are missing or foreign", ErrInvalid)
	}
	a := Access{
		Site: site, Pass: claims.Pass, Resource: claims.Resource, Session: claims.Session,
		Payment: claims.Payment, Device: claims.Device, Downloads: claims.Downloads, Expires: claims.ExpiresAt.Time, Issued: claims.IssuedAt.Time,
		Key: kid,
	}
	if claims.Until != nil {
		a.Until = claims.Until.Time
	}
	return a, nil
}

// Sign signs claims for a use, with HS256 and a key derived from the newest stored one,
// whatever the algorithm of that: so a rotation changes the keys of all uses. The claims
// need an end (exp), of their own or derived, not later than LongestLife from now.
func (k *Keyring) Sign(use Use, claims jwt.Claims) (string, error) {
	snap := k.ring.snap.Load()
	if snap == nil {
		return "", ErrNoKeys
	}
	signer := snap.newest(k.now())
	return sign(HS256, signer.id, use.typ(), signer.derived[use], claims)
}

// Verify checks a token that Sign made for the use, and fills claims. The error
// wraps ErrInvalid, or is ErrNoKeys.
func (k *Keyring) Verify(use Use, raw string, claims jwt.Claims) error {
	_, err := k.VerifyBy(use, raw, claims)
	return err
}

// VerifyBy is Verify, and names the key that has signed the token.
func (k *Keyring) VerifyBy(use Use, raw string, claims jwt.Claims) (kid string, err error) {
	_, kid, err = k.verify(raw, use.typ(), claims, func(snap *keys, kid string) (string, any) {
		key := snap.byID[kid] // no use has an owner's own key: nothing is derived from those
		if key == nil {
			return "", nil
		}
		return HS256, key.derived[use]
	})
	return kid, err
}

// Knows reports whether tokens that the key has signed are still accepted. What has
// been verified before may be remembered for as long as that.
func (k *Keyring) Knows(kid string) bool {
	if k.own.byID[kid] != nil {
		return true
	}
	snap := k.ring.snap.Load()
	return snap != nil && snap.byID[kid] != nil
}

// SignPending signs the claims of a pending cookie.
func (k *Keyring) SignPending(claims jwt.Claims) (string, error) { return k.Sign(Pending, claims) }

// VerifyPending checks a pending cookie and fills claims.
func (k *Keyring) VerifyPending(raw string, claims jwt.Claims) error {
	return k.Verify(Pending, raw, claims)
}

func sign(algorithm, kid, typ string, with any, claims jwt.Claims) (string, error) {
	unsigned := jwt.NewWithClaims(jwt.GetSigningMethod(algorithm), claims)
	unsigned.Header["kid"] = kid
	unsigned.Header["typ"] = typ
	signed, err := unsigned.SignedString(with)
	if err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	return signed, nil
}

// verify lets our key, never the token's own header, choose the algorithm
// (RFC 8725, section 3.1).
func (k *Keyring) verify(
	raw, typ string, claims jwt.Claims, with func(snap *keys, kid string) (algorithm string, secret any), opts ...jwt.ParserOption,
) (snap *keys, kid string, err error) {
	if snap = k.ring.snap.Load(); snap == nil {
		return nil, "", ErrNoKeys
	}
	if len(raw) > MaxSize {
		return nil, "", fmt.Errorf("%w: longer than %d bytes", ErrInvalid, MaxSize)
	}
	// Strict decoding still skips line breaks: one token would have many forms.
	if strings.ContainsAny(raw, "\r\n") {
		return nil, "", fmt.Errorf("%w: a line break", ErrInvalid)
	}
	opts = append(opts,
		jwt.WithValidMethods([]string{HS256, EdDSA}),
		jwt.WithExpirationRequired(),
		jwt.WithStrictDecoding(),
		jwt.WithTimeFunc(k.now),
	)
	_, err = jwt.NewParser(opts...).ParseWithClaims(raw, claims, func(t *jwt.Token) (any, error) {
		// Exactly what we sign: alg, kid, typ. Anything more (jku, jwk, x5c, crit)
		// is not ours.
		kid, _ = t.Header["kid"].(string)
		if len(t.Header) != 3 || t.Header["typ"] != typ {
			return nil, errors.New("foreign header")
		}
		algorithm, secret := with(snap, kid)
		if algorithm == "" {
			return nil, errors.New("unknown key")
		}
		if t.Method.Alg() != algorithm {
			return nil, errors.New("algorithm is not the key's")
		}
		if typ == typeAccess && !numericExpiry(raw) { // a pending cookie derives its end
			return nil, errors.New("exp is not a number")
		}
		return secret, nil
	})
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return snap, kid, nil
}

// numericExpiry reports whether exp is a number, as RFC 7519 wants it; the
// library takes a string of digits for one as well.
func numericExpiry(raw string) bool {
	_, rest, _ := strings.Cut(raw, ".")
	payload, _, _ := strings.Cut(rest, ".")
	decoded, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return false
	}
	var claims struct {
		Expires json.RawMessage `json:"exp"`
	}
	return json.Unmarshal(decoded, &claims) == nil && len(claims.Expires) > 0 && claims.Expires[0] != '"'
}

func issuer(s *keys) string { return "axra:" + s.installation }
