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

// isRewritten reports whether the site has changed more of a path than its beginning.
func isRewritten(r *http.Request) bool { return !strings.HasSuffix(OriginalURL(r).Path, r.URL.Path) }

// IsUnambiguous reports whether every reader of the request's address finds the same page, so that it can be sold.
func IsUnambiguous(r *http.Request) bool {
	original := OriginalURL(r)
	if r.URL.Opaque != "" || original.Opaque != "" {
		return false
	}
	forms, ok := obfuscationsOf(r, urlpath.Overrides(r.Header, original, r.URL), urlpath.Suspicious(r.URL), urlpath.Suspicious(original))
	if len(forms) == 0 {
		return ok
	}
	here, before := urlpath.Page(r.URL.Path), urlpath.Page(original.Path)
	return !slices.ContainsFunc(forms, func(form string) bool {
		page := urlpath.Page(form)
		return page != here && page != before
	})
}

// obfuscationsOf is urlpath.Obfuscations. All gates ask for the same, and a hostile path of 8 KB takes about 10 ms to
// decode, so a request variable remembers it (FB6).
func obfuscationsOf(r *http.Request, suspicious ...[]string) (forms []string, ok bool) {
	paths := slices.Concat(suspicious...)
	if len(paths) == 0 {
		return nil, true
	}
	name := "axra.obfuscations\n" + strings.Join(paths, "\n")
	forms, isKnown := caddyhttp.GetVar(r.Context(), name).([]string)
	if !isKnown {
		forms, _ = urlpath.Obfuscations(paths)
		caddyhttp.SetVar(r.Context(), name, forms)
	}
	return forms, forms != nil
}

// Replace fills in the placeholders of a text that are known for the request; the others become empty.
func Replace(r *http.Request, text string) string {
	if replacer, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok && strings.Contains(text, "{") {
		return replacer.ReplaceAll(text, "")
	}
	return text
}

// replaceAt is Replace for another path, since Caddy's placeholders read the path from the request.
func replaceAt(r *http.Request, path, text string) string {
	address := *r.URL
	defer func() { *r.URL = address }()
	if path != address.Path {
		r.URL.Path, r.URL.RawPath = path, ""
	}
	return strings.TrimSpace(Replace(r, text))
}

// ServerOf is the server that a request came to; nil if Caddy did not prepare the request.
func ServerOf(r *http.Request) *caddyhttp.Server {
	server, _ := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	return server
}

// HostOf returns the host name of an origin or of a Host header, in lower case.
func HostOf(address string) string {
	if _, hostport, ok := strings.Cut(address, "://"); ok {
		address = hostport
	}
	host, _ := splitHostPort(address)
	return host
}

// splitHostPort splits a Host header into a host name in lower case and a port, which may be empty.
func splitHostPort(hostport string) (host, port string) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	return strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), "."), port
}

// IsLoopback reports whether the host can only be this machine.
func IsLoopback(host string) bool {
	host = HostOf(host)
	addr, _ := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || addr.IsLoopback()
}
