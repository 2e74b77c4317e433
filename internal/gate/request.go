package gate

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/internal/urlpath"
)

func isWellFormed(query string) bool {
	_, err := url.ParseQuery(query)
	return err == nil
}

// OriginalURL is the address as the client sent it, before any rewrite.
func OriginalURL(r *http.Request) *url.URL {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && original.URL != nil {
		return original.URL
	}
	return r.URL
}

// IsRewritten reports whether the site has changed more of a path than its beginning.
func IsRewritten(r *http.Request) bool { return !strings.HasSuffix(OriginalURL(r).Path, r.URL.Path) }

// IsUnambiguous reports whether every reader of the request's address finds the same page. Only then a page can be
// sold by itself.
func IsUnambiguous(r *http.Request) bool {
	original := OriginalURL(r)
	if r.URL.Opaque != "" || original.Opaque != "" {
		return false
	}
	found := append(urlpath.Overrides(r.Header, original, r.URL), urlpath.Suspicious(r.URL)...)
	forms, ok := obfuscationsOf(r, append(found, urlpath.Suspicious(original)...))
	if len(forms) == 0 {
		return ok
	}
	here, before := urlpath.Page(r.URL.Path), urlpath.Page(original.Path)
	return !slices.ContainsFunc(forms, func(form string) bool {
		page := urlpath.Page(form)
		return page != here && page != before
	})
}

// obfuscations are remembered in a request variable: all gates ask for the same, and a hostile path of 8 KB takes about
// 10 ms to decode (FB6).
type obfuscations struct {
	forms []string
	ok    bool
}

// obfuscationsOf is urlpath.Obfuscations, once for all gates that a request meets.
func obfuscationsOf(r *http.Request, paths []string) (forms []string, ok bool) {
	if len(paths) == 0 {
		return nil, true
	}
	name := "axra.obfuscations\n" + strings.Join(paths, "\n")
	known, isKnown := caddyhttp.GetVar(r.Context(), name).(obfuscations)
	if !isKnown {
		known.forms, known.ok = urlpath.Obfuscations(paths)
		caddyhttp.SetVar(r.Context(), name, known)
	}
	return known.forms, known.ok
}

// atPath calls f while the request has another path, since Caddy's placeholders read the path from the request.
func atPath(r *http.Request, path string, f func()) {
	address := *r.URL
	defer func() { *r.URL = address }()
	if path != address.Path {
		r.URL.Path, r.URL.RawPath = path, ""
	}
	f()
}

// Replace fills in the placeholders of a text that are known for the request; the others become empty.
func Replace(r *http.Request, text string) string {
	if !strings.Contains(text, "{") {
		return text
	}
	if replacer, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		return replacer.ReplaceAll(text, "")
	}
	return text
}

// ServerOf is the server that a request came to; nil if Caddy did not prepare the request.
func ServerOf(r *http.Request) *caddyhttp.Server {
	server, _ := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	return server
}

// SplitHostPort splits a Host header into a host name in lower case and a port, which may be empty.
func SplitHostPort(hostport string) (host, port string) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	return strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), "."), port
}

// HostOf returns the host name of an origin or of a Host header.
func HostOf(address string) string {
	if _, host, ok := strings.Cut(address, "://"); ok {
		address, _ = SplitHostPort(host)
	}
	return address
}

// IsLoopback reports whether the host can only be this machine.
func IsLoopback(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.IsLoopback()
}
