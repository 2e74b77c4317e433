package gate

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"

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

// ErrNoSite means that no site address is configured. A Host header alone is not to be believed.
var ErrNoSite = errors.New("no site address is configured")

// Sites finds the site of a request for one gate: by the gate's site_url, by a host name of the site blocks in which
// the gate stands (the Host header may only choose among them), or by the app's site_url.
type Sites struct {
	ofGate, ofApp *Site // of site_url; nil if not set
	products      []*Product
	handler       caddyhttp.MiddlewareHandler // the gate's, by which it is found in a server's routes
	ownHosts      []string                    // that the gate's own matcher names

	mu      sync.RWMutex
	known   map[hostKey]*Site
	servers map[*caddyhttp.Server][]Address
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
	s := &Sites{
		products: c.Products, handler: c.Handler, ownHosts: HostsOf(c.Matcher.sets),
		known: make(map[hostKey]*Site), servers: make(map[*caddyhttp.Server][]Address),
	}
	if c.SiteURL != "" {
		s.ofGate = s.newSite(c.SiteURL)
	}
	if c.AppURL != "" {
		s.ofApp = s.newSite(c.AppURL)
	}
	return s
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
	addresses := s.Addresses(server)
	isThere := len(addresses) == 0 || slices.ContainsFunc(addresses, func(a Address) bool { return a.Matches(host) })
	if len(s.HostsOn(server)) == 0 || s.ofGate == nil && !isThere {
		return nil
	}
	site, _ := s.Of(r)
	return site
}

// byHost returns the site that a request's Host header chooses; nil if the gate does not stand there.
func (s *Sites) byHost(server *caddyhttp.Server, r *http.Request) *Site {
	key := hostKey{server, r.Host, r.TLS != nil}
	s.mu.RLock()
	site := s.known[key]
	s.mu.RUnlock()
	if site != nil {
		return site
	}
	host, port := SplitHostPort(r.Host)
	addresses := s.Addresses(server)
	i := slices.IndexFunc(addresses, func(a Address) bool { return a.Matches(host) })
	if i < 0 {
		return nil
	}
	site = s.newSite(OriginOf(r, host, addresses[i].portFor(port)))
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(r.Host) <= maxHostLength && len(s.known) < maxKnownSites {
		key.host = strings.Clone(r.Host)
		s.known[key] = site
	}
	return site
}

func (s *Sites) newSite(origin string) *Site {
	site := NewSite(origin)
	site.accessNames = site.accessCookieNames(s.products)
	return site
}

// Addresses are the host names of the sites in which the gate stands on a server.
func (s *Sites) Addresses(server *caddyhttp.Server) []Address {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.servers[server]
	if ok {
		return found
	}
	for _, host := range slices.Concat(s.HostsOn(server)...) {
		found = append(found, Address{Pattern: host, ports: ListenPorts(server)})
	}
	s.servers[server] = found
	return found
}

// HostsOn returns, for each place where the gate stands on a server, the host names that lead there.
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

// OriginOf returns the public origin of a host for a request. It assumes https for every host but localhost. The cookies are Secure, so a site behind a proxy that terminates
// TLS works, and no other can.
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
