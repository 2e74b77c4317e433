// Package gate knows what one gate sells, on which requests of which site, and finds the access token that opens it.
package gate

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/internal/urlpath"
)

// Gate is one axra_paywall handler.
type Gate struct {
	Matcher    *Matcher
	Products   []*Product // in the order of the offer page
	Sites      *Sites
	HasLinks   bool // private addresses open it
	SellsPaths bool // some product is sold per path

	sellsKeys    bool // some product is sold by a key
	looksUpPaths bool // some price or key is looked up for each path
	tokens       *Tokens
}

// Config is what a gate is made of.
type Config struct {
	Matcher  *Matcher
	Products []*Product
	Tokens   *Tokens
	HasLinks bool
	Handler  caddyhttp.MiddlewareHandler // the gate's own, by which it is found in a server's routes
	SiteURL  string                      // origin of the gate's site; may be empty
	AppURL   string                      // origin of sites without a host name; may be empty
}

// New returns a gate.
func New(c Config) *Gate {
	g := &Gate{Matcher: c.Matcher, Products: c.Products, Sites: newSites(c), HasLinks: c.HasLinks, tokens: c.Tokens}
	for _, p := range c.Products {
		g.SellsPaths = g.SellsPaths || p.Config.PerPath
		g.sellsKeys = g.sellsKeys || p.Config.Key != ""
		g.looksUpPaths = g.looksUpPaths || p.perPath
	}
	return g
}

// Product returns the product of a name that opens the gate; nil if there is none.
func (g *Gate) Product(name string) *Product {
	if i := slices.IndexFunc(g.Products, func(p *Product) bool { return p.Name == name }); i >= 0 {
		return g.Products[i]
	}
	return nil
}

// Quotes prices the gate's products for a request. If the price or key of one is missing or wrong, none is sold.
func (g *Gate) Quotes(r *http.Request) ([]Quote, error) {
	quotes := make([]Quote, 0, len(g.Products))
	for _, p := range g.Products {
		if p.Config.Retired {
			continue
		}
		quote, err := p.Quote(r)
		if err != nil {
			return nil, err
		}
		quotes = append(quotes, quote)
	}
	return quotes, nil
}

// IsAmbiguous reports whether the path does not determine what a request would buy or open.
func (g *Gate) IsAmbiguous(r *http.Request) bool {
	switch {
	case !g.SellsPaths:
		return false
	case !IsUnambiguous(r), urlpath.HasQueryRoute(OriginalURL(r)), urlpath.HasQueryRoute(r.URL), g.sellsKeys && !isWellFormed(r.URL.RawQuery):
		return true
	}
	// The site has rewritten the visitor's path to a different spelling.
	return g.looksUpPaths && IsRewritten(r) && urlpath.Clean(r.URL.Path) != r.URL.Path
}

// IsBehindScript reports whether a path that is sold separately lies behind a script, so that another one may be
// served: unless the gate's matchers name it, and the price is the same for all paths.
func (g *Gate) IsBehindScript(r *http.Request) bool {
	if !g.SellsPaths || !urlpath.IsRouted(OriginalURL(r)) {
		return false
	}
	direct, err := g.Matcher.Sets.AnyMatchWithError(r)
	return g.looksUpPaths || err != nil || !direct && len(g.Matcher.Sets) > 0
}

// CleanAddress returns the address without repeated slashes and dot segments, if keys or prices are looked up by the
// path and the request has another one; nil otherwise. It is for buyers too: a key may be looked up by the address as
// it was sent.
func (g *Gate) CleanAddress(r *http.Request) *url.URL {
	if !g.looksUpPaths || r.Method != http.MethodGet {
		return nil
	}
	return otherPath(OriginalURL(r), urlpath.Clean(OriginalURL(r).Path))
}

// CanonicalAddress returns the address under which a path is sold; nil if that is the one of the request.
func (g *Gate) CanonicalAddress(r *http.Request) *url.URL {
	address := OriginalURL(r)
	switch {
	case g.looksUpPaths:
		return otherPath(address, urlpath.File(address.Path))
	case g.SellsPaths:
		return otherPath(address, urlpath.Clean(address.Path))
	}
	return nil
}

func otherPath(address *url.URL, path string) *url.URL {
	if path == address.Path {
		return nil
	}
	return urlpath.WithPath(address, path)
}
