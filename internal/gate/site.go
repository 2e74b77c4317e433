package gate

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/token"
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

// Marks in the names of cookies.
const (
	CookieMark       = "axra_"   // every cookie of a gate
	accessCookieMark = "axra_t_" // every cookie with an access token
)

// CookiePrefix begins the name of a cookie with this path. The prefix __Host- makes browsers refuse a cookie that a
// sibling domain or plain http tries to plant (RFC 6265bis, section 4.1.3). It requires the path /.
func (s *Site) CookiePrefix(path string) string {
	switch {
	case !s.Secure:
		return ""
	case path == "/":
		return "__Host-"
	}
	return "__Secure-"
}

// accessCookieName names a cookie with an access token. The name includes the site, because browsers share cookies
// between all ports of a host. Cookies for several paths share a name and differ in their path.
func (s *Site) accessCookieName(path string, of ...string) string {
	sum := sha256.Sum256([]byte(s.Origin + "\n" + strings.Join(of, "\n")))
	return fmt.Sprintf("%s%s%x", s.CookiePrefix(path), accessCookieMark, sum[:4])
}

// AccessCookie returns the name of the cookie for a token, and its path in each spelling that a browser may use for the
// address.
func (s *Site) AccessCookie(issued token.Access, address *url.URL) (name string, paths []string) {
	switch {
	case issued.Resource == terms.AllPaths:
		return s.accessCookieName("/", issued.Pass), []string{"/"}
	case strings.HasPrefix(issued.Resource, "key:"):
		return s.accessCookieName("/", issued.Pass, issued.Resource), []string{"/"}
	}
	paths = urlpath.CookiePaths(address)
	return s.accessCookieName(paths[0], issued.Pass), paths
}

// Cookie returns a cookie that lasts for the given time.
func (s *Site) Cookie(name, value string, life time.Duration) *http.Cookie {
	return &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: max(1, int(life/time.Second)),
		HttpOnly: true, Secure: s.Secure, SameSite: http.SameSiteLaxMode,
	}
}

// ExpiredCookie returns a cookie that deletes the one of that name.
func (s *Site) ExpiredCookie(name string) *http.Cookie {
	cookie := s.Cookie(name, "", 0)
	cookie.MaxAge = -1
	return cookie
}

// AccessCookies are the names and values of the cookies with access tokens of any gate (RFC 6265, section 5.4). It finds
// them by one search for their mark, because most headers are full of other cookies.
func AccessCookies(headers []string) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for _, header := range headers {
			for at := strings.Index(header, accessCookieMark); at >= 0; at = strings.Index(header, accessCookieMark) {
				var pair string
				pair, header, _ = strings.Cut(header[strings.LastIndexByte(header[:at], ';')+1:], ";")
				name, value, ok := strings.Cut(strings.Trim(pair, " \t"), "=") // browsers take other white space for part of a name
				if ok && strings.Contains(name, accessCookieMark) && !yield(name, strings.Trim(value, `"`)) {
					return
				}
			}
		}
	}
}
