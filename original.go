package paywall

import (
	"context"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/internal/urlpath"
)

// The handlers behind the gate, and an application upstream, get the addresses of a request
// without the gate's own parameters. Some of these are secrets.

// withoutGateParams is the request for the handlers behind. What originalURL returns for r stays
// complete.
func withoutGateParams(r *http.Request) *http.Request {
	ctx := r.Context()
	if original, ok := ctx.Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && original.URL != nil {
		original.URL = new(*original.URL)
		original.URL.RawQuery, _ = urlpath.CleanQuery(original.URL.RawQuery)
		original.RequestURI = urlpath.CleanAddress(original.RequestURI)
		ctx = context.WithValue(ctx, caddyhttp.OriginalRequestCtxKey, original)
	}
	cleanPlaceholders(r)
	cleanReferer(r)
	clean := r.WithContext(ctx)
	clean.RequestURI = urlpath.CleanAddress(r.RequestURI)
	return clean
}

// cleanPlaceholders overrides the placeholders of the original request, which Caddy fills from the
// full address.
func cleanPlaceholders(r *http.Request) {
	original, isKnown := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	replacer, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok || !isKnown || original.URL == nil {
		return
	}
	query, _ := urlpath.CleanQuery(original.URL.RawQuery)
	prefixed := ""
	if query != "" {
		prefixed = "?" + query
	}
	replacer.Set("http.request.orig_uri", urlpath.CleanAddress(original.RequestURI))
	replacer.Set("http.request.orig_uri.query", query)
	replacer.Set("http.request.orig_uri.prefixed_query", prefixed)
}

// cleanReferer takes the gate's parameters out of the address of the page that led here.
func cleanReferer(r *http.Request) {
	for i, referer := range r.Header["Referer"] {
		r.Header["Referer"][i] = urlpath.CleanAddress(referer)
	}
}
