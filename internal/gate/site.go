package gate

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

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

// ErrNoSite means that no site address is configured. The Host header alone is not trustworthy.
var ErrNoSite = errors.New("no site address is configured")

// Sites finds the site of a request for one gate: by the gate's site_url, by a host name of the site blocks that contain
// the gate (the Host header may only choose among them), or by the app's site_url.
type Sites struct {
	ofGate, ofApp *Site // of site_url; nil if not set
	products      []*Product
	handler       caddyhttp.MiddlewareHandler // the gate's, by which it is found in a server's routes
	ownHosts      []string                    // that the gate's own matcher names

	hosts sync.Map                          // *caddyhttp.Server → what Hosts returns
	known atomic.Pointer[map[hostKey]*Site] // copied to add one, so that a request takes no lock
}

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

func newSites(c Config) *Sites {
	s := &Sites{products: c.Products, handler: c.Handler, ownHosts: hostsOf(c.Matcher.Sets)}
	s.known.Store(new(map[hostKey]*Site))
	if c.SiteURL != "" {
		s.ofGate = s.newSite(c.SiteURL)
	}
	if c.AppURL != "" {
		s.ofApp = s.newSite(c.AppURL)
	}
	return s
}

func (s *Sites) newSite(origin string) *Site {
	site := NewSite(origin)
	site.accessNames = site.accessCookieNames(s.products)
	return site
}

// Of returns the site of a request, or ErrNoSite.
func (s *Sites) Of(r *http.Request) (*Site, error) {
	if s.ofGate != nil {
		return s.ofGate, nil
	}
	if server := ServerOf(r); server != nil {
		if site := s.byHost(server, r); site != nil {
			return site, nil
		}
	}
	if s.ofApp != nil {
		return s.ofApp, nil
	}
	return nil, ErrNoSite
}

// On returns the site of a request to a server; nil if the gate does not stand there.
func (s *Sites) On(server *caddyhttp.Server, r *http.Request) *Site {
	host, _ := SplitHostPort(r.Host)
	hosts := s.Hosts(server)
	if len(s.HostsOn(server)) == 0 || s.ofGate == nil && len(hosts) > 0 && !slices.ContainsFunc(hosts, matches(host)) {
		return nil
	}
	site, _ := s.Of(r)
	return site
}

// byHost returns the site that a request's Host header chooses; nil if the gate does not stand there.
func (s *Sites) byHost(server *caddyhttp.Server, r *http.Request) *Site {
	key, known := hostKey{server, r.Host, r.TLS != nil}, s.known.Load()
	if site := (*known)[key]; site != nil {
		return site
	}
	host, port := SplitHostPort(r.Host)
	if !slices.ContainsFunc(s.Hosts(server), matches(host)) {
		return nil
	}
	if ports := ListenPorts(server); port != "" && len(ports) > 0 && !slices.Contains(ports, port) {
		port = ports[0]
	}
	site := s.newSite(OriginOf(r, host, port))
	if len(r.Host) <= maxHostLength && len(*known) < maxKnownSites {
		more := map[hostKey]*Site{{server, strings.Clone(r.Host), r.TLS != nil}: site}
		maps.Copy(more, *known)
		s.known.CompareAndSwap(known, &more)
	}
	return site
}

// Hosts returns the host names, which may hold stars, of the sites that contain the gate on a server.
func (s *Sites) Hosts(server *caddyhttp.Server) []string {
	known, ok := s.hosts.Load(server)
	if !ok {
		known, _ = s.hosts.LoadOrStore(server, slices.Concat(s.HostsOn(server)...))
	}
	return known.([]string) //nolint:forcetypeassert // only this function stores
}

// matches returns whether a pattern matches a host. A star matches one label, as in Caddy's host matcher.
func matches(host string) func(pattern string) bool {
	return func(pattern string) bool {
		return slices.EqualFunc(strings.Split(pattern, "."), strings.Split(host, "."), func(p, label string) bool {
			return p == label || p == "*" && label != ""
		})
	}
}

// HostsOn returns, for each occurrence of the gate on a server, the host names that lead to it.
func (s *Sites) HostsOn(server *caddyhttp.Server) [][]string {
	var places [][]string
	Walk(server, func(handler caddyhttp.MiddlewareHandler, around []caddyhttp.MatcherSets) {
		if handler != s.handler {
			return
		}
		hosts := HostsAround(around)
		if len(hosts) == 0 {
			hosts = s.ownHosts
		}
		places = append(places, hosts)
	})
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

// HostsAround returns the host names that the innermost host matcher asks for; none means any. Caddy turns a site block
// into a route with a host matcher.
func HostsAround(matchers []caddyhttp.MatcherSets) []string {
	for _, sets := range slices.Backward(matchers) {
		if hosts := hostsOf(sets); len(hosts) > 0 {
			return hosts
		}
	}
	return nil
}

// hostsOf returns the host names that matchers ask for.
func hostsOf(sets caddyhttp.MatcherSets) []string {
	var hosts []string
	for _, matcher := range slices.Concat(sets...) {
		if m, ok := matcher.(*caddyhttp.MatchHost); ok {
			hosts = append(hosts, *m...)
		}
	}
	replacer := caddy.NewReplacer()
	for i, host := range hosts {
		hosts[i] = strings.TrimSuffix(strings.ToLower(replacer.ReplaceAll(host, "")), ".")
	}
	return slices.DeleteFunc(hosts, func(host string) bool { return host == "" || host == "*" })
}

// ListenPorts returns the TCP ports of a server.
func ListenPorts(server *caddyhttp.Server) []string {
	var ports []string
	for _, listen := range server.Listen {
		parsed, err := caddy.ParseNetworkAddress(listen)
		if err != nil || parsed.IsUnixNetwork() || parsed.IsFdNetwork() || parsed.StartPort == 0 {
			continue
		}
		for port := parsed.StartPort; port <= parsed.EndPort && port-parsed.StartPort < 100; port++ {
			ports = append(ports, strconv.FormatUint(uint64(port), 10))
		}
	}
	return ports
}

// OriginOf returns the public origin of a host for a request. It assumes https for every host but localhost, as the
// cookies are Secure: plain http works only behind a proxy that terminates TLS.
func OriginOf(r *http.Request, host, port string) string {
	scheme, standard := "https", "443"
	if r.TLS == nil && IsLoopback(host) {
		scheme, standard = "http", "80"
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port == "" || port == standard || r.TLS == nil && scheme == "https" {
		return scheme + "://" + host
	}
	return scheme + "://" + host + ":" + port
}
