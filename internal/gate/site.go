package gate

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

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

// Sites finds the site of a request for one gate: by the gate's site_url, by a host name of the site blocks in which
// that contain the gate (the Host header may only choose among them), or by the app's site_url.
type Sites struct {
	ofGate, ofApp *Site // of site_url; nil if not set
	products      []*Product
	handler       caddyhttp.MiddlewareHandler // the gate's, by which it is found in a server's routes
	ownHosts      []string                    // that the gate's own matcher names

	servers sync.Map                  // *caddyhttp.Server → []Address
	known   sync.Map                  // hostKey → *Site
	size    atomic.Int64              // of known
	first   atomic.Pointer[knownSite] // most gates have one site: found in 5 ns, without hash, lock or allocation
}

type hostKey struct {
	server *caddyhttp.Server
	host   string // the Host header
	isTLS  bool
}

type knownSite struct {
	key  hostKey
	site *Site
}

// Hosts beyond these bounds are not remembered: behind a wildcard, a client may name any number.
const (
	maxKnownSites = 1000
	maxHostLength = 253 + len(":65535") // bytes
)

func newSites(c Config) *Sites {
	s := &Sites{products: c.Products, handler: c.Handler, ownHosts: HostsOf(c.Matcher.sets)}
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
	if first := s.first.Load(); first != nil && first.key == key {
		return first.site
	}
	if site, ok := s.known.Load(key); ok {
		return site.(*Site) //nolint:forcetypeassert // only this function stores
	}
	host, port := SplitHostPort(r.Host)
	addresses := s.Addresses(server)
	i := slices.IndexFunc(addresses, func(a Address) bool { return a.Matches(host) })
	if i < 0 {
		return nil
	}
	site := s.newSite(OriginOf(r, host, addresses[i].portFor(port)))
	if len(r.Host) <= maxHostLength && s.size.Add(1) <= maxKnownSites {
		key.host = strings.Clone(r.Host)
		s.known.Store(key, site)
		s.first.CompareAndSwap(nil, &knownSite{key, site})
	}
	return site
}

func (s *Sites) newSite(origin string) *Site {
	site := NewSite(origin)
	site.accessNames = site.accessCookieNames(s.products)
	return site
}

// Addresses returns the host names of the sites that contain the gate on a server.
func (s *Sites) Addresses(server *caddyhttp.Server) []Address {
	if known, ok := s.servers.Load(server); ok {
		return known.([]Address) //nolint:forcetypeassert // only this function stores
	}
	var found []Address
	for _, host := range slices.Concat(s.HostsOn(server)...) {
		found = append(found, Address{Pattern: host, ports: ListenPorts(server)})
	}
	s.servers.Store(server, found)
	return found
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
