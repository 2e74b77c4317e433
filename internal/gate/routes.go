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

// Matches reports whether the address is one of a host. It compares label by label, a star standing for one label, as
// Caddy's host matcher does.
func (a Address) Matches(host string) bool {
	pattern, labels := strings.Split(a.Pattern, "."), strings.Split(host, ".")
	return slices.EqualFunc(pattern, labels, func(p, label string) bool {
		return p == label || p == "*" && label != ""
	})
}

// portFor believes the Host header's port only if the server listens on it.
func (a Address) portFor(claimed string) string {
	if claimed == "" || slices.Contains(a.ports, claimed) || len(a.ports) == 0 {
		return claimed
	}
	return a.ports[0]
}

// Walk calls visit for every handler of a server, with the matchers that lead to it, from the outside in.
func Walk(server *caddyhttp.Server, visit func(handler caddyhttp.MiddlewareHandler, around []caddyhttp.MatcherSets)) {
	walk(server, server.Routes, nil, nil, visit)
}

// walk skips named routes that are invoked already: they may invoke each other.
func walk(server *caddyhttp.Server, routes caddyhttp.RouteList, around []caddyhttp.MatcherSets, invoked []string,
	visit func(caddyhttp.MiddlewareHandler, []caddyhttp.MatcherSets),
) {
	for _, route := range routes {
		matchers := append(slices.Clip(around), route.MatcherSets)
		for _, handler := range route.Handlers {
			switch h := handler.(type) {
			case *caddyhttp.Subroute:
				walk(server, h.Routes, matchers, invoked, visit)
			case *caddyhttp.Invoke:
				if named := server.NamedRoutes[h.Name]; named != nil && !slices.Contains(invoked, h.Name) {
					walk(server, caddyhttp.RouteList{*named}, matchers, append(slices.Clip(invoked), h.Name), visit)
				}
			default:
				visit(handler, matchers)
			}
		}
	}
}

// HostsAround returns the host names that the innermost host matcher asks for; none means any. Caddy turns a site block
// into a route with a host matcher.
func HostsAround(matchers []caddyhttp.MatcherSets) []string {
	for _, sets := range slices.Backward(matchers) {
		if hosts := HostsOf(sets); len(hosts) > 0 {
			return hosts
		}
	}
	return nil
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
