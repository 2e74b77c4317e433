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

// ErrInvalid is wrapped by every error about an invalid token.
var ErrInvalid = errors.New("invalid token")

// MaxSize bounds a token in bytes; a cookie could not hold more (RFC 6265, section 6.1).
// Longer ones are rejected unread.
const MaxSize = 4096

// typeAccess is explicit, so that one kind of token is never accepted as another (RFC 8725, section 3.11).
const typeAccess = "paywall+jwt"

// Use is the purpose of a token that is not an access token. Each use has its own key and type.
type Use string

// The uses.
const (
	Pending Use = "pending" // the pending cookie: a checkout that the browser has started
	Preview Use = "preview" // the cookie that counts free pages
	Device  Use = "device"  // an address that opens a purchase on another device
	Link    Use = "link"    // an address that opens itself without a cookie
)

// uses lists all uses.
var uses = []Use{Pending, Preview, Device, Link}

func (u Use) typ() string { return string(u) + "+jwt" }

// longest bounds the lifetime of an access token: browsers keep no cookie longer (RFC
// 6265bis, section 5.5). A token is renewed in time.
const longest = 400 * 24 * time.Hour

// LongestLife bounds the lifetime of everything that is signed, such as a private address.
// Keys are kept for that long after they have stopped signing.
const LongestLife = 10 * 365 * 24 * time.Hour

// Access is the content of an access token.
type Access struct {
	Site     string // origin the token is for (aud)
	Pass     string // name of the pass
	Resource string // what the purchase opens within the pass
	Purchase string // id of the purchase
	Device   string // id of the device that uses the purchase
	// Downloads is how many downloads the purchase allows; 0: not limited.
	Downloads int
	Until     time.Time // end of access; zero: no expiry
	Expires   time.Time // end of the token itself, never after Until
	Issued    time.Time
	Key       string // id of the key that signed it
}

// Stale reports whether a token that ends before its access should be renewed.
func (a Access) Stale(now time.Time) bool {
	endsEarly := a.Until.IsZero() || a.Expires.Before(a.Until)
	return endsEarly && a.Expires.Sub(now) < longest/2
}

type accessClaims struct {
	jwt.RegisteredClaims
	End       int64  `json:"exp"` // instead of the registered one, which may be a string
	Pass      string `json:"pass"`
	Resource  string `json:"resource"`
	Purchase  string `json:"purchase"`
	Device    string `json:"device,omitempty"`
	Downloads int    `json:"downloads,omitempty"`
	Until     int64  `json:"until,omitempty"`
}

// GetExpirationTime serves jwt.Validator.
func (c *accessClaims) GetExpirationTime() (*jwt.NumericDate, error) {
	if c.End == 0 {
		return nil, nil
	}
	return jwt.NewNumericDate(time.Unix(c.End, 0)), nil
}

// SignAccess issues an access token with the newest key of the algorithm. It fills in Expires, Issued and Key.
func (k *Keyring) SignAccess(a Access, algorithm string) (string, Access, error) {
	snap := k.snap.Load()
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
		Pass: a.Pass, Resource: a.Resource, Purchase: a.Purchase, Device: a.Device, Downloads: a.Downloads,
	}
	if !a.Until.IsZero() {
		claims.Until = a.Until.Unix()
		if a.Until.Before(a.Expires) {
			a.Expires = a.Until
		}
	}
	claims.End = a.Expires.Unix()
	signer := snap.signer(algorithm, k.now())
	a.Key = signer.ID
	signed, err := sign(signer.Algorithm, signer.ID, typeAccess, signer.signing, &claims)
	return signed, a, err
}

// Errors of VerifyAccess for genuine tokens.
var (
	// ErrLapsed means that the token ended together with its access, at most Lapse ago.
	// The purchase may have been extended since. It wraps ErrInvalid.
	ErrLapsed = fmt.Errorf("%w: it has ended with its access", ErrInvalid)
	errEnded  = fmt.Errorf("%w: it has ended", ErrInvalid)
)

// Lapse is how long a token that ended with its access can be exchanged for a new one.
const Lapse = 30 * 24 * time.Hour

// VerifyAccess checks the form, type, key, signature, issuer, audience and times of a token. The error wraps
// ErrInvalid, or is ErrNoKeys. With ErrLapsed it also returns the content of the token, which opens nothing by itself.
func (k *Keyring) VerifyAccess(raw, site string) (Access, error) {
	var claims accessClaims
	snap, kid, err := k.verify(raw, typeAccess, &claims, jwt.WithAudience(site), jwt.WithLeeway(Lapse))
	if err != nil {
		return Access{}, err
	}
	if claims.NotBefore != nil && k.now().Before(claims.NotBefore.Time) { // no leeway for these
		return Access{}, fmt.Errorf("%w: not valid yet", ErrInvalid)
	}
	if claims.Issuer != issuer(snap) || len(claims.Audience) != 1 ||
		claims.Pass == "" || claims.Resource == "" || claims.Purchase == "" || claims.IssuedAt == nil {
		return Access{}, fmt.Errorf("%w: claims are missing or foreign", ErrInvalid)
	}
	a := Access{
		Site: site, Pass: claims.Pass, Resource: claims.Resource, Purchase: claims.Purchase,
		Device: claims.Device, Downloads: claims.Downloads, Expires: time.Unix(claims.End, 0), Issued: claims.IssuedAt.Time,
		Key: kid,
	}
	if claims.Until != 0 {
		a.Until = time.Unix(claims.Until, 0)
	}
	switch now := k.now(); {
	case now.Before(a.Expires):
		return a, nil
	case a.HasLapsed(now):
		return a, ErrLapsed
	}
	return Access{}, errEnded
}

// HasLapsed reports whether the token ended together with its access, at most Lapse ago.
func (a Access) HasLapsed(now time.Time) bool {
	return !a.Until.IsZero() && a.Expires.Equal(a.Until) && !now.Before(a.Until) && now.Before(a.Expires.Add(Lapse))
}

// Sign signs claims for a use with HS256 and a key that is derived from the newest stored key of any algorithm, so that
// a rotation replaces the keys of all uses. The claims need an expiration time, at most LongestLife from now.
func (k *Keyring) Sign(use Use, claims jwt.Claims) (string, error) {
	snap := k.snap.Load()
	if snap == nil {
		return "", ErrNoKeys
	}
	signer := snap.signer(anyAlgorithm, k.now())
	return sign(HS256, signer.ID, use.typ(), signer.derived[use], claims)
}

// Verify checks a token of Sign, fills claims and returns the id of the signing key. The error wraps
// ErrInvalid, or is ErrNoKeys.
func (k *Keyring) Verify(use Use, raw string, claims jwt.Claims) (kid string, err error) {
	_, kid, err = k.verify(raw, use.typ(), claims)
	return kid, err
}

// IsOfUnknownKey reports whether a text looks like an access token of a key that is not known, such as a removed
// one or one of another installation. It does not check the signature.
func (k *Keyring) IsOfUnknownKey(raw string) bool {
	snap := k.snap.Load()
	if snap == nil || len(raw) > MaxSize || strings.Count(raw, ".") != 2 {
		return false
	}
	written, _, _ := strings.Cut(raw, ".")
	var header struct {
		Typ string `json:"typ"`
	}
	_, known := snap.heads[written]
	decoded, err := base64.RawURLEncoding.DecodeString(written)
	return !known && err == nil && json.Unmarshal(decoded, &header) == nil && header.Typ == typeAccess
}

func sign(algorithm, kid, typ string, with any, claims jwt.Claims) (string, error) {
	unsigned := jwt.NewWithClaims(jwt.GetSigningMethod(algorithm), claims)
	unsigned.Header = headerOf(algorithm, kid, typ)
	signed, err := unsigned.SignedString(with)
	if err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	return signed, nil
}

// verify lets the key choose the algorithm, never the token (RFC 8725, section 3.1): it compares the header as text
// with those under which the known keys sign. It reads the claims only after it has verified the signature.
func (k *Keyring) verify(raw, typ string, claims jwt.Claims, opts ...jwt.ParserOption) (snap *keys, kid string, err error) {
	if snap = k.snap.Load(); snap == nil {
		return nil, "", ErrNoKeys
	}
	if len(raw) > MaxSize {
		return nil, "", fmt.Errorf("%w: longer than %d bytes", ErrInvalid, MaxSize)
	}
	head, rest, _ := strings.Cut(raw, ".")
	payload, encoded, complete := strings.Cut(rest, ".")
	signed, known := snap.heads[head]
	if !complete || !known || signed.typ != typ {
		return nil, "", errHeader
	}
	signature, err := decodeSegment(encoded)
	if err == nil {
		err = signed.method.Verify(raw[:len(raw)-len(encoded)-1], signature, signed.verifying)
	}
	var decoded []byte
	if err == nil {
		decoded, err = decodeSegment(payload)
	}
	if err == nil {
		err = json.Unmarshal(decoded, claims)
	}
	if err == nil {
		opts = append(opts, jwt.WithExpirationRequired(), jwt.WithTimeFunc(k.now))
		err = jwt.NewValidator(opts...).Validate(claims)
	}
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return snap, signed.kid, nil
}

// errHeader means that a token was rejected before its signature was checked.
var errHeader = fmt.Errorf("%w: not three parts, or a foreign header", ErrInvalid)

// decodeSegment accepts only the canonical encoding: without line breaks, which strict
// decoding skips, and with zeros as unused bits.
func decodeSegment(segment string) ([]byte, error) {
	if strings.ContainsAny(segment, "\r\n") {
		return nil, errors.New("a line break")
	}
	return base64.RawURLEncoding.Strict().DecodeString(segment)
}

func issuer(s *keys) string { return "axra:" + s.installation }
