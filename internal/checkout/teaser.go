package checkout

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/admission"
	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/response"
	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/page"
)

// Teaser is what visitors who have not paid get instead of a page, with status
// 402. Its link to the checkout is `?axra_checkout`, or `?axra_checkout=<pass>`
// if several passes are on sale. The placeholders `{http.axra.offer.…}` hold
// prices and addresses of checkouts.
type Teaser struct {
	// URI is the path, with or without a query, that is served instead of the requested
	// page by the handlers after the gate, such as `/teasers/premium.html`.
	// Placeholders are replaced, as in `/teasers{path}`.
	URI string `json:"uri,omitempty"`

	// HandlerRaw is the handler that responds if URI is not set; in a Caddyfile, a
	// block of directives.
	HandlerRaw json.RawMessage `json:"handler,omitempty" caddy:"namespace=http.handlers inline_key=handler"`

	// Index leaves out the header `X-Robots-Tag: noindex`, for a page that carries
	// the structured data of paid content.
	Index bool `json:"index,omitempty"`

	handler caddyhttp.MiddlewareHandler
}

// Provision loads the handler.
func (t *Teaser) Provision(ctx caddy.Context) error {
	if t == nil {
		return nil
	}
	if (t.URI == "") == (t.HandlerRaw == nil) {
		return errors.New("teaser: write a path, as in `teaser /teaser.html`, or a block of directives")
	}
	if t.URI != "" {
		return CheckTeaserURI(t.URI)
	}
	module, err := ctx.LoadModule(t, "HandlerRaw")
	if err != nil {
		return fmt.Errorf("teaser: %w", err)
	}
	handler, ok := module.(caddyhttp.MiddlewareHandler)
	if !ok {
		return fmt.Errorf("teaser: %T handles no requests", module)
	}
	t.handler = handler
	return nil
}

// CheckTeaserURI reports whether a teaser is a path of the site; the error names the fix.
func CheckTeaserURI(uri string) error {
	if !strings.HasPrefix(uri, "/") && !strings.HasPrefix(uri, "{") {
		return fmt.Errorf("teaser %q is not a path of this site: write `teaser /teaser.html`", uri)
	}
	return nil
}

// serveTeaser sends the teaser, if there is one to show.
func (v *Visit) serveTeaser() (done bool, err error) {
	teaser := v.config.Teaser
	if teaser == nil || v.r.Method != http.MethodGet && v.r.Method != http.MethodHead {
		return false, nil
	}
	// The handlers behind must not take another path from this request.
	if !gate.IsUnambiguous(v.r) {
		return true, v.flow.ShowPage(v.w, v.r, page.View{Kind: page.BadAddress})
	}
	quotes, err := v.gate.Quotes(v.r)
	if err != nil {
		return true, v.showMisconfigured(err)
	}
	v.setOfferPlaceholders(quotes)
	admission.SetToken(v.r, nil)
	before := v.w.Header().Clone()
	serve := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error { return teaser.serve(w, r, v.next) })
	outcome, err := response.ServeIf(v.w, v.r, serve, teaser.accept)
	if outcome == response.Sent {
		v.countShown(quotes...)
		return true, err
	}
	v.services.LogLimited("the teaser could not be served; visitors see the built-in page", zap.String("path", v.r.URL.Path), zap.Error(err))
	response.RestoreHeader(v.w.Header(), before)
	return false, nil
}

// serve requests the complete teaser, without headers that could lead an application to another page. It changes the
// address in place, and back, because Caddy's placeholders and file matchers read it there.
func (t *Teaser) serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	for _, name := range headersOfPages {
		r.Header.Del(name)
	}
	for _, name := range urlpath.OverrideHeaders {
		r.Header.Del(name) // even if it names this very page
	}
	address := *r.URL
	defer func() { *r.URL = address }()
	request := new(*r)
	request.Body, request.ContentLength = http.NoBody, 0
	if t.handler != nil {
		// Nothing of what is behind the gate is served, even if the block does not answer.
		return t.handler.ServeHTTP(w, request, emptyHandler)
	}
	path, query, _ := strings.Cut(t.URI, "?") // first, so that no placeholder adds one
	path, err := teaserPath(r, path)
	if err != nil {
		return err
	}
	*r.URL = url.URL{Path: path, RawQuery: gate.Replace(r, query)}
	request.RequestURI = r.URL.RequestURI()
	return next.ServeHTTP(w, request)
}

// teaserPath fills in a teaser's path. What a client may choose, other than the path of the page, must not lead to
// another folder.
func teaserPath(r *http.Request, path string) (string, error) {
	replacer, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok || !strings.Contains(path, "{") {
		return urlpath.Local(path), nil
	}
	filled, err := replacer.ReplaceFunc(path, func(name string, value any) (any, error) {
		text := caddy.ToString(value)
		isPath := strings.HasPrefix(name, "http.request.uri.path") || strings.HasPrefix(name, "http.request.orig_uri.path")
		if strings.HasPrefix(name, "http.request.") && !isPath && (strings.ContainsAny(text, "/\\%") || strings.Contains(text, "..")) {
			return nil, fmt.Errorf("{%s} would lead to another folder", name)
		}
		return text, nil
	})
	if err != nil {
		return "", err
	}
	filled = urlpath.Local(filled)
	if caddyhttp.CleanPath(filled, true) != filled {
		return "", fmt.Errorf("%q is not a clean path", filled)
	}
	return filled, nil
}

// headersOfPages are header fields that ask for something other than a complete page.
var headersOfPages = []string{
	"Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since",
	"Upgrade", "Connection", "Http2-Settings",
}

var emptyHandler = caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })

// accept sends only successful responses, with status 402.
func (t *Teaser) accept(w *response.Writer, status int) (send int) {
	if status < 200 || status >= 300 && status != http.StatusPaymentRequired {
		return 0
	}
	header := w.Header()
	for _, name := range []string{"Etag", "Last-Modified", "Accept-Ranges", "Expires"} {
		header.Del(name)
	}
	response.NoStore(header)
	if !t.Index {
		header.Set("X-Robots-Tag", "noindex")
	}
	return http.StatusPaymentRequired
}
