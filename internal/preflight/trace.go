package preflight

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
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
	*site
	path    string // asked for
	request *http.Request
	gates   []*Gate // that cover it, before anything answers
	refused bool    // by a gate, as ambiguous
	answer  caddyhttp.MiddlewareHandler
	root    string // of the file server
	file    string // that it has for the request; a folder where it lists names
	served  bool   // to anybody: a file server may also hide the file, or redirect
	shadows []any  // gates and webhooks that come after the answer, and would take the request

	guards  []string           // what else admits only some people
	caches  []string           // before the first gate
	headers []*headers.Handler // before the first gate
	unknown []string           // handlers that may answer or not
	groups  map[string]bool    // of which a route was taken
	invoked int                // named routes, which may invoke each other endlessly
}

const maxInvoked = 100

// anonymous is an address of a network for documentation (RFC 5737), which no matcher exempts.
const anonymous = "203.0.113.77:40000"

func (s *site) trace(method, path string) *trace {
	t := &trace{site: s, path: path, request: NewRequest(s.server, method, s.host, path), groups: make(map[string]bool)}
	t.follow(s.server.Routes)
	return t
}

// NewRequest is an anonymous visitor's request, prepared as Caddy does for its routes.
func NewRequest(server *caddyhttp.Server, method, host, path string) *http.Request {
	address := &url.URL{Path: path}
	r := &http.Request{
		Method: method, URL: address, Host: host, RequestURI: address.RequestURI(), RemoteAddr: anonymous,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody,
		Header: http.Header{"Accept": {"text/html"}, "User-Agent": {"Mozilla/5.0"}},
	}
	if len(server.TLSConnPolicies) > 0 {
		r.TLS = &tls.ConnectionState{HandshakeComplete: true, ServerName: host}
	}
	return caddyhttp.PrepareRequest(r.WithContext(context.Background()), caddy.NewReplacer(), discard(), server)
}

// discardWriter is a response of which only the status counts.
type discardWriter struct {
	header http.Header
	status int
}

func (w *discardWriter) Header() http.Header             { return w.header }
func (*discardWriter) Write(content []byte) (int, error) { return len(content), nil }
func (w *discardWriter) WriteHeader(status int)          { w.status = max(w.status, status) }

func discard() *discardWriter { return &discardWriter{header: make(http.Header)} }

// noHandler is where no handler follows.
var noHandler = caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
	return caddyhttp.Error(http.StatusNotFound, nil)
})

// follow reports whether no route after these is tried.
func (t *trace) follow(routes caddyhttp.RouteList) (ended bool) {
	for i := range routes {
		if t.take(&routes[i]) {
			return true
		}
	}
	return false
}

func (t *trace) take(route *caddyhttp.Route) (ended bool) {
	if t.groups[route.Group] {
		return false
	}
	if match, err := route.MatcherSets.AnyMatchWithError(t.request); err != nil || !match {
		return err != nil
	}
	t.groups[route.Group] = route.Group != ""
	for _, handler := range route.Handlers {
		if t.meet(handler) {
			return true
		}
	}
	return route.Terminal
}

func (t *trace) meet(handler caddyhttp.MiddlewareHandler) (ended bool) {
	switch h := handler.(type) {
	case *caddyhttp.Subroute:
		return t.follow(h.Routes)
	case *caddyhttp.Invoke:
		t.invoked++
		named := t.server.NamedRoutes[h.Name]
		return named != nil && t.invoked < maxInvoked && t.take(named)
	case *caddyhttp.VarsMiddleware, *rewrite.Rewrite, *maphandler.Handler:
		_ = h.ServeHTTP(discard(), t.request, noHandler) // it changes the request and no more
		return false
	}
	switch kind := t.describe(handler).(type) {
	case *Gate:
		return t.meetGate(kind)
	case *Webhook:
		if t.answer != nil {
			t.shadows = append(t.shadows, kind)
		}
	}
	if t.answer == nil && t.answers(handler) {
		t.answer = handler
	}
	return false
}

func (t *trace) meetGate(at *Gate) (ended bool) {
	found, err := at.Matcher.Coverage(t.request)
	switch {
	case t.answer != nil:
		if err == nil && found == gate.Covered {
			t.shadows = append(t.shadows, at)
		}
		return false
	case err != nil || found == gate.Ambiguous:
		t.refused = true
	case found == gate.Covered:
		t.gates = append(t.gates, at)
	}
	return t.refused
}

// answers reports whether a handler answers the request, and notes what it does otherwise.
func (t *trace) answers(handler caddyhttp.MiddlewareHandler) bool {
	switch h := handler.(type) {
	case *fileserver.FileServer:
		t.file = t.fileOf(h)
		t.served = t.file != "" && !t.isGated() && len(t.guards) == 0 && t.serves(h)
		return !h.PassThru || t.file != ""
	case *headers.Handler:
		if len(t.gates) == 0 {
			t.headers = append(t.headers, h)
		}
		return false
	case *caddyauth.Authentication:
		t.guards = append(t.guards, "basic_auth")
		return false
	case *reverseproxy.Handler:
		if len(h.HandleResponse) > 0 && h.Rewrite != nil { // forward_auth expands to that
			t.guards = append(t.guards, "forward_auth")
			return false
		}
		return true
	}
	switch name := caddy.GetModuleName(handler); name {
	case "static_response", "error", "axra_webhook", "axra_jwks", "metrics", "acme_server", "copy_response":
		return true
	case "templates", "encode", "push", "request_body", "tracing", "log_append", "intercept", "copy_response_headers", "timeouts":
	default:
		if !strings.Contains(name, "cache") && !strings.Contains(name, "souin") {
			t.unknown = append(t.unknown, name)
		} else if len(t.gates) == 0 {
			t.caches = append(t.caches, name)
		}
	}
	return false
}

// isFile reports whether a file server answers.
func (t *trace) isFile() bool {
	_, ok := t.answer.(*fileserver.FileServer)
	return ok
}

// isFree reports whether anybody gets the answer.
func (t *trace) isFree() bool { return !t.isGated() && t.answer != nil && len(t.guards) == 0 }

func (t *trace) isGated() bool { return t.refused || len(t.gates) > 0 }

// answerer names the handler that answers, as in a Caddyfile.
func (t *trace) answerer() string {
	switch {
	case t.answer == nil:
		return "nothing"
	case t.redirects():
		return "redir"
	case caddy.GetModuleName(t.answer) == "static_response":
		return "respond"
	}
	return caddy.GetModuleName(t.answer)
}

func (t *trace) redirects() bool {
	response, ok := t.answer.(*caddyhttp.StaticResponse)
	return ok && response.Headers.Get("Location") != ""
}

// fileOf is the file that a file server would serve, or the folder whose names it would list, "" for none.
func (t *trace) fileOf(server *fileserver.FileServer) string {
	replacer, _ := t.request.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	t.root = replacer.ReplaceAll(server.Root, ".")
	name := strings.TrimSuffix(caddyhttp.SanitizedPathJoin(t.root, t.request.URL.Path), "/")
	info, err := os.Stat(name)
	if err != nil {
		return ""
	}
	if !info.IsDir() {
		return name
	}
	for _, index := range server.IndexNames {
		file := caddyhttp.SanitizedPathJoin(name, replacer.ReplaceAll(index, ""))
		if info, err := os.Stat(file); err == nil && !info.IsDir() {
			return file
		}
	}
	if server.Browse != nil {
		return name
	}
	return ""
}

// serves asks the file server itself, for the headers only.
func (t *trace) serves(server *fileserver.FileServer) bool {
	w, r := discard(), t.request.Clone(t.request.Context())
	r.Method = http.MethodHead
	return server.ServeHTTP(w, r, noHandler) == nil && w.status < http.StatusMultipleChoices
}
