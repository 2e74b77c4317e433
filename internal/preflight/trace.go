package preflight

import (
	"cmp"
	"context"
	"crypto/tls"
	"net/http"
	"net/url"
	"os"
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

	guards       []string        // what else admits only some people
	caches       []string        // before the first gate
	cacheControl string          // that a `header` before the first gate sets after it, and that makes the answer public
	unknown      []string        // handlers that may answer or not
	groups       map[string]bool // of which a route was taken
	invoked      int             // named routes, which may invoke each other endlessly
}

const maxInvoked = 100

func (s *site) trace(method, path string) *trace {
	t := &trace{site: s, path: path, request: NewRequest(s.server, method, s.host, path), groups: make(map[string]bool)}
	t.follow(s.server.Routes)
	return t
}

// NewRequest is an anonymous visitor's request, prepared as Caddy does for its routes.
func NewRequest(server *caddyhttp.Server, method, host, path string) *http.Request {
	address := &url.URL{Path: path}
	r := &http.Request{
		Method: method, URL: address, Host: host, RequestURI: address.RequestURI(), RemoteAddr: "203.0.113.77:40000", // of documentation (RFC 5737)
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody,
		Header: http.Header{"Accept": {"text/html"}, "User-Agent": {"Mozilla/5.0"}},
	}
	if len(server.TLSConnPolicies) > 0 {
		r.TLS = &tls.ConnectionState{HandshakeComplete: true, ServerName: host}
	}
	return caddyhttp.PrepareRequest(r.WithContext(context.Background()), caddy.NewReplacer(), nil, server)
}

// discardWriter is a response of which only the status counts.
type discardWriter struct {
	header http.Header
	status int
}

func (w *discardWriter) Header() http.Header             { return w.header }
func (*discardWriter) Write(content []byte) (int, error) { return len(content), nil }
func (w *discardWriter) WriteHeader(status int)          { w.status = max(w.status, status) }

// noHandler is where no handler follows.
var noHandler = caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
	return caddyhttp.Error(http.StatusNotFound, nil)
})

// follow reports whether no route after these is tried.
func (t *trace) follow(routes caddyhttp.RouteList) (ended bool) {
	return slices.ContainsFunc(routes, func(route caddyhttp.Route) bool {
		if t.groups[route.Group] {
			return false
		}
		if match, err := route.MatcherSets.AnyMatchWithError(t.request); err != nil || !match {
			return err != nil
		}
		t.groups[route.Group] = route.Group != ""
		return slices.ContainsFunc(route.Handlers, t.meet) || route.Terminal
	})
}

func (t *trace) meet(handler caddyhttp.MiddlewareHandler) (ended bool) {
	switch h := handler.(type) {
	case *caddyhttp.Subroute:
		return t.follow(h.Routes)
	case *caddyhttp.Invoke:
		t.invoked++
		named := t.server.NamedRoutes[h.Name]
		return named != nil && t.invoked < maxInvoked && t.follow(caddyhttp.RouteList{*named})
	case *caddyhttp.VarsMiddleware, *rewrite.Rewrite, *maphandler.Handler:
		_ = h.ServeHTTP(nil, t.request, noHandler) // it changes the request and no more
		return false
	}
	switch h := t.describe(handler).(type) {
	case *Gate:
		return t.meetGate(h)
	case *Webhook:
		if t.answer != nil {
			t.shadows = append(t.shadows, h)
		}
	}
	if t.answer == nil && t.answers(handler) {
		t.answer = handler
	}
	return false
}

func (t *trace) meetGate(at *Gate) (ended bool) {
	found, err := at.Matcher.Coverage(t.request)
	switch isCovered := err == nil && found == gate.Covered; {
	case isCovered && t.answer != nil:
		t.shadows = append(t.shadows, at)
	case isCovered:
		t.gates = append(t.gates, at)
	case t.answer == nil:
		t.refused = err != nil || found == gate.Ambiguous
	}
	return t.refused
}

// answers reports whether a handler answers the request, and notes what it does otherwise.
func (t *trace) answers(handler caddyhttp.MiddlewareHandler) bool {
	switch name := caddy.GetModuleName(handler); name {
	case "file_server":
		h := handler.(*fileserver.FileServer)
		t.file = t.fileOf(h)
		t.served = t.file != "" && !t.isGated() && len(t.guards) == 0 && t.serves(h)
		return !h.PassThru || t.file != ""
	case "reverse_proxy":
		h := handler.(*reverseproxy.Handler)
		if len(h.HandleResponse) == 0 || h.Rewrite == nil {
			return true
		}
		t.guards = append(t.guards, "forward_auth") // which expands to that
	case "authentication":
		t.guards = append(t.guards, "basic_auth")
	case "static_response", "error", "axra_webhook", "axra_jwks", "metrics", "acme_server", "copy_response":
		return true
	case "headers":
		ops := handler.(*headers.Handler).Response
		if len(t.gates) > 0 || ops == nil || ops.HeaderOps == nil || !ops.Deferred && ops.Require == nil {
			return false
		}
		value := strings.ToLower(cmp.Or(ops.Set.Get("Cache-Control"), ops.Add.Get("Cache-Control")))
		if value != "" && !strings.Contains(value, "private") && !strings.Contains(value, "no-store") {
			t.cacheControl = value
		}
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

// fileOf is the file that a file server would serve, or the folder whose names it would list, "" for none.
func (t *trace) fileOf(server *fileserver.FileServer) string {
	replacer, _ := t.request.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	t.root = replacer.ReplaceAll(server.Root, ".")
	name := strings.TrimSuffix(caddyhttp.SanitizedPathJoin(t.root, t.request.URL.Path), "/")
	for _, index := range append([]string{""}, server.IndexNames...) {
		file := caddyhttp.SanitizedPathJoin(name, replacer.ReplaceAll(index, ""))
		if info, err := os.Stat(file); err == nil && !info.IsDir() {
			return file
		}
	}
	if info, err := os.Stat(name); err == nil && info.IsDir() && server.Browse != nil {
		return name
	}
	return ""
}

// serves asks the file server itself, for the headers only.
func (t *trace) serves(server *fileserver.FileServer) bool {
	w, r := &discardWriter{header: make(http.Header)}, t.request.Clone(t.request.Context())
	r.Method = http.MethodHead
	return server.ServeHTTP(w, r, noHandler) == nil && w.status < http.StatusMultipleChoices
}

// isFree reports whether anybody gets the answer.
func (t *trace) isFree() bool { return !t.isGated() && t.answer != nil && len(t.guards) == 0 }

func (t *trace) isGated() bool { return t.refused || len(t.gates) > 0 }

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
