// Package gate knows what one gate sells, on which requests of which site, and finds the access token that opens it.
package gate

import (
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/internal/urlpath"
)

// Gate is one axra_paywall handler.
type Gate struct {
	Matcher  *Matcher
	Products []*Product // in the order of the offer page
	Tokens   *Tokens
	HasLinks bool                        // private addresses open it
	Handler  caddyhttp.MiddlewareHandler // the gate's own, by which it is found in a server's routes
	SiteURL  string                      // origin of the gate's site; may be empty
	AppURL   string                      // origin of sites without a host name; may be empty

	SellsPaths   bool // some product is sold per path
	sellsKeys    bool // some product is sold by a key
	looksUpPaths bool // some price or key is looked up for each path

	ofGate, ofApp *Site                             // of SiteURL and AppURL
	hosts         sync.Map                          // *caddyhttp.Server → what HostsOn returns
	known         atomic.Pointer[map[hostKey]*Site] // copied to add one, so that a request takes no lock
}

// Provision computes the rest of a gate from its configuration.
func (g *Gate) Provision() {
	for _, p := range g.Products {
		g.SellsPaths = g.SellsPaths || p.Config.PerPath
		g.sellsKeys = g.sellsKeys || p.Config.Key != ""
		g.looksUpPaths = g.looksUpPaths || p.looksUpPaths
	}
	g.ofGate, g.ofApp = g.newSite(g.SiteURL), g.newSite(g.AppURL)
	g.known.Store(&map[hostKey]*Site{})
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
	return g.SellsPaths && (!IsUnambiguous(r) || urlpath.HasQueryRoute(OriginalURL(r)) || urlpath.HasQueryRoute(r.URL) ||
		g.sellsKeys && !isWellFormed(r.URL.RawQuery) ||
		g.looksUpPaths && isRewritten(r) && urlpath.Clean(r.URL.Path) != r.URL.Path)
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
// path and the request has another one; nil otherwise. It is for buyers too, whose key is looked up by the address.
func (g *Gate) CleanAddress(r *http.Request) *url.URL {
	if !g.looksUpPaths || r.Method != http.MethodGet {
		return nil
	}
	return respelled(OriginalURL(r), urlpath.Clean)
}

// CanonicalAddress returns the address under which a path is sold; nil if that is the one of the request.
func (g *Gate) CanonicalAddress(r *http.Request) *url.URL {
	if !g.SellsPaths {
		return nil
	}
	return respelled(OriginalURL(r), urlpath.File)
}

func respelled(address *url.URL, spell func(string) string) *url.URL {
	if path := spell(address.Path); path != address.Path {
		return urlpath.WithPath(address, path)
	}
	return nil
}
