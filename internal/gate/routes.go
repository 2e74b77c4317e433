package gate

import (
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Address is one host name under which a gate's site is configured.
type Address struct {
	Pattern string // a host name; labels may be stars
	ports   []string
}

// Matches reports whether the pattern matches a host. A star matches one label, as in Caddy's host matcher.
func (a Address) Matches(host string) bool {
	pattern, labels := strings.Split(a.Pattern, "."), strings.Split(host, ".")
	return slices.EqualFunc(pattern, labels, func(p, label string) bool {
		return p == label || p == "*" && label != ""
	})
}

// portFor returns the Host header's port if the server listens on it.
func (a Address) portFor(claimed string) string {
	if claimed == "" || slices.Contains(a.ports, claimed) || len(a.ports) == 0 {
		return claimed
	}
	return a.ports[0]
}

// Walk calls visit for every handler of a server, with the host names that lead to it; none means any. Caddy turns a
// site block into a route with a host matcher.
func Walk(server *caddyhttp.Server, visit func(handler caddyhttp.MiddlewareHandler, hosts []string)) {
	w := walker{server: server, invoked: make(map[*caddyhttp.Route]bool), visit: visit}
	w.routes(server.Routes, nil)
}

type walker struct {
	server  *caddyhttp.Server
	invoked map[*caddyhttp.Route]bool // named routes on the way, which may invoke each other
	visit   func(caddyhttp.MiddlewareHandler, []string)
}

func (w walker) routes(routes caddyhttp.RouteList, hosts []string) {
	for _, route := range routes {
		w.route(route, hosts)
	}
}

func (w walker) route(route caddyhttp.Route, hosts []string) {
	if own := HostsOf(route.MatcherSets); len(own) > 0 {
		hosts = own
	}
	for _, handler := range route.Handlers {
		w.visit(handler, hosts)
		switch nested := handler.(type) {
		case *caddyhttp.Subroute:
			w.routes(nested.Routes, hosts)
		case *caddyhttp.Invoke:
			named := w.server.NamedRoutes[nested.Name]
			if named == nil || w.invoked[named] {
				continue
			}
			w.invoked[named] = true
			w.route(*named, hosts)
			w.invoked[named] = false
		}
	}
}

// HostsOf returns the host names that matchers ask for.
func HostsOf(sets caddyhttp.MatcherSets) []string {
	var hosts []string
	for _, set := range sets {
		for _, matcher := range set {
			switch m := matcher.(type) {
			case *caddyhttp.MatchHost:
				hosts = append(hosts, *m...)
			case caddyhttp.MatchHost:
				hosts = append(hosts, m...)
			}
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
