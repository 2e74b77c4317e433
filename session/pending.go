package session

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// ErrTooLong: the page's address does not fit into a pending cookie.
var ErrTooLong = errors.New("address is too long for the pending cookie")

// PendingLife is how long after the end of its checkout a pending cookie is
// kept, so that a payment that is confirmed late still finds its browser.
const PendingLife = 7 * 24 * time.Hour

// maxPending is the size of a pending cookie's value in bytes; with name and
// attributes it stays below the 4,096 that browsers keep (RFC 6265, section 6.1).
const maxPending = 3700

// State is what this browser is known to have done with a checkout.
type State string

// The states of a pending entry.
const (
	Started   State = ""  // sent to the checkout
	Returned  State = "r" // came back by the success URL: a payment is on its way
	Cancelled State = "c" // came back by the cancel URL: not to be sent there again
)

// Pending is one checkout session that this browser started. Each has a cookie
// of its own, so that tabs that start at the same time do not overwrite each
// other's.
type Pending struct {
	Session     string
	CheckoutURL string // empty: do not send the browser there again
	ExpiresAt   time.Time
	Site        string // origin
	Pass        string
	Resource    string
	Price       string // what was asked: "5.00 USD"
	Target      string // path and query of the page that the browser wanted
	State       State
	Started     time.Time
}

// pendingClaims has short names: cookies travel with every request.
type pendingClaims struct {
	Session     string           `json:"s"`
	CheckoutURL string           `json:"c,omitempty"`
	CheckoutEnd *jwt.NumericDate `json:"e"`
	Site        string           `json:"o"`
	Pass        string           `json:"p"`
	Resource    string           `json:"r"`
	Price       string           `json:"a"`
	Target      []byte           `json:"t"` // bytes: JSON would escape and mend them
	State       State            `json:"m,omitempty"`
	Issued      *jwt.NumericDate `json:"iat"`
	Expires     *jwt.NumericDate `json:"exp"`
}

func (c pendingClaims) GetExpirationTime() (*jwt.NumericDate, error) { return c.Expires, nil }
func (c pendingClaims) GetIssuedAt() (*jwt.NumericDate, error)       { return c.Issued, nil }
func (pendingClaims) GetNotBefore() (*jwt.NumericDate, error)        { return nil, nil }
func (pendingClaims) GetIssuer() (string, error)                     { return "", nil }
func (pendingClaims) GetSubject() (string, error)                    { return "", nil }
func (pendingClaims) GetAudience() (jwt.ClaimStrings, error)         { return nil, nil }

// Signer signs and verifies pending cookies; *token.Keyring is one.
type Signer interface {
	SignPending(claims jwt.Claims) (string, error)
	VerifyPending(raw string, claims jwt.Claims) error
}

// Expires is when the pending cookie ends.
func (p Pending) Expires() time.Time { return p.ExpiresAt.Add(PendingLife) }

// CookieName is derived from the session, so that a return finds its cookie.
func (p Pending) CookieName(prefix string) string { return PendingName(prefix, p.Session) }

// PendingName is the name of the pending cookie of a session.
func PendingName(prefix, session string) string {
	sum := sha256.Sum256([]byte(session))
	return prefix + hex.EncodeToString(sum[:6])
}

// Reusable reports whether the browser may be sent to the same checkout again.
func (p Pending) Reusable(now time.Time) bool {
	return p.State == Started && p.CheckoutURL != "" && p.ExpiresAt.Sub(now) > 30*time.Second
}

// Encode signs the entry. Where it would not fit into a cookie the checkout
// URL is left out, and the checkout is then not reused; ErrTooLong if that is
// not enough.
func (p Pending) Encode(signer Signer) (string, error) {
	raw, err := p.sign(signer)
	if err == nil && len(raw) > maxPending {
		p.CheckoutURL = ""
		raw, err = p.sign(signer)
	}
	if err != nil {
		return "", err
	}
	if len(raw) > maxPending {
		return "", ErrTooLong
	}
	return raw, nil
}

func (p Pending) sign(signer Signer) (string, error) {
	raw, err := signer.SignPending(pendingClaims{
		Session: p.Session, CheckoutURL: p.CheckoutURL, CheckoutEnd: jwt.NewNumericDate(p.ExpiresAt),
		Site: p.Site, Pass: p.Pass, Resource: p.Resource, Price: p.Price, Target: []byte(p.Target),
		State: p.State, Issued: jwt.NewNumericDate(p.Started), Expires: jwt.NewNumericDate(p.Expires()),
	})
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
	if c.Session == "" || c.CheckoutEnd == nil || c.Issued == nil {
		return Pending{}, errors.New("pending cookie: claims are missing")
	}
	return Pending{
		Session: c.Session, CheckoutURL: c.CheckoutURL, ExpiresAt: c.CheckoutEnd.Time,
		Site: c.Site, Pass: c.Pass, Resource: c.Resource, Price: c.Price, Target: string(c.Target),
		State: c.State, Started: c.Issued.Time,
	}, nil
}

// Fits reports whether an entry for the address would fit into a cookie, to be
// known before a session is created.
func (p Pending) Fits(signer Signer) bool {
	p.Session = "000000000000000000000000000000000000000000000000"
	p.CheckoutURL = ""
	p.ExpiresAt, p.Started = time.Unix(1<<31, 0), time.Unix(1<<31, 0)
	_, err := p.Encode(signer)
	return err == nil
}
