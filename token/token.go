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
	Purchase string // id of the purchase
	Device   string // id of the device among those that use the purchase
	// Downloads is how many downloads the purchase allows; 0: not limited.
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
	End       *endOfLife       `json:"exp,omitempty"` // in place of the registered one
	Pass      string           `json:"pass"`
	Resource  string           `json:"resource"`
	Purchase  string           `json:"purchase"`
	Device    string           `json:"device,omitempty"`
	Downloads int              `json:"downloads,omitempty"`
	Until     *jwt.NumericDate `json:"until,omitempty"`
}

// GetExpirationTime serves jwt.Validator.
func (c *accessClaims) GetExpirationTime() (*jwt.NumericDate, error) {
	if c.End == nil {
		return nil, nil
	}
	return &c.End.NumericDate, nil
}

// endOfLife is a number, as RFC 7519 wants it; the library takes a string of digits for
// one as well.
type endOfLife struct{ jwt.NumericDate }

// UnmarshalJSON reads a number.
func (e *endOfLife) UnmarshalJSON(raw []byte) error {
	if len(raw) > 0 && raw[0] == '"' {
		return errors.New("exp is not a number")
	}
	return e.NumericDate.UnmarshalJSON(raw)
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
		claims.Until = jwt.NewNumericDate(a.Until)
		if a.Until.Before(a.Expires) {
			a.Expires = a.Until
		}
	}
	claims.End = &endOfLife{*jwt.NewNumericDate(a.Expires)}
	signer := snap.signer(algorithm, k.now())
	a.Key = signer.id
	signed, err := sign(signer.algorithm, signer.id, typeAccess, signer.signing, &claims)
	return signed, a, err
}

// Errors of VerifyAccess that are no reason to take a token for a forged one.
var (
	// ErrLapsed: the token has ended with the access that it carries, not longer than
	// Lapse ago; the purchase may have been extended since. It wraps ErrInvalid.
	ErrLapsed = fmt.Errorf("%w: it has ended with its access", ErrInvalid)
	errEnded  = fmt.Errorf("%w: it has ended", ErrInvalid)
)

// Lapse is how long a token that has ended with its access may ask for a new one.
const Lapse = 30 * 24 * time.Hour

// VerifyAccess checks a token's form, type, key, signature, issuer, audience and times.
// The error wraps ErrInvalid, or is ErrNoKeys. With ErrLapsed it returns what the token
// says; that opens nothing by itself.
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
		Device: claims.Device, Downloads: claims.Downloads, Expires: claims.End.Time, Issued: claims.IssuedAt.Time,
		Key: kid,
	}
	if claims.Until != nil {
		a.Until = claims.Until.Time
	}
	return a.ifLiving(k.now())
}

// ifLiving tells what has ended from what has not.
func (a Access) ifLiving(now time.Time) (Access, error) {
	switch {
	case now.Before(a.Expires):
		return a, nil
	case a.HasLapsed(now):
		return a, ErrLapsed
	}
	return Access{}, errEnded
}

// HasLapsed reports whether a token has ended with the access that it carries, not longer
// than Lapse ago.
func (a Access) HasLapsed(now time.Time) bool {
	return !a.Until.IsZero() && a.Expires.Equal(a.Until) && !now.Before(a.Until) && now.Before(a.Expires.Add(Lapse))
}

// Sign signs claims for a use, with HS256 and a key derived from the newest stored one,
// whatever the algorithm of that: so a rotation changes the keys of all uses. The claims
// need an end (exp), of their own or derived, not later than LongestLife from now.
func (k *Keyring) Sign(use Use, claims jwt.Claims) (string, error) {
	snap := k.snap.Load()
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
	_, kid, err = k.verify(raw, use.typ(), claims)
	return kid, err
}

// Knows reports whether tokens that the key has signed are still accepted. What has
// been verified before may be remembered for as long as that.
func (k *Keyring) Knows(kid string) bool {
	snap := k.snap.Load()
	return snap != nil && snap.byID[kid] != nil
}

// Generation is the keys that are known at a time: another one whenever they change. What
// Knows says holds for as long as the generation is the same.
type Generation struct{ stored *keys }

// Generation returns the present one.
func (k *Keyring) Generation() *Generation {
	stored, last := k.snap.Load(), k.generation.Load()
	if last != nil && last.stored == stored {
		return last
	}
	k.generation.Store(&Generation{stored}) // of several at once, the others are soon forgotten
	return k.generation.Load()
}

// SignPending signs the claims of a pending cookie.
func (k *Keyring) SignPending(claims jwt.Claims) (string, error) { return k.Sign(Pending, claims) }

// VerifyPending checks a pending cookie and fills claims.
func (k *Keyring) VerifyPending(raw string, claims jwt.Claims) error {
	return k.Verify(Pending, raw, claims)
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

// verify lets our key, never the token's own header, choose the algorithm (RFC 8725,
// section 3.1): only the very headers are known under which we sign, each leading to its
// key. Nothing of the claims is read before the signature is known to be good.
func (k *Keyring) verify(
	raw, typ string, claims jwt.Claims, opts ...jwt.ParserOption,
) (snap *keys, kid string, err error) {
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
	if err := k.checkSignature(raw, raw[:len(raw)-len(encoded)-1], encoded, signed); err != nil {
		return nil, "", err
	}
	decoded, err := decodeSegment(payload)
	if err != nil {
		return nil, "", err
	}
	if err := json.Unmarshal(decoded, claims); err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	opts = append(opts, jwt.WithExpirationRequired(), jwt.WithTimeFunc(k.now))
	if err := jwt.NewValidator(opts...).Validate(claims); err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return snap, signed.kid, nil
}

// checkSignature checks the signature of one token once, as long as a bad one is
// remembered.
func (k *Keyring) checkSignature(raw, message, encoded string, with head) error {
	signature, err := decodeSegment(encoded)
	if err != nil {
		return err
	}
	if k.forged.has(raw) {
		return errForged
	}
	if err := with.method.Verify(message, signature, with.verifying); err != nil {
		k.forged.add(raw)
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// Reasons to refuse a token without looking at its signature.
var (
	errHeader = fmt.Errorf("%w: not three parts, or a foreign header", ErrInvalid)
	errForged = fmt.Errorf("%w: its signature has been refused before", ErrInvalid)
)

// decodeSegment takes no second spelling of the same bytes: neither line breaks, which
// strict decoding skips, nor other unused bits.
func decodeSegment(segment string) ([]byte, error) {
	if strings.IndexByte(segment, '\n') >= 0 || strings.IndexByte(segment, '\r') >= 0 {
		return nil, fmt.Errorf("%w: a line break", ErrInvalid)
	}
	decoded, err := strictly.DecodeString(segment)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return decoded, nil
}

var strictly = base64.RawURLEncoding.Strict()

func issuer(s *keys) string { return "axra:" + s.installation }
