package preflight

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	maphandler "github.com/caddyserver/caddy/v2/modules/caddyhttp/map"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"

	"github.com/caddy-axra/paywall/internal/gate"
)

// trace is what one request meets on its way through the routes of a server. Caddy's own matchers are asked, and
// handlers that only change the request are run; nothing else is.
type trace struct {
	site    *site
	path    string // asked for
	request *http.Request

	gates  []*gate.Gate // that cover or refuse it, before anything answers
	guards []string     // what else admits only some people
	caches []string     // what may make the answer public, before the first gate
	answer caddyhttp.MiddlewareHandler
	root   string                        // of the file server
	file   string                        // that it has for the request; a folder where it lists names
	isOpen bool                          // to anybody: the file may also be hidden, or answered by a redirect
	late   []caddyhttp.MiddlewareHandler // come after the answer, and would take the request
}

func (s *site) trace(method, path string) *trace {
	t := &trace{site: s, path: path, request: NewRequest(s.server, method, s.host, path)}
	t.follow(s.server.Routes, make(map[string]bool))
	return t
}

// NewRequest is an anonymous visitor's request, prepared as Caddy does for its routes.
func NewRequest(server *caddyhttp.Server, method, host, path string) *http.Request {
	address := &url.URL{Path: path}
	r := &http.Request{
		Method: method, URL: address, Host: host, RequestURI: address.RequestURI(),
		RemoteAddr: "203.0.113.77:40000", // of documentation (RFC 5737)
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody,
		Header: http.Header{"Accept": {"text/html"}, "User-Agent": {"Mozilla/5.0"}},
	}
	if len(server.TLSConnPolicies) > 0 {
		r.TLS = &tls.ConnectionState{HandshakeComplete: true, ServerName: host}
	}
	return caddyhttp.PrepareRequest(r.WithContext(context.Background()), caddy.NewReplacer(), nil, server)
}

// noHandler is where no handler follows.
var noHandler = caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
	return caddyhttp.Error(http.StatusNotFound, nil)
})

// follow reports whether no route after these is tried. Of a group, one route is taken, and each named route once.
func (t *trace) follow(routes caddyhttp.RouteList, taken map[string]bool) (ended bool) {
	return slices.ContainsFunc(routes, func(route caddyhttp.Route) bool {
		if taken[route.Group] {
			return false
		}
		if match, err := route.MatcherSets.AnyMatchWithError(t.request); err != nil || !match {
			return err != nil
		}
		taken[route.Group] = route.Group != ""
		meet := func(handler caddyhttp.MiddlewareHandler) bool { return t.meet(handler, taken) }
		return slices.ContainsFunc(route.Handlers, meet) || route.Terminal
	})
}

func (t *trace) meet(handler caddyhttp.MiddlewareHandler, taken map[string]bool) (ended bool) {
	switch h := handler.(type) {
	case *caddyhttp.Subroute:
		return t.follow(h.Routes, taken)
	case *caddyhttp.Invoke:
		named, mark := t.site.server.NamedRoutes[h.Name], "invoke "+h.Name
		if named == nil || taken[mark] {
			return false
		}
		taken[mark] = true
		return t.follow(caddyhttp.RouteList{*named}, taken)
	case *caddyhttp.VarsMiddleware, *rewrite.Rewrite, *maphandler.Handler:
		_ = h.ServeHTTP(nil, t.request, noHandler) // it changes the request and no more
		return false
	}
	own := t.site.gateOf(handler)
	if own != nil {
		if coverage, _ := own.Matcher.Coverage(t.request); coverage == gate.NotCovered {
			return false
		}
	}
	switch {
	case t.answer != nil:
		t.late = append(t.late, handler)
	case own != nil:
		t.gates = append(t.gates, own)
	case t.answers(handler):
		t.answer = handler
	}
	return false
}

// answers reports whether a handler answers the request, and notes what it does otherwise.
func (t *trace) answers(handler caddyhttp.MiddlewareHandler) bool {
	switch name := caddy.GetModuleName(handler); name {
	case "file_server":
		h := handler.(*fileserver.FileServer)
		t.findFile(h)
		return !h.PassThru || t.file != ""
	case "reverse_proxy":
		h := handler.(*reverseproxy.Handler)
		if len(h.HandleResponse) == 0 || h.Rewrite == nil {
			return true
		}
		t.guards = append(t.guards, "forward_auth") // which expands to that
	case "authentication":
		t.guards = append(t.guards, "basic_auth")
	case "static_response", "error", webhook, keySet, "metrics", "acme_server", "copy_response":
		return true
	case "headers":
		if field := lateHeader(handler.(*headers.Handler)); field != "" && len(t.gates) == 0 {
			t.caches = append(t.caches, "a deferred `header "+field+"`")
		}
	default:
		if isCache := strings.Contains(name, "cache") || strings.Contains(name, "souin"); isCache && len(t.gates) == 0 {
			t.caches = append(t.caches, name)
		}
	}
	return false
}

// lateHeader returns the field by which a `header` makes answers public, after the gate has made them private.
func lateHeader(handler *headers.Handler) string {
	ops := handler.Response
	if ops == nil || ops.HeaderOps == nil || !ops.Deferred && ops.Require == nil {
		return ""
	}
	header := make(http.Header)
	ops.ApplyTo(header, caddy.NewReplacer())
	for _, name := range []string{"Cache-Control", "CDN-Cache-Control", "Surrogate-Control"} {
		value := header.Get(name)
		if value != "" && !strings.Contains(value, "private") && !strings.Contains(value, "no-store") {
			return fmt.Sprintf("%s %q", name, value)
		}
	}
	return ""
}

// isFree reports whether anybody gets the answer.
func (t *trace) isFree() bool { return t.answer != nil && len(t.gates) == 0 && len(t.guards) == 0 }

func (t *trace) address() string { return t.site.host + t.path }

// answerer names the handler that answers, as in a Caddyfile.
func (t *trace) answerer() string {
	if t.answer == nil {
		return "nothing"
	}
	name := caddy.GetModuleName(t.answer)
	if response, ok := t.answer.(*caddyhttp.StaticResponse); ok && response.Headers.Get("Location") != "" {
		name = "redir"
	}
	return strings.Replace(name, "static_response", "respond", 1)
}

func (t *trace) isContent() bool {
	return t.answerer() == "file_server" || t.answerer() == "reverse_proxy"
}
