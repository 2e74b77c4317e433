package admission

import (
	"context"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/internal/urlpath"
)

// WithoutGateParams returns the request for later handlers, without the gate's parameters in any of its addresses, since
// some of them are secrets. gate.OriginalURL of r keeps them.
func WithoutGateParams(r *http.Request) *http.Request {
	CleanPlaceholders(r)
	CleanReferer(r)
	ctx := r.Context()
	if original, ok := ctx.Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && original.URL != nil {
		original.URL = new(*original.URL)
		original.URL.RawQuery, _ = urlpath.CleanQuery(original.URL.RawQuery)
		original.RequestURI = urlpath.CleanAddress(original.RequestURI)
		ctx = context.WithValue(ctx, caddyhttp.OriginalRequestCtxKey, original)
	}
	clean := r.WithContext(ctx)
	clean.RequestURI = urlpath.CleanAddress(r.RequestURI)
	return clean
}

// CleanPlaceholders removes the gate's parameters from the placeholders of the original request.
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

// CleanReferer removes the gate's parameters from the Referer header.
func CleanReferer(r *http.Request) {
	for i, referer := range r.Header["Referer"] {
		r.Header["Referer"][i] = urlpath.CleanAddress(referer)
	}
}
