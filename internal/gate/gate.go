// Package gate knows what one gate sells, on which requests of which site, and finds the access token that opens it.
package gate

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
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
	address := OriginalURL(r)
	if path := urlpath.Clean(address.Path); path != address.Path {
		return urlpath.WithPath(address, path)
	}
	return nil
}

// CanonicalAddress returns the address under which a path is sold; nil if that is the one of the request. Browsers send
// the cookie of a path only to its own spelling.
func (g *Gate) CanonicalAddress(r *http.Request) *url.URL {
	address := OriginalURL(r)
	canonical := urlpath.Spelled(address, urlpath.File(address.Path))
	if !g.SellsPaths || canonical.EscapedPath() == address.EscapedPath() {
		return nil
	}
	return canonical
}

func isWellFormed(query string) bool {
	_, err := url.ParseQuery(query)
	return err == nil
}

// OriginalURL is the address as the client sent it, before any rewrite.
func OriginalURL(r *http.Request) *url.URL {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && original.URL != nil {
		return original.URL
	}
	return r.URL
}

// isRewritten reports whether the site has changed more of a path than its beginning.
func isRewritten(r *http.Request) bool { return !strings.HasSuffix(OriginalURL(r).Path, r.URL.Path) }

// IsUnambiguous reports whether every reader of the request's address finds the same page, so that it can be sold.
func IsUnambiguous(r *http.Request) bool {
	original := OriginalURL(r)
	if isIllegible(r.URL) || isIllegible(original) {
		return false
	}
	forms, ok := obfuscationsOf(r, urlpath.Overrides(r.Header, original, r.URL), urlpath.Suspicious(r.URL), urlpath.Suspicious(original))
	if len(forms) == 0 {
		return ok
	}
	here, before := urlpath.Page(r.URL.Path), urlpath.Page(original.Path)
	return !slices.ContainsFunc(forms, func(form string) bool {
		page := urlpath.Page(form)
		return page != here && page != before
	})
}

// isIllegible reports whether an address has no path, as "GET http:paid/a", which a proxy passes on, or one that would
// take too long to decode (FB6).
func isIllegible(address *url.URL) bool {
	return address.Opaque != "" || urlpath.IsTooObscure(address.Path)
}

// obfuscationsOf is urlpath.Obfuscations. All gates ask for the same, and a hostile path takes up to a millisecond
// to decode, so a request variable remembers it (FB6).
func obfuscationsOf(r *http.Request, suspicious ...[]string) (forms []string, ok bool) {
	paths := slices.Concat(suspicious...)
	if len(paths) == 0 {
		return nil, true
	}
	name := "axra.obfuscations\n" + strings.Join(paths, "\n")
	forms, isKnown := caddyhttp.GetVar(r.Context(), name).([]string)
	if !isKnown {
		forms, _ = urlpath.Obfuscations(paths)
		caddyhttp.SetVar(r.Context(), name, forms)
	}
	return forms, forms != nil
}

// Replace fills in the placeholders of a text that are known for the request; the others become empty.
func Replace(r *http.Request, text string) string {
	if replacer, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok && strings.Contains(text, "{") {
		return replacer.ReplaceAll(text, "")
	}
	return text
}

// replaceAt is Replace for another path, since Caddy's placeholders read the path from the request.
func replaceAt(r *http.Request, path, text string) string {
	address := *r.URL
	defer func() { *r.URL = address }()
	if path != address.Path {
		r.URL.Path, r.URL.RawPath = path, ""
	}
	return strings.TrimSpace(Replace(r, text))
}

// ServerOf is the server that a request came to; nil if Caddy did not prepare the request.
func ServerOf(r *http.Request) *caddyhttp.Server {
	server, _ := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	return server
}

// HostOf returns the host name of an origin or of a Host header, in lower case.
func HostOf(address string) string {
	if _, hostport, ok := strings.Cut(address, "://"); ok {
		address = hostport
	}
	host, _ := splitHostPort(address)
	return host
}

// splitHostPort splits a Host header into a host name in lower case and a port, which may be empty.
func splitHostPort(hostport string) (host, port string) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	return strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), "."), port
}

// IsLoopback reports whether the host can only be this machine.
func IsLoopback(host string) bool {
	host = HostOf(host)
	addr, _ := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || addr.IsLoopback()
}
