package session

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// PendingLife is how long after the end of its checkout a pending cookie is
// kept, so that a payment that is confirmed late still finds its browser.
const PendingLife = 7 * 24 * time.Hour

// maxPending is the size of a pending cookie's value in bytes. It is far below what
// browsers keep; how many there may be in all is bounded by whoever sets them.
const maxPending = 1200

// State is what this browser is known to have done with a checkout.
type State string

// The states of a pending entry.
const (
	Started   State = ""  // sent to the checkout
	Returned  State = "r" // came back by the success URL: a payment is on its way
	Cancelled State = "c" // came back by the cancel URL: not to be sent there again
	Kept      State = "k" // paid, but another purchase opens the same for longer
)

// Pending is one checkout session that this browser started. Each has a cookie
// of its own, so that tabs that start at the same time do not overwrite each
// other's.
type Pending struct {
	Session     string
	CheckoutURL string    // empty: do not send the browser there again
	ExpiresAt   time.Time // end of the checkout, whole seconds
	Scope       string    // what it is for, see Scope
	Price       string    // what was asked: "5.00 USD"
	Extends     string    // id of the purchase that gets more time; empty for a new one
	Device      string    // the place, among those of the purchase that is extended, of who extends it
	State       State
	ReturnedAt  time.Time // when the state became Returned, in milliseconds
}

// Scope names what a checkout is for in few bytes: the site, the pass and the
// resource.
func Scope(site, pass, resource string) string {
	sum := sha256.Sum256([]byte(site + "\n" + pass + "\n" + resource))
	return hex.EncodeToString(sum[:6])
}

// pendingClaims has short names, and no claim that follows from another: cookies
// travel with every request.
type pendingClaims struct {
	Session     string           `json:"s"`
	CheckoutURL string           `json:"c,omitempty"`
	CheckoutEnd *jwt.NumericDate `json:"e"`
	Scope       string           `json:"o"`
	Price       string           `json:"a"`
	Extends     string           `json:"x,omitempty"`
	Device      string           `json:"d,omitempty"`
	State       State            `json:"m,omitempty"`
	ReturnedAt  int64            `json:"b,omitempty"` // Unix milliseconds
}

// GetExpirationTime derives the cookie's end from the checkout's.
func (c pendingClaims) GetExpirationTime() (*jwt.NumericDate, error) {
	if c.CheckoutEnd == nil {
		return nil, nil //nolint:nilnil // how jwt.Claims says "absent"
	}
	return jwt.NewNumericDate(c.CheckoutEnd.Add(PendingLife)), nil
}

func (pendingClaims) GetIssuedAt() (*jwt.NumericDate, error)  { return nil, nil }
func (pendingClaims) GetNotBefore() (*jwt.NumericDate, error) { return nil, nil }
func (pendingClaims) GetIssuer() (string, error)              { return "", nil }
func (pendingClaims) GetSubject() (string, error)             { return "", nil }
func (pendingClaims) GetAudience() (jwt.ClaimStrings, error)  { return nil, nil }

// Signer signs and verifies pending cookies; *token.Keyring is one.
type Signer interface {
	SignPending(claims jwt.Claims) (string, error)
	VerifyPending(raw string, claims jwt.Claims) error
}

// Expires is when the pending cookie ends.
func (p Pending) Expires() time.Time { return p.ExpiresAt.Add(PendingLife) }

// Keep makes the entry one that lasts as long as the access that was paid; the zero time
// is for ever, which no browser keeps.
func (p Pending) Keep(until, now time.Time) Pending {
	const longest = 400 * 24 * time.Hour
	if end := now.Add(longest); until.IsZero() || until.After(end) {
		until = end
	}
	p.State, p.CheckoutURL, p.ExpiresAt = Kept, "", until.Add(-PendingLife).Truncate(time.Second)
	return p
}

// CookieName is derived from the session: one session, one cookie.
func (p Pending) CookieName(prefix string) string {
	sum := sha256.Sum256([]byte(p.Session))
	return prefix + hex.EncodeToString(sum[:6])
}

// Reusable reports whether the browser may be sent to the same checkout again.
func (p Pending) Reusable(now time.Time) bool {
	return p.State == Started && p.CheckoutURL != "" && p.ExpiresAt.Sub(now) > 30*time.Second
}

// Encode signs the entry. Where the checkout URL makes it too long for a cookie
// it is left out, and the checkout is then not reused.
func (p Pending) Encode(signer Signer) (string, error) {
	raw, err := p.sign(signer)
	if err == nil && len(raw) > maxPending {
		p.CheckoutURL = ""
		raw, err = p.sign(signer)
	}
	return raw, err
}

func (p Pending) sign(signer Signer) (string, error) {
	claims := pendingClaims{
		Session: p.Session, CheckoutURL: p.CheckoutURL, CheckoutEnd: jwt.NewNumericDate(p.ExpiresAt),
		Scope: p.Scope, Price: p.Price, Extends: p.Extends, Device: p.Device, State: p.State,
	}
	if !p.ReturnedAt.IsZero() {
		claims.ReturnedAt = p.ReturnedAt.UnixMilli()
	}
	raw, err := signer.SignPending(claims)
	if err != nil {
		return "", fmt.Errorf("pending cookie: %w", err)
	}
	return raw, nil
}

// DecodePending verifies a pending cookie.
func DecodePending(signer Signer, raw string) (Pending, error) {
	var c pendingClaims
	if err := signer.VerifyPending(raw, &c); err != nil {
		return Pending{}, fmt.Errorf("pending cookie: %w", err)
	}
	if c.Session == "" || c.CheckoutEnd == nil {
		return Pending{}, errors.New("pending cookie: claims are missing")
	}
	p := Pending{
		Session: c.Session, CheckoutURL: c.CheckoutURL, ExpiresAt: c.CheckoutEnd.Time,
		Scope: c.Scope, Price: c.Price, Extends: c.Extends, Device: c.Device, State: c.State,
	}
	if c.ReturnedAt != 0 {
		p.ReturnedAt = time.UnixMilli(c.ReturnedAt)
	}
	return p, nil
}
