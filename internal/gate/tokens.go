package gate

import (
	"context"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/token"
)

// Clock tells the time. A nil Clock is the system's.
type Clock func() time.Time

// Now returns the current time.
func (c Clock) Now() time.Time {
	if c != nil {
		return c()
	}
	return time.Now()
}

// Of returns when Caddy received a request. Reading the clock again would take a third of the time of a decision.
func (c Clock) Of(r *http.Request) time.Time {
	if at, ok := caddyhttp.GetVar(r.Context(), "start_time").(time.Time); ok && c == nil {
		return at
	}
	return c.Now()
}

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
	life := issued.Expires.Sub(t.Clock.Now())
	if issued.Expires.Equal(issued.Until) && issued.Downloads == 0 {
		life += token.Lapse // the purchase may be extended on another device
	}
	cookie := site.Cookie(name, raw, life) //nolint:gosec // Secure unless the site is plain http on localhost
	for _, cookie.Path = range paths {
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
	at := g.Tokens.Clock.Of(r)
	for entry := range g.ValidTokens(r, site, at) {
		product := g.Product(entry.Pass)
		if product == nil || len(products) > 0 && !slices.Contains(products, entry.Pass) || !product.Opens(entry.Resource, r) ||
			entry.Resource != terms.AllPaths && !g.SellsPaths && !IsUnambiguous(r) { // bought when the gate still sold paths
			continue
		}
		switch decision := g.Tokens.Judge(r.Context(), entry, at); {
		case decision == access.Open, // a later token may open without counting downloads
			decision == access.Unknown && best != access.Open, // a possible buyer is not told that access has ended
			decision == access.Closed && best == access.None:
			best, found = decision, entry
		}
		if best == access.Open && found.DownloadLimit() == 0 {
			break
		}
	}
	return best, found
}

// ValidTokens are the valid tokens of a request, whatever they open.
func (g *Gate) ValidTokens(r *http.Request, site *Site, at time.Time) iter.Seq[*access.Token] {
	return func(yield func(*access.Token) bool) {
		for raw := range g.RawTokens(r, site) {
			if entry, err := g.Tokens.Cache.Verify(raw, site.Origin, at); err == nil && !yield(entry) {
				return
			}
		}
		if entry := g.byLink(r, site); entry != nil {
			yield(entry)
		}
	}
}

// maxCandidates bounds how many cookies of one request are looked at.
const maxCandidates = 8

// RawTokens are what may be access tokens: the gate's cookies, each of which may occur more than once (RFC 6265, section
// 5.4), and the Authorization header.
func (g *Gate) RawTokens(r *http.Request, site *Site) iter.Seq[string] {
	return func(yield func(string) bool) {
		names, seen := g.cookieNames(r, site), 0
		for name, value := range AccessCookies(r.Header["Cookie"]) {
			if seen == maxCandidates {
				break
			}
			if slices.Contains(names, name) {
				if seen++; !yield(value) {
					return
				}
			}
		}
		if scheme, raw, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
			yield(strings.TrimSpace(raw))
		}
	}
}

// cookieNames are the names of the cookies that may open the gate to a request.
func (g *Gate) cookieNames(r *http.Request, site *Site) []string {
	names := site.accessNames
	for _, p := range g.Products {
		if p.Config.Key == "" {
			continue
		}
		if resource, err := p.Resource(r); err == nil {
			names = append(slices.Clip(names), site.accessCookieName("/", p.Name, resource))
		}
	}
	return names
}

// linkClaims are the claims of a private address's token.
type linkClaims struct {
	jwt.RegisteredClaims
	Scope    string `json:"o"` // site, product and address
	Pass     string `json:"p"`
	Resource string `json:"r"` // of the purchase
	Purchase string `json:"s"`
}

func linkScope(site *Site, product, target string) string {
	return session.Scope(site.Origin, product, "link "+urlpath.PageTarget(target))
}

// PrivateAddress returns an address that opens one target of a site to whoever has it, until it expires or access ends.
func (t *Tokens) PrivateAddress(site *Site, issued token.Access, target string, expires time.Time) (string, error) {
	target = urlpath.Local(target)
	raw, err := t.Keys.Sign(token.Link, linkClaims{
		RegisteredClaims: jwt.RegisteredClaims{ExpiresAt: jwt.NewNumericDate(expires)}, Scope: linkScope(site, issued.Pass, target),
		Pass: issued.Pass, Resource: issued.Resource, Purchase: issued.Purchase,
	})
	return site.Origin + urlpath.WithParams(target, urlpath.ParamLink, raw), err
}

// byLink returns the token of the private address that a request came by; nil if it came by none. A private address opens
// its one address, for reading.
func (g *Gate) byLink(r *http.Request, site *Site) *access.Token {
	t, address := g.Tokens, OriginalURL(r)
	isRead := r.Method == http.MethodGet || r.Method == http.MethodHead
	if !g.HasLinks || !isRead || !strings.Contains(address.RawQuery, urlpath.ParamLink) {
		return nil
	}
	raw := urlpath.Params(address.RawQuery).Get(urlpath.ParamLink)
	entry, err := t.Cache.VerifyLink(raw, site.Origin, func() (found token.Access, scope string, err error) {
		claims := linkClaims{RegisteredClaims: jwt.RegisteredClaims{ExpiresAt: new(jwt.NumericDate)}}
		kid, err := t.Keys.Verify(token.Link, raw, &claims)
		return token.Access{
			Site: site.Origin, Pass: claims.Pass, Resource: claims.Resource, Purchase: claims.Purchase, Expires: claims.ExpiresAt.Time, Key: kid,
		}, claims.Scope, err
	})
	if err != nil || entry.Link != linkScope(site, entry.Pass, urlpath.Target(address)) || !IsUnambiguous(r) {
		return nil
	}
	return entry
}
