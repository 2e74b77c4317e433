package paywall

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"go.uber.org/zap"
)

// site is the public address that a request came to.
type site struct {
	origin string       // "https://example.com"
	secure bool         // false only on plain-http localhost
	names  *cookieNames // of the gate's cookies there, where a gate remembers the site
}

func newSite(origin string) site {
	return site{origin: origin, secure: strings.HasPrefix(origin, "https://")}
}

// host is the site's host name, as visitors know it.
func (s site) host() string {
	_, host, _ := strings.Cut(s.origin, "://")
	return host
}

// errNoSite: nothing in the configuration says under which address the site is
// known, and a Host header alone is not to be believed.
var errNoSite = errors.New("no site address is configured")

// address is one host name under which a gate's site is configured.
type address struct {
	pattern string // exact, or with a leading "*."
	ports   []string
}

// site returns the public address of the request's site: the gate's site_url,
// else the host name of the site block, which the Host header may only choose
// among, else the app's site_url.
func (h *Handler) site(r *http.Request) (site, error) {
	server, _ := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	return h.siteOf(r, server)
}

// siteOf is site for who knows the server that the request came to; nil: none.
func (h *Handler) siteOf(r *http.Request, server *caddyhttp.Server) (site, error) {
	if h.siteURL != "" {
		return newSite(h.siteURL), nil
	}
	if server != nil {
		if site, found := h.siteOn(server, r); found {
			return site, nil
		}
	}
	if h.app.siteURL != "" {
		return newSite(h.app.siteURL), nil
	}
	return site{}, errNoSite
}

// matches compares label by label, a star standing for one label, as Caddy's host
// matcher does.
func (a address) matches(host string) bool {
	pattern, labels := strings.Split(a.pattern, "."), strings.Split(host, ".")
	return slices.EqualFunc(pattern, labels, func(p, label string) bool {
		return p == label || p == "*" && label != ""
	})
}

// port believes the Host header's port only where the server listens on it.
func (a address) port(claimed string) string {
	if claimed == "" || slices.Contains(a.ports, claimed) || len(a.ports) == 0 {
		return claimed
	}
	return a.ports[0]
}

// origin assumes https for every host but localhost: the cookies are Secure, so
// that a site behind a proxy that terminates TLS works, and no other can.
func origin(r *http.Request, host, port string) string {
	scheme, standard := "https", "443"
	if r.TLS == nil && isLoopback(host) {
		scheme, standard = "http", "80"
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port == "" || port == standard || (r.TLS == nil && scheme == "https") {
		return scheme + "://" + host
	}
	return scheme + "://" + host + ":" + port
}

// stand is the gate on one server.
type stand struct {
	addresses    []address // of the sites in which the gate stands there
	server       *caddyhttp.Server
	plain, byTLS sync.Map // Host header → *knownSite, of requests without and with TLS
	first        atomic.Pointer[knownSite]
	remembered   atomic.Int64
}

// knownSite is where a Host header leads to.
type knownSite struct {
	site  site
	host  string
	byTLS bool
}

// maxHost is the length in bytes of a host name with its port, beyond which it is not remembered.
const maxHost = 253 + len(":65535")

// siteOn is the site of a request's Host header, if the gate stands there. What a Host
// header leads to never changes.
func (h *Handler) siteOn(server *caddyhttp.Server, r *http.Request) (site, bool) {
	stand := h.stand(server)
	if first := stand.first.Load(); first != nil && first.host == r.Host && first.byTLS == (r.TLS != nil) {
		return first.site, true // most sites have one name
	}
	known := &stand.plain
	if r.TLS != nil {
		known = &stand.byTLS
	}
	if found, ok := known.Load(r.Host); ok {
		return found.(*knownSite).site, true //nolint:forcetypeassert // only this function stores
	}
	host, port := splitHostPort(r.Host)
	for _, address := range stand.addresses {
		if !address.matches(host) {
			continue
		}
		found := newSite(origin(r, host, address.port(port)))
		if len(r.Host) <= maxHost && stand.remembered.Add(1) <= maxOrigins {
			found.names = h.names(found)
			host := strings.Clone(r.Host)
			remembered := &knownSite{found, host, r.TLS != nil}
			known.Store(host, remembered)
			stand.first.CompareAndSwap(nil, remembered)
		}
		return found, true
	}
	return site{}, false
}

// addresses are the host names of the sites in which the gate stands on a server.
func (h *Handler) addresses(server *caddyhttp.Server) []address { return h.stand(server).addresses }

// stand finds the host names of the sites in which the gate stands on a server. Caddy
// turns a site block into a route with a host matcher.
func (h *Handler) stand(server *caddyhttp.Server) *stand {
	if last := h.lastStand.Load(); last != nil && last.server == server {
		return last // most gates stand on one
	}
	known, ok := h.stands.Load(server)
	if !ok {
		found := &stand{server: server}
		for _, hosts := range findGate(h, server) {
			for _, host := range hosts {
				found.addresses = append(found.addresses, address{pattern: host, ports: listenPorts(server)})
			}
		}
		known, _ = h.stands.LoadOrStore(server, found)
	}
	h.lastStand.Store(known.(*stand)) //nolint:forcetypeassert // only this function stores
	return known.(*stand)             //nolint:forcetypeassert // only this function stores
}

// findGate returns, for each place where the gate stands, the host names that
// lead there.
func findGate(h *Handler, server *caddyhttp.Server) [][]string {
	var places [][]string
	walk(server, server.Routes, nil, make(map[*caddyhttp.Route]bool), func(handler caddyhttp.MiddlewareHandler, hosts []string) {
		if handler != caddyhttp.MiddlewareHandler(h) {
			return
		}
		if len(hosts) == 0 {
			hosts = hostsOf(h.matcher.sets) // the gate's own matcher may name them
		}
		places = append(places, hosts)
	})
	return places
}

func walk(server *caddyhttp.Server, routes caddyhttp.RouteList, hosts []string,
	invoked map[*caddyhttp.Route]bool, visit func(caddyhttp.MiddlewareHandler, []string),
) {
	for _, route := range routes {
		walkRoute(server, route, hosts, invoked, visit)
	}
}

func walkRoute(server *caddyhttp.Server, route caddyhttp.Route, hosts []string,
	invoked map[*caddyhttp.Route]bool, visit func(caddyhttp.MiddlewareHandler, []string),
) {
	if own := hostsOf(route.MatcherSets); len(own) > 0 {
		hosts = own
	}
	for _, handler := range route.Handlers {
		visit(handler, hosts)
		switch nested := handler.(type) {
		case *caddyhttp.Subroute:
			walk(server, nested.Routes, hosts, invoked, visit)
		case *caddyhttp.Invoke:
			named := server.NamedRoutes[nested.Name]
			if named == nil || invoked[named] {
				continue
			}
			invoked[named] = true
			walkRoute(server, *named, hosts, invoked, visit)
			invoked[named] = false
		}
	}
}

func hostsOf(sets caddyhttp.MatcherSets) []string {
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

func listenPorts(server *caddyhttp.Server) []string {
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

// checkGates refuses gates whose public address nothing tells, and gates of one
// site that would sell different things under one name.
func (a *App) checkGates() error {
	a.gatesMu.Lock()
	defer a.gatesMu.Unlock()
	servers := a.httpServers()
	if len(a.allGates()) > 0 {
		a.warnNoWebhook(servers)
		a.warnDeferredHeader(servers)
		a.warnNested(servers)
	}
	for _, name := range a.expected {
		if a.passes[name] == nil && !slices.ContainsFunc(a.allGates(), func(h *Handler) bool { return h.saleOf(name) != nil }) {
			return fmt.Errorf("axra_paid: no gate sells a pass %q, and none of that name is defined in the global option axra%s: correct the name",
				name, a.definedPasses())
		}
	}
	sold := make(map[string]*Handler)
	for _, gate := range a.allGates() {
		places := 0
		for _, server := range servers {
			for _, hosts := range findGate(gate, server) {
				places++
				if err := gate.checkPlace(hosts, sold); err != nil {
					return err
				}
				a.warnPlainHTTP(gate, server, hosts)
			}
		}
		if places == 0 && gate.siteURL == "" && a.siteURL == "" {
			return fmt.Errorf("axra_paywall: gate %q stands where its site's address cannot be found: "+
				"add `site_url https://example.com` to the gate or to the global option axra", gate.label())
		}
	}
	return nil
}

func (h *Handler) checkPlace(hosts []string, sold map[string]*Handler) error {
	switch {
	case h.siteURL != "":
		hosts = []string{h.siteURL}
	case len(hosts) == 0 && h.app.siteURL != "":
		hosts = []string{h.app.siteURL}
	case len(hosts) == 0:
		return fmt.Errorf("axra_paywall: gate %q stands in a site without a host name, so visitors could not be sent back to it: "+
			"give the site block its host name, or add `site_url https://example.com` to the gate or to the global option axra", h.label())
	}
	if !h.sellsItself() {
		return nil // passes of the app are the same everywhere
	}
	for _, host := range hosts {
		key := hostOf(host) + "\n" + h.Pass
		other := sold[key]
		if other != nil && other != h && (other.implicitPass || h.implicitPass || !other.sales[0].same(h.sales[0])) {
			return fmt.Errorf("axra_paywall: two gates of %s would sell under the one name %q, "+
				"so that who pays for one would open the other: add `pass NAME` to each, with a name of its own, or with the same name, price, access, per_path, downloads and devices if that is meant", host, h.Pass)
		}
		sold[key] = h
	}
	return nil
}

// hostOf takes the host name from an address or a host.
func hostOf(address string) string {
	if _, host, ok := strings.Cut(address, "://"); ok {
		address, _ = splitHostPort(host)
	}
	return address
}

// warnNoWebhook tells the owner of gates that nothing would ever open. It is no
// error: another node on the same ledger may receive the webhooks.
func (a *App) warnNoWebhook(servers map[string]*caddyhttp.Server) {
	for _, server := range servers {
		found := false
		walk(server, server.Routes, nil, make(map[*caddyhttp.Route]bool), func(handler caddyhttp.MiddlewareHandler, _ []string) {
			_, isWebhook := handler.(*Webhook)
			found = found || isWebhook
		})
		if found {
			return
		}
	}
	a.logger.Warn("gates sell access, but no axra_webhook receives Axra's confirmations here, so who pays will wait: " +
		"add `axra_webhook /webhooks/axra` to the site, unless another server with the same ledger has it")
}

// warnDeferredHeader tells the owner of a header directive that has the last word
// on Cache-Control, after the gate: a shared cache would keep what was paid for.
func (a *App) warnDeferredHeader(servers map[string]*caddyhttp.Server) {
	for _, server := range servers {
		walk(server, server.Routes, nil, make(map[*caddyhttp.Route]bool), func(handler caddyhttp.MiddlewareHandler, hosts []string) {
			h, ok := handler.(*headers.Handler)
			if !ok || h.Response == nil || !h.Response.Deferred || h.Response.HeaderOps == nil {
				return
			}
			if h.Response.Set.Get("Cache-Control") != "" || h.Response.Add.Get("Cache-Control") != "" {
				a.logger.Warn("a deferred `header` sets Cache-Control after the gate, so that shared caches may keep what was paid for: "+
					"write Cache-Control in a `header` of its own, without `>` and without deletions beside it", zap.Strings("hosts", hosts))
			}
		})
	}
}

// warnPlainHTTP tells the owner of a site that is served without TLS which
// address visitors will be sent back to.
func (a *App) warnPlainHTTP(gate *Handler, server *caddyhttp.Server, hosts []string) {
	if gate.siteURL != "" || a.siteURL != "" || len(server.TLSConnPolicies) > 0 || len(hosts) == 0 || isLoopback(hosts[0]) {
		return
	}
	a.logger.Warn("a gated site is served over plain HTTP; visitors are sent back to its https address: "+
		"set site_url if a proxy in front of it uses another",
		zap.String("pass", gate.Pass), zap.String("back_to", "https://"+hosts[0]))
}

func (a *App) httpServers() map[string]*caddyhttp.Server {
	if app := a.httpApp(); app != nil {
		return app.Servers
	}
	return nil
}
