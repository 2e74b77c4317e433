package admission

import (
	"context"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/internal/urlpath"
)

// WithoutGateParams returns the request for the handlers behind, without the gate's own parameters in any of its
// addresses, since some of them are secrets. What gate.OriginalURL returns for r stays complete.
func WithoutGateParams(r *http.Request) *http.Request {
	ctx := r.Context()
	if original, ok := ctx.Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && original.URL != nil {
		original.URL = new(*original.URL)
		original.URL.RawQuery, _ = urlpath.CleanQuery(original.URL.RawQuery)
		original.RequestURI = urlpath.CleanAddress(original.RequestURI)
		ctx = context.WithValue(ctx, caddyhttp.OriginalRequestCtxKey, original)
	}
	CleanPlaceholders(r)
	CleanReferer(r)
	clean := r.WithContext(ctx)
	clean.RequestURI = urlpath.CleanAddress(r.RequestURI)
	return clean
}

// CleanPlaceholders removes the gate's parameters from the placeholders of the original request, which Caddy fills from
// the full address.
func CleanPlaceholders(r *http.Request) {
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

// CleanReferer removes the gate's parameters from the address of the page that led here.
func CleanReferer(r *http.Request) {
	for i, referer := range r.Header["Referer"] {
		r.Header["Referer"][i] = urlpath.CleanAddress(referer)
	}
}
