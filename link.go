package paywall

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/token"
)

// Links gives who has paid private addresses, which open one page, file or feed each,
// without a cookie: for download managers, feed readers and podcast players. Whoever
// has such an address uses the purchase, until it ends or is refunded.
type Links struct {
	// For is how long an address works, such as `1h` for downloads. The default is as
	// long as access lasts, as feeds need it; ten years are the most.
	For caddy.Duration `json:"for,omitempty"`
}

// longestLink is the life of an address whose end is that of access: the ledger knows
// when that is.
const longestLink = token.LongestLife

func (l *Links) check() error {
	switch {
	case l == nil:
		return nil
	case l.For < 0:
		return errLinks
	case time.Duration(l.For) > longestLink:
		return errLongLinks
	}
	return nil
}

var errLongLinks = errors.New("links are signed for ten years at most: write `links` for as long as access lasts")

var errLinks = errors.New("links is written once, with a length of time or without: write `links 1h`, or `links` for as long as access lasts")

// linkClaims are the token of a private address.
type linkClaims struct {
	jwt.RegisteredClaims
	Scope    string `json:"o"` // site, pass and address
	Pass     string `json:"p"`
	Resource string `json:"r"` // of the purchase
	Purchase string `json:"s"`
}

func linkScope(site site, pass, address string) string {
	return session.Scope(site.origin, pass, "link "+address)
}

// linkAddress is the private address of a target of this site.
func (h *Handler) linkAddress(site site, v *access.Token, target string) (string, error) {
	life := time.Duration(h.Links.For)
	if life == 0 {
		life = longestLink
	}
	return h.app.privateAddress(site, v.Access, target, now().Add(life))
}

// privateAddress opens one address of a site to whoever has it.
func (a *App) privateAddress(site site, granted token.Access, target string, expires time.Time) (string, error) {
	target = urlpath.Local(target)
	claims := linkClaims{
		RegisteredClaims: jwt.RegisteredClaims{ExpiresAt: jwt.NewNumericDate(expires)},
		Scope:            linkScope(site, granted.Pass, urlpath.PageTarget(target)),
		Pass:             granted.Pass, Resource: granted.Resource, Purchase: granted.Purchase,
	}
	raw, err := a.keyring.Sign(token.Link, claims)
	if err != nil {
		return "", err
	}
	return site.origin + urlpath.WithParams(target, urlpath.ParamLink, raw), nil
}

// linked is the purchase whose private address the request came by, nil if it came by
// none. It opens that one address, to be read.
func (h *Handler) linked(r *http.Request, site site) *access.Token {
	if h.Links == nil || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return nil
	}
	address := originalURL(r)
	if !strings.Contains(address.RawQuery, urlpath.ParamLink) {
		return nil
	}
	raw := urlpath.Params(address.RawQuery).Get(urlpath.ParamLink)
	entry, err := h.app.verifyLink(raw, site)
	if err != nil || entry.Link != linkScope(site, entry.Pass, urlpath.PageTarget(urlpath.Target(address))) || !isUnambiguous(r) {
		return nil
	}
	return entry
}

// verifyLink checks the token of a private address, once while it is remembered.
func (a *App) verifyLink(raw string, site site) (*access.Token, error) {
	return a.access.VerifyLink(raw, site.origin, func() (token.Access, string, error) {
		var claims linkClaims
		kid, err := a.keyring.VerifyBy(token.Link, raw, &claims)
		if err != nil {
			return token.Access{}, "", err
		}
		if claims.Purchase == "" || claims.Pass == "" || claims.Resource == "" || claims.Scope == "" {
			return token.Access{}, "", token.ErrInvalid
		}
		return token.Access{
			Site: site.origin, Pass: claims.Pass, Resource: claims.Resource,
			Purchase: claims.Purchase, Expires: claims.ExpiresAt.Time, Key: kid,
		}, claims.Scope, nil
	})
}

// linkPlaceholder begins the names of placeholders that hold private addresses.
const linkPlaceholder = "http.axra.link."

// offerLinks makes `{http.axra.link./feed/1.mp3}` the private address of that path,
// for feeds that name their episodes.
func (h *Handler) offerLinks(r *http.Request, site site, v *access.Token) {
	if h.Links == nil {
		return
	}
	replacer, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return
	}
	replacer.Map(func(key string) (any, bool) {
		target, found := strings.CutPrefix(key, linkPlaceholder)
		if !found || !strings.HasPrefix(target, "/") {
			return nil, false
		}
		address, err := h.linkAddress(site, v, urlpath.EscapeTarget(target))
		if err != nil {
			h.app.complain(h.logger, "a private address could not be signed", zap.Error(err))
			return "", true
		}
		return address, true
	})
}
