// Package gate knows what one gate sells, on which requests of which site, and finds the access token that opens it.
package gate

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/internal/urlpath"
)

// Gate is one axra_paywall handler.
type Gate struct {
	Matcher    *Matcher
	Products   []*Product // what opens the gate, in the order in which it is offered
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
	g := &Gate{
		Matcher: c.Matcher, Products: c.Products, HasLinks: c.HasLinks, tokens: c.Tokens,
		Sites: newSites(c),
	}
	for _, p := range c.Products {
		g.SellsPaths = g.SellsPaths || p.Config.PerPath
		g.sellsKeys = g.sellsKeys || p.Config.Key != ""
		g.looksUpPaths = g.looksUpPaths || p.perPath
	}
	return g
}

// Product returns the product of a name that opens the gate; nil if there is none.
func (g *Gate) Product(name string) *Product {
	for _, p := range g.Products {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// Label names the gate to its owner.
func (g *Gate) Label() string {
	names := make([]string, len(g.Products))
	for i, p := range g.Products {
		names[i] = p.Name
	}
	return strings.Join(names, " ")
}

// Quotes prices what the gate sells for a request. A price or a key that is missing or wrong is an error for all of
// it: nothing is sold by guess.
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

// IsAmbiguous reports whether what a request would buy, or opens, cannot be told from its path.
func (g *Gate) IsAmbiguous(r *http.Request) bool {
	switch {
	case !g.SellsPaths:
		return false
	case !IsUnambiguous(r), urlpath.HasQueryRoute(OriginalURL(r)), urlpath.HasQueryRoute(r.URL), g.sellsKeys && !isWellFormed(r.URL.RawQuery):
		return true
	}
	// The site's own rewriting has made another spelling of something that the visitor sent.
	return g.looksUpPaths && IsRewritten(r) && urlpath.Clean(r.URL.Path) != r.URL.Path
}

// IsBehindScript reports whether a path that is sold separately lies behind a script, so that another one may be
// served: unless the gate's matchers name it, and the price is the same for all paths.
func (g *Gate) IsBehindScript(r *http.Request) bool {
	if !g.SellsPaths || !urlpath.IsRouted(OriginalURL(r)) {
		return false
	}
	direct, err := g.Matcher.sets.AnyMatchWithError(r)
	return g.looksUpPaths || err != nil || !direct && len(g.Matcher.sets) > 0
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
	path := address.Path
	switch {
	case g.looksUpPaths:
		path = urlpath.File(path)
	case g.SellsPaths:
		path = urlpath.Clean(path)
	}
	if path == address.Path {
		path = g.pricierPath(r, path)
	}
	return otherPath(address, path)
}

func otherPath(address *url.URL, path string) *url.URL {
	if path == address.Path {
		return nil
	}
	return urlpath.WithPath(address, path)
}

// pricierPath returns the spelling of a folder's path under which something on sale costs more, or the path itself.
func (g *Gate) pricierPath(r *http.Request, path string) string {
	for _, p := range g.Products {
		if pricier := p.pricierPath(r); pricier != "" && !p.Config.Retired {
			return strings.TrimSuffix(path, r.URL.Path) + pricier
		}
	}
	return path
}
