package gate

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Site is the public address of a site.
type Site struct {
	Origin      string   // "https://example.com"
	Secure      bool     // false only for plain http on localhost
	accessNames []string // of the cookies with tokens of the gate's products
}

// NewSite returns the site with an origin.
func NewSite(origin string) *Site {
	return &Site{Origin: origin, Secure: strings.HasPrefix(origin, "https://")}
}

// Host is the host name, with its port, as visitors know it.
func (s *Site) Host() string {
	_, host, _ := strings.Cut(s.Origin, "://")
	return host
}

func (g *Gate) newSite(origin string) *Site {
	if origin == "" {
		return nil
	}
	site := NewSite(origin)
	for _, p := range g.Products { // what is sold by path today may have been sold for all paths before
		site.accessNames = append(site.accessNames, site.accessCookieName("/", p.Name), site.accessCookieName("/…", p.Name))
	}
	return site
}

// hostKey is what the site of a request depends on.
type hostKey struct {
	server *caddyhttp.Server
	host   string // the Host header
	isTLS  bool
}

// Hosts beyond these bounds are not remembered: behind a wildcard, a client may name any number.
const (
	maxKnownSites = 1000
	maxHostLength = 253 + len(":65535") // bytes
)

// Site returns the site of a request; nil if there is none. It is that of the gate's site_url, or of a host name of the
// site blocks that contain the gate, among which the Host header chooses, or else of the app's site_url.
func (g *Gate) Site(r *http.Request) *Site {
	server := ServerOf(r)
	if g.ofGate != nil || server == nil {
		return cmp.Or(g.ofGate, g.ofApp)
	}
	key, known := hostKey{server, r.Host, r.TLS != nil}, g.known.Load()
	if site := (*known)[key]; site != nil {
		return site
	}
	host, port := splitHostPort(r.Host)
	leadsHere := func(pattern string) bool { return matches(pattern, host) }
	if hosts := slices.Concat(g.HostsOn(server)...); !slices.ContainsFunc(hosts, leadsHere) { // also without any
		return g.ofApp
	}
	if ports := ListenPorts(server); port != "" && len(ports) > 0 && !slices.Contains(ports, port) {
		port = ports[0]
	}
	site := g.newSite(OriginOf(r, host, port))
	if len(r.Host) <= maxHostLength && len(*known) < maxKnownSites {
		more := maps.Clone(*known)
		more[hostKey{server, strings.Clone(r.Host), r.TLS != nil}] = site
		g.known.CompareAndSwap(known, &more)
	}
	return site
}

// matches reports whether a pattern matches a host. A star matches one label, as in Caddy's host matcher.
func matches(pattern, host string) bool {
	return slices.EqualFunc(strings.Split(pattern, "."), strings.Split(host, "."), func(p, label string) bool {
		return p == label || p == "*" && label != ""
	})
}

// HostsOn returns, for each occurrence of the gate on a server, the host names, which may hold stars, that lead to it.
func (g *Gate) HostsOn(server *caddyhttp.Server) [][]string {
	if known, ok := g.hosts.Load(server); ok {
		return known.([][]string) //nolint:forcetypeassert // only this function stores
	}
	var places [][]string
	Walk(server, func(handler caddyhttp.MiddlewareHandler, around []caddyhttp.MatcherSets) {
		if handler == g.Handler {
			places = append(places, HostsAround(append([]caddyhttp.MatcherSets{g.Matcher.Sets}, around...)))
		}
	})
	g.hosts.Store(server, places)
	return places
}

// Walk calls visit for every handler of a server, with the matchers that lead to it, from the outside in.
func Walk(server *caddyhttp.Server, visit func(handler caddyhttp.MiddlewareHandler, around []caddyhttp.MatcherSets)) {
	// Named routes may invoke each other, so those that are invoked already are skipped.
	var walk func(routes caddyhttp.RouteList, around []caddyhttp.MatcherSets, invoked []string)
	walk = func(routes caddyhttp.RouteList, around []caddyhttp.MatcherSets, invoked []string) {
		for _, route := range routes {
			matchers := append(slices.Clip(around), route.MatcherSets)
			for _, handler := range route.Handlers {
				switch h := handler.(type) {
				case *caddyhttp.Subroute:
					walk(h.Routes, matchers, invoked)
				case *caddyhttp.Invoke:
					if named := server.NamedRoutes[h.Name]; named != nil && !slices.Contains(invoked, h.Name) {
						walk(caddyhttp.RouteList{*named}, matchers, append(slices.Clip(invoked), h.Name))
					}
				default:
					visit(handler, matchers)
				}
			}
		}
	}
	walk(server.Routes, nil, nil)
}

// HostsAround returns the host names that the innermost host matcher asks for; none means any.
func HostsAround(matchers []caddyhttp.MatcherSets) []string {
	replacer := caddy.NewReplacer()
	for _, sets := range slices.Backward(matchers) {
		var hosts []string
		for _, matcher := range slices.Concat(sets...) {
			if names, ok := matcher.(*caddyhttp.MatchHost); ok {
				for _, name := range *names {
					hosts = append(hosts, HostOf(replacer.ReplaceAll(name, "")))
				}
			}
		}
		if hosts = slices.DeleteFunc(hosts, func(host string) bool { return host == "" || host == "*" }); len(hosts) > 0 {
			return hosts
		}
	}
	return nil
}

// ListenPorts returns the TCP ports of a server, at most 100 of each range.
func ListenPorts(server *caddyhttp.Server) (ports []string) {
	for _, listen := range server.Listen {
		parsed, _ := caddy.ParseNetworkAddress(listen) // without ports if it is no network address
		for port := parsed.StartPort; port > 0 && port <= parsed.EndPort && port-parsed.StartPort < 100; port++ {
			ports = append(ports, strconv.FormatUint(uint64(port), 10))
		}
	}
	return ports
}

// OriginOf returns the public origin of a host for a request. It assumes https for every host but localhost, as the
// cookies are Secure: plain http works only behind a proxy that terminates TLS.
func OriginOf(r *http.Request, host, port string) string {
	scheme, standard := "https://", "443"
	if r.TLS == nil && IsLoopback(host) {
		scheme, standard = "http://", "80"
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port == "" || port == standard || r.TLS == nil && scheme == "https://" {
		return scheme + host
	}
	return scheme + host + ":" + port
}
