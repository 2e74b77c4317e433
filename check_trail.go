package paywall

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	maphandler "github.com/caddyserver/caddy/v2/modules/caddyhttp/map"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
)

// trail is the way of one request through the routes of a server, found by asking
// Caddy's own matchers, and without answering it.
type trail struct {
	server  *caddyhttp.Server
	request *http.Request      // as the last handler sees it
	gates   []*Handler         // that cover it, from the outside in
	refused bool               // by a gate, as ambiguous
	guards  []string           // what else lets only some people in
	caches  []string           // that stand before the first gate
	unknown []string           // handlers that may answer, or not
	headers []*headers.Handler // that stand before the first gate
	answer  caddyhttp.MiddlewareHandler
	groups  map[string]*caddyhttp.Route // which route of each group was taken
	invoked int                         // named routes, which may invoke each other for ever
}

const maxInvoked = 100

// stranger is from a network for documentation (RFC 5737), so that nobody's matcher of
// addresses exempts it.
const stranger = "203.0.113.77:40000"

// follow sends a request on its way.
func follow(server *caddyhttp.Server, method, host, path string) *trail {
	t := &trail{server: server, request: strangersRequest(server, method, host, path), groups: make(map[string]*caddyhttp.Route)}
	t.through(server.Routes)
	return t
}

// strangersRequest is a request as Caddy hands it to its routes.
func strangersRequest(server *caddyhttp.Server, method, host, path string) *http.Request {
	address := &url.URL{Path: path}
	r := &http.Request{
		Method: method, URL: address, Host: host, RequestURI: address.RequestURI(), RemoteAddr: stranger,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody,
		Header: http.Header{"Accept": {"text/html"}, "User-Agent": {"Mozilla/5.0"}},
	}
	if len(server.TLSConnPolicies) > 0 {
		r.TLS = &tls.ConnectionState{HandshakeComplete: true, ServerName: host}
	}
	return caddyhttp.PrepareRequest(r.WithContext(context.Background()), caddy.NewReplacer(), nowhere{}, server)
}

// nowhere is where answers go that nobody reads.
type nowhere http.Header

func (n nowhere) Header() http.Header             { return make(http.Header) }
func (nowhere) Write(content []byte) (int, error) { return len(content), nil }
func (nowhere) WriteHeader(int)                   {}

// through reports whether the request's way ends in the routes.
func (t *trail) through(routes caddyhttp.RouteList) bool {
	for i := range routes {
		if t.along(&routes[i]) {
			return true
		}
	}
	return false
}

func (t *trail) along(route *caddyhttp.Route) bool {
	if route.Group != "" && t.groups[route.Group] != nil {
		return false
	}
	if match, err := route.MatcherSets.AnyMatchWithError(t.request); err != nil || !match {
		return err != nil // which Caddy answers with an error
	}
	if route.Group != "" {
		t.groups[route.Group] = route
	}
	for _, handler := range route.Handlers {
		if t.meet(handler) {
			return true
		}
	}
	return route.Terminal
}

// meet reports whether the request's way ends at the handler.
func (t *trail) meet(handler caddyhttp.MiddlewareHandler) bool {
	switch h := handler.(type) {
	case *caddyhttp.Subroute:
		return t.through(h.Routes)
	case *caddyhttp.Invoke:
		named := t.server.NamedRoutes[h.Name]
		if named == nil || t.invoked > maxInvoked {
			return false
		}
		t.invoked++
		return t.along(named)
	case *Handler:
		return t.meetGate(h)
	case *Webhook:
		if match, err := h.matchers.AnyMatchWithError(t.request); err == nil && !match {
			return false
		}
	case *caddyhttp.VarsMiddleware, *rewrite.Rewrite, *maphandler.Handler:
		_ = h.ServeHTTP(nowhere{}, t.request, emptyHandler) // they change the request and no more
		return false
	case *headers.Handler:
		if len(t.gates) == 0 {
			t.headers = append(t.headers, h)
		}
		return false
	case *caddyauth.Authentication:
		t.guards = append(t.guards, "basic_auth")
		return false
	case *reverseproxy.Handler:
		if len(h.HandleResponse) > 0 && h.Rewrite != nil { // what forward_auth expands to
			t.guards = append(t.guards, "forward_auth")
			return false
		}
	case *fileserver.FileServer:
		if _, found := t.file(h); h.PassThru && !found {
			return false
		}
	default:
		if !t.answers(handler) {
			return false
		}
	}
	t.answer = handler
	return true
}

func (t *trail) meetGate(gate *Handler) bool {
	found, err := gate.matcher.coverage(t.request)
	if err != nil || found == ambiguous {
		t.refused = true
		return true
	}
	if found == covered {
		t.gates = append(t.gates, gate)
	}
	return false
}

// answers tells handlers that answer from those that pass on.
func (t *trail) answers(handler caddyhttp.MiddlewareHandler) bool {
	switch id := strings.TrimPrefix(moduleID(handler), "http.handlers."); id {
	case "static_response", "error", "axra_webhook", "axra_jwks", "metrics", "acme_server", "copy_response":
		return true
	case "templates", "encode", "push", "request_body", "tracing", "log_append", "intercept",
		"copy_response_headers", "timeouts":
		return false
	default:
		if isCache(id) {
			if len(t.gates) == 0 {
				t.caches = append(t.caches, id)
			}
			return false
		}
		t.unknown = append(t.unknown, id)
		return false
	}
}

func isCache(id string) bool { return strings.Contains(id, "cache") || strings.Contains(id, "souin") }

func moduleID(handler caddyhttp.MiddlewareHandler) string {
	if module, ok := handler.(caddy.Module); ok {
		return string(module.CaddyModule().ID)
	}
	return ""
}

// gated reports whether a stranger gets no further than to a gate.
func (t *trail) gated() bool { return t.refused || len(t.gates) > 0 }

// said names who answers, as in a Caddyfile.
func (t *trail) said() string {
	if t.answer == nil {
		return "nothing"
	}
	if t.redirects() {
		return "redir"
	}
	switch name := strings.TrimPrefix(moduleID(t.answer), "http.handlers."); name {
	case "static_response":
		return "respond"
	default:
		return name
	}
}

func (t *trail) redirects() bool {
	response, ok := t.answer.(*caddyhttp.StaticResponse)
	return ok && response.Headers.Get("Location") != ""
}

// servesContent reports whether what answers may hold what was paid for.
func (t *trail) servesContent() bool {
	switch t.answer.(type) {
	case *fileserver.FileServer, *reverseproxy.Handler:
		return true
	}
	return false
}

// spot is where a handler stands in the configuration.
type spot struct {
	server  *caddyhttp.Server
	handler caddyhttp.MiddlewareHandler
	chain   []*caddyhttp.Route // that lead there, from the outside in
	host    string             // one of the names that lead there, "" for any
}

// spots are those of all handlers of a kind, once for each host name.
func (e *examination) spots(wanted func(caddyhttp.MiddlewareHandler) bool) []spot {
	var all []spot
	for _, server := range e.sortedServers() {
		collectSpots(server, server.Routes, nil, make(map[*caddyhttp.Route]bool), func(handler caddyhttp.MiddlewareHandler, chain []*caddyhttp.Route) {
			if !wanted(handler) {
				return
			}
			for _, host := range hostsOfChain(chain) {
				all = append(all, spot{server: server, handler: handler, chain: slices.Clone(chain), host: host})
			}
		})
	}
	return all
}

func (e *examination) sortedServers() []*caddyhttp.Server {
	names := make([]string, 0, len(e.servers))
	for name := range e.servers {
		names = append(names, name)
	}
	slices.Sort(names)
	servers := make([]*caddyhttp.Server, 0, len(names))
	for _, name := range names {
		servers = append(servers, e.servers[name])
	}
	return servers
}

// collectSpots is walk with the routes that lead to each handler.
func collectSpots(server *caddyhttp.Server, routes caddyhttp.RouteList, chain []*caddyhttp.Route,
	invoked map[*caddyhttp.Route]bool, visit func(caddyhttp.MiddlewareHandler, []*caddyhttp.Route),
) {
	for i := range routes {
		collectSpotsOf(server, &routes[i], chain, invoked, visit)
	}
}

func collectSpotsOf(server *caddyhttp.Server, route *caddyhttp.Route, chain []*caddyhttp.Route,
	invoked map[*caddyhttp.Route]bool, visit func(caddyhttp.MiddlewareHandler, []*caddyhttp.Route),
) {
	chain = append(slices.Clip(chain), route)
	for _, handler := range route.Handlers {
		if webhook, ok := handler.(*Webhook); ok && len(webhook.matchers) > 0 {
			visit(handler, append(slices.Clip(chain), &caddyhttp.Route{MatcherSets: webhook.matchers})) // as good as one around it
			continue
		}
		visit(handler, chain)
		switch nested := handler.(type) {
		case *caddyhttp.Subroute:
			collectSpots(server, nested.Routes, chain, invoked, visit)
		case *caddyhttp.Invoke:
			if named := server.NamedRoutes[nested.Name]; named != nil && !invoked[named] {
				invoked[named] = true
				collectSpotsOf(server, named, chain, invoked, visit)
				invoked[named] = false
			}
		}
	}
}

// hostsOfChain are host names that lead along the routes; a star is given a name.
func hostsOfChain(chain []*caddyhttp.Route) []string {
	hosts := []string{""}
	for _, route := range chain {
		if own := hostsOf(route.MatcherSets); len(own) > 0 {
			hosts = own
		}
	}
	for i, host := range hosts {
		hosts[i] = strings.ReplaceAll(host, "*", "axra-check")
	}
	return hosts
}

// samplesOf are paths that a pattern of Caddy's path matcher matches.
func samplesOf(pattern string) []string {
	const name = "axra-check"
	switch prefix, isPrefix := strings.CutSuffix(pattern, "/*"); {
	case strings.Contains(pattern, "{"):
		return nil
	case isPrefix && !strings.Contains(prefix, "*"):
		return []string{prefix + "/" + name, prefix + "/"}
	case strings.HasPrefix(pattern, "*"):
		return []string{"/" + strings.ReplaceAll(pattern, "*", name)}
	}
	return []string{strings.ReplaceAll(pattern, "*", name)}
}

// samplesOfSets are paths of the matchers; those that name none give none.
func samplesOfSets(sets caddyhttp.MatcherSets) []string {
	var samples []string
	for _, pattern := range patternsOf(sets) {
		if pattern != "*" && pattern != "/*" {
			samples = append(samples, samplesOf(pattern)...)
		}
	}
	return samples
}

// patternsOf are those of the path matchers.
func patternsOf(sets caddyhttp.MatcherSets) []string {
	var patterns []string
	for _, set := range sets {
		for _, matcher := range set {
			switch m := matcher.(type) {
			case *caddyhttp.MatchPath:
				patterns = append(patterns, *m...)
			case caddyhttp.MatchPath:
				patterns = append(patterns, m...)
			}
		}
	}
	return patterns
}

// candidates are paths that may lead to a handler with matchers of its own: those of
// these and of the routes around, one within the other, and below what they strip.
func (p spot) candidates(own caddyhttp.MatcherSets) []string {
	inner, outer := samplesOfSets(own), []string{}
	for _, route := range p.chain {
		outer = append(outer, samplesOfSets(route.MatcherSets)...)
	}
	if len(inner) == 0 {
		inner = []string{"/axra-check", "/"}
	}
	all := slices.Concat(inner, outer)
	for _, folder := range append(outer, strippedPrefixes(p.server)...) {
		if folder = strings.TrimSuffix(folder, "/axra-check"); strings.Contains(folder, ".") {
			continue
		}
		for _, name := range inner {
			all = append(all, strings.TrimSuffix(folder, "/")+name)
		}
	}
	return distinct(all)
}

// leadsTo reports whether all routes around the spot match a path.
func (p spot) leadsTo(method, path string) bool {
	request := strangersRequest(p.server, method, p.host, path)
	return !slices.ContainsFunc(p.chain, func(route *caddyhttp.Route) bool {
		match, err := route.MatcherSets.AnyMatchWithError(request)
		return err != nil || !match
	})
}

// strippedPrefixes are what handle_path and `uri strip_prefix` take away.
func strippedPrefixes(server *caddyhttp.Server) []string {
	var prefixes []string
	walk(server, server.Routes, nil, make(map[*caddyhttp.Route]bool), func(handler caddyhttp.MiddlewareHandler, _ []string) {
		if h, ok := handler.(*rewrite.Rewrite); ok && h.StripPathPrefix != "" && !strings.Contains(h.StripPathPrefix, "{") {
			prefixes = append(prefixes, "/"+strings.Trim(h.StripPathPrefix, "/"))
		}
	})
	return distinct(prefixes)
}

// distinct drops what is there twice and keeps the order.
func distinct(all []string) []string {
	seen := make(map[string]bool, len(all))
	return slices.DeleteFunc(slices.Clone(all), func(one string) bool {
		known := seen[one]
		seen[one] = true
		return known
	})
}
