package gate

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/token"
)

// Tokens issues and verifies access tokens, and judges the purchases behind them.
type Tokens struct {
	Cache     *access.Cache
	Keys      *token.Keyring
	Algorithm string // of new tokens
	Bounds    access.Bounds
	Clock     Clock
	OnGrace   func() // called for each request that is served although the change feed is stale
}

// Give sets the cookie with an access token, signed now.
func (t *Tokens) Give(w http.ResponseWriter, r *http.Request, site *Site, issued token.Access) error {
	raw, issued, err := t.Keys.SignAccess(issued, t.Algorithm)
	if err != nil {
		return err
	}
	name, paths := site.AccessCookie(issued, OriginalURL(r))
	expires := issued.Expires
	if expires.Equal(issued.Until) && issued.Downloads == 0 {
		expires = expires.Add(token.Lapse) // the purchase may be extended on another device
	}
	cookie := site.Cookie(name, raw, expires.Sub(t.Clock.Now())) //nolint:gosec // Secure unless the site is plain http on localhost
	for _, path := range paths {
		cookie.Path = path
		http.SetCookie(w, cookie)
	}
	return nil
}

// Judge reports whether a token opens its resource.
func (t *Tokens) Judge(ctx context.Context, entry *access.Token, at time.Time) access.Decision {
	decision := t.Cache.Judge(ctx, entry, at, t.Bounds)
	if decision == access.Open && !t.Cache.IsFresh(t.Bounds.Recheck) {
		t.OnGrace()
	}
	return decision
}

// FindToken finds the token of a request that opens the gate; with names, only tokens of these products count. If none
// opens the gate, it returns the token that says most about why not; nil with access.None if there is none.
func (g *Gate) FindToken(r *http.Request, site *Site, products ...string) (access.Decision, *access.Token) {
	best, found := access.None, (*access.Token)(nil)
	at := g.tokens.Clock.Of(r)
	g.EachToken(r, site, at, func(entry *access.Token) bool {
		if len(products) > 0 && !slices.Contains(products, entry.Pass) || !g.asksFor(r, entry) {
			return true
		}
		decision := g.tokens.Judge(r.Context(), entry, at)
		switch {
		case decision == access.Open && entry.DownloadLimit() == 0:
			best, found = access.Open, entry
			return false
		case decision == access.Open, // a later token may open without counting downloads
			decision == access.Unknown && best != access.Open, // a possible buyer is not told that access has ended
			decision == access.Closed && best == access.None:
			best, found = decision, entry
		}
		return true
	})
	return best, found
}

// asksFor reports whether the request asks for what a token was given for.
func (g *Gate) asksFor(r *http.Request, entry *access.Token) bool {
	product := g.Product(entry.Pass)
	if product == nil || !product.Opens(entry.Resource, r) {
		return false
	}
	// It may have been bought by path when the gate still sold paths.
	return entry.Resource == terms.WholePass || g.SellsPaths || IsUnambiguous(r)
}

// EachToken calls visit for the valid tokens of a request, whatever they open, until it returns false.
func (g *Gate) EachToken(r *http.Request, site *Site, at time.Time, visit func(*access.Token) bool) {
	more := true
	g.EachRawToken(r, site, func(raw string) bool {
		if entry, err := g.tokens.Cache.Verify(raw, site.Origin, at); err == nil {
			more = visit(entry)
		}
		return more
	})
	if !more || !g.HasLinks {
		return
	}
	if entry := g.tokens.byLink(r, site); entry != nil {
		visit(entry)
	}
}

// maxCandidates bounds how many tokens of one request are looked at.
const maxCandidates = 8

// EachRawToken calls visit for values that may be access tokens until it returns false: those of the gate's cookies,
// each of which may occur more than once (RFC 6265, section 5.4), and of the Authorization header.
func (g *Gate) EachRawToken(r *http.Request, site *Site, visit func(raw string) bool) {
	names := site.accessNames
	if g.sellsKeys {
		names = append(slices.Clip(names), site.keyCookieNames(r, g.Products)...)
	}
	seen, more := 0, true
	EachAccessCookie(r.Header["Cookie"], func(name, value string) bool {
		if slices.Contains(names, name) {
			seen++
			more = visit(value)
		}
		return more && seen < maxCandidates
	})
	if !more {
		return
	}
	for _, value := range r.Header["Authorization"] {
		scheme, credentials, _ := strings.Cut(value, " ")
		if more && seen <= maxCandidates && strings.EqualFold(scheme, "Bearer") {
			seen++
			more = visit(strings.TrimSpace(credentials))
		}
	}
}
