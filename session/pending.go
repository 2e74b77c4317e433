package session

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-axra/paywall/token"
)

// PendingLife is how long a pending cookie outlives its checkout, so that a late payment still finds its browser.
const PendingLife = 7 * 24 * time.Hour

// maxPending bounds the value of a pending cookie in bytes, far below what browsers keep.
const maxPending = 1200

// State is what the browser has done with a checkout.
type State string

// The states of a pending entry.
const (
	Started   State = ""  // sent to the checkout
	Returned  State = "r" // came back by the success URL: a payment is on its way
	Cancelled State = "c" // came back by the cancel URL: do not send it there again
	Kept      State = "k" // paid, but another purchase opens the same for longer
)

// Pending is a checkout session that the browser started. Each has its own cookie, so
// tabs that start at the same time do not overwrite each other's.
type Pending struct {
	Session     string    `json:"s"`
	CheckoutURL string    `json:"c,omitempty"` // empty: do not send the browser there again
	ExpiresAt   time.Time `json:"e"`           // end of the checkout, in whole seconds
	Scope       string    `json:"o"`           // what it is for, see Scope
	Price       string    `json:"a"`           // "5.00 USD"
	Extends     string    `json:"x,omitempty"` // id of the purchase that gets more time; empty for a new one
	Device      string    `json:"d,omitempty"` // id of the device that extends the purchase
	State       State     `json:"m,omitempty"`
	ReturnedAt  time.Time `json:"b,omitzero"` // when the state became Returned, in milliseconds
}

// Scope is a short name for the site, the pass and the resource of a checkout.
func Scope(site, pass, resource string) string {
	sum := sha256.Sum256([]byte(site + "\n" + pass + "\n" + resource))
	return hex.EncodeToString(sum[:6])
}

// pendingClaims are the claims of a pending cookie. Their names are short, as cookies travel with every request.
type pendingClaims struct {
	Pending
	jwt.RegisteredClaims `json:"-"` // for their methods
}

// GetExpirationTime derives the cookie's end from the checkout's.
func (c pendingClaims) GetExpirationTime() (*jwt.NumericDate, error) {
	if c.Pending.ExpiresAt.IsZero() {
		return nil, nil //nolint:nilnil // how jwt.Claims says "absent"
	}
	return jwt.NewNumericDate(c.Expires()), nil
}

// Expires is when the pending cookie ends.
func (p Pending) Expires() time.Time { return p.ExpiresAt.Add(PendingLife) }

// Keep returns an entry that lasts as long as the access, but no longer than browsers
// keep cookies. The zero time means no expiry.
func (p Pending) Keep(until, now time.Time) Pending {
	const longest = 400 * 24 * time.Hour
	if end := now.Add(longest); until.IsZero() || until.After(end) {
		until = end
	}
	p.State, p.CheckoutURL, p.ExpiresAt = Kept, "", until.Add(-PendingLife).Truncate(time.Second)
	return p
}

// CookieName is derived from the session, so a session has one cookie.
func (p Pending) CookieName(prefix string) string {
	sum := sha256.Sum256([]byte(p.Session))
	return prefix + hex.EncodeToString(sum[:6])
}

// Reusable reports whether the browser may be sent to the same checkout again.
func (p Pending) Reusable(now time.Time) bool {
	return p.State == Started && p.CheckoutURL != "" && p.ExpiresAt.Sub(now) > 30*time.Second
}

// Encode signs the entry. If it is too long for a cookie, it leaves out the checkout
// URL, and the checkout is then not reused.
func (p Pending) Encode(keys *token.Keyring) (string, error) {
	raw, err := p.sign(keys)
	if err == nil && len(raw) > maxPending {
		p.CheckoutURL = ""
		raw, err = p.sign(keys)
	}
	return raw, err
}

func (p Pending) sign(keys *token.Keyring) (string, error) {
	p.ExpiresAt, p.ReturnedAt = p.ExpiresAt.UTC().Truncate(time.Second), p.ReturnedAt.UTC().Truncate(time.Millisecond)
	raw, err := keys.Sign(token.Pending, pendingClaims{Pending: p})
	if err != nil {
		return "", fmt.Errorf("pending cookie: %w", err)
	}
	return raw, nil
}

// DecodePending verifies a pending cookie.
func DecodePending(keys *token.Keyring, raw string) (Pending, error) {
	var c pendingClaims
	if _, err := keys.Verify(token.Pending, raw, &c); err != nil {
		return Pending{}, fmt.Errorf("pending cookie: %w", err)
	}
	if c.Session == "" {
		return Pending{}, errors.New("pending cookie: it names no session")
	}
	return c.Pending, nil
}
