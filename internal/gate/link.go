package gate

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/token"
)

// linkClaims are the claims of a private address's token.
type linkClaims struct {
	jwt.RegisteredClaims
	Scope    string `json:"o"` // site, product and address
	Pass     string `json:"p"`
	Resource string `json:"r"` // of the purchase
	Purchase string `json:"s"`
}

func linkScope(origin, product, target string) string {
	return session.Scope(origin, product, "link "+urlpath.PageTarget(target))
}

// PrivateAddress returns an address that opens one target of a site to whoever has it, until it expires or access ends.
func (t *Tokens) PrivateAddress(site *Site, issued token.Access, target string, expires time.Time) (string, error) {
	target = urlpath.Local(target)
	raw, err := t.Keys.Sign(token.Link, linkClaims{
		RegisteredClaims: jwt.RegisteredClaims{ExpiresAt: jwt.NewNumericDate(expires)},
		Scope:            linkScope(site.Origin, issued.Pass, target),
		Pass:             issued.Pass, Resource: issued.Resource, Purchase: issued.Purchase,
	})
	if err != nil {
		return "", err
	}
	return site.Origin + urlpath.WithParams(target, urlpath.ParamLink, raw), nil
}

// byLink returns the token of the private address that a request came by; nil if it came by none. A private address opens
// its one address, for reading.
func (t *Tokens) byLink(r *http.Request, site *Site) *access.Token {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return nil
	}
	address := OriginalURL(r)
	if !strings.Contains(address.RawQuery, urlpath.ParamLink) {
		return nil
	}
	entry, err := t.verifyLink(urlpath.Params(address.RawQuery).Get(urlpath.ParamLink), site)
	if err != nil || !isLinkTo(entry, site, address) || !IsUnambiguous(r) {
		return nil
	}
	return entry
}

func isLinkTo(entry *access.Token, site *Site, address *url.URL) bool {
	return entry.Link == linkScope(site.Origin, entry.Pass, urlpath.Target(address))
}

func (t *Tokens) verifyLink(raw string, site *Site) (*access.Token, error) {
	return t.Cache.VerifyLink(raw, site.Origin, func() (token.Access, string, error) {
		var claims linkClaims
		kid, err := t.Keys.VerifyBy(token.Link, raw, &claims)
		if err != nil {
			return token.Access{}, "", err
		}
		if claims.Purchase == "" || claims.Pass == "" || claims.Resource == "" || claims.Scope == "" {
			return token.Access{}, "", token.ErrInvalid
		}
		return token.Access{
			Site: site.Origin, Pass: claims.Pass, Resource: claims.Resource,
			Purchase: claims.Purchase, Expires: claims.ExpiresAt.Time, Key: kid,
		}, claims.Scope, nil
	})
}
