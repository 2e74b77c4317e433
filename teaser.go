package paywall

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

	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/page"
)

// Teaser is what visitors who have not paid get in place of a page, with status
// 402. Its link to the checkout is `?axra_checkout`, or `?axra_checkout=<pass>`
// where several passes are on sale. The placeholders `{http.axra.offer.…}` hold
// prices and addresses of checkouts.
type Teaser struct {
	// URI is the path, and maybe a query, that is served in place of the wanted page
	// by the handlers after the gate, such as `/teasers/premium.html`. Placeholders are
	// replaced, as in `/teasers{path}`.
	URI string `json:"uri,omitempty"`

	// HandlerRaw is what answers where URI is not set; in a Caddyfile a block of
	// directives.
	HandlerRaw json.RawMessage `json:"handler,omitempty" caddy:"namespace=http.handlers inline_key=handler"`

	// Index leaves out the header `X-Robots-Tag: noindex`, for a page that carries
	// the structured data of paid content.
	Index bool `json:"index,omitempty"`

	handler caddyhttp.MiddlewareHandler
}

func (t *Teaser) provision(ctx caddy.Context) error {
	if t == nil {
		return nil
	}
	if (t.URI == "") == (t.HandlerRaw == nil) {
		return errors.New("teaser: write a path, as in `teaser /teaser.html`, or a block of directives")
	}
	if t.URI != "" {
		return checkTeaserURI(t.URI)
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

func checkTeaserURI(uri string) error {
	if !strings.HasPrefix(uri, "/") && !strings.HasPrefix(uri, "{") {
		return fmt.Errorf("teaser %q is no path of this site: write `teaser /teaser.html`", uri)
	}
	return nil
}

// serveTeaser answers with the teaser; shown is false where there is none to show.
func (v *visit) serveTeaser() (shown bool, err error) {
	if v.Teaser == nil || v.r.Method != http.MethodGet && v.r.Method != http.MethodHead {
		return false, nil
	}
	// What lies behind must not take another path from this request.
	if !isUnambiguous(v.r) {
		return true, v.show(v.w, v.r, page.View{Kind: page.BadAddress})
	}
	offers, err := v.onSale()
	if err != nil {
		return true, v.misconfigured(err)
	}
	v.tellOffers(offers)
	setAdmission(v.r, nil)
	before := v.w.Header().Clone()
	w := newDecidingWriter(v.w, v.asTeaser)
	err = unlessRefused(func() bool { return w.refused }, func() error { return v.askTeaser(w) })
	if w.decided && !w.refused {
		v.countShown(offers...)
		return true, err
	}
	v.app.complain(v.logger, "the teaser could not be served; visitors see the built-in page", zap.String("path", v.r.URL.Path), zap.Error(err))
	restoreHeader(v.w.Header(), before)
	return false, nil
}

// askTeaser asks for the teaser and nothing else: whole, and without what could lead a
// server behind elsewhere. The address is changed where it stands, and changed back:
// Caddy's placeholders and file matchers read it there.
func (v *visit) askTeaser(w http.ResponseWriter) error {
	for _, name := range teaserStrips {
		v.r.Header.Del(name)
	}
	for _, name := range urlpath.OverrideHeaders {
		v.r.Header.Del(name) // also those that name this very page
	}
	address := *v.r.URL
	defer func() { *v.r.URL = address }()
	request := new(*v.r)
	request.Body, request.ContentLength = http.NoBody, 0
	if v.Teaser.handler != nil {
		// Nothing of what lies behind the gate, also where the block does not answer.
		return v.Teaser.handler.ServeHTTP(w, request, emptyHandler)
	}
	path, query, _ := strings.Cut(v.Teaser.URI, "?") // first, so that none comes with a placeholder
	path, err := teaserPath(v.r, path)
	if err != nil {
		return err
	}
	teaser := url.URL{Path: path, RawQuery: replaced(v.r, query)}
	*v.r.URL = teaser
	request.RequestURI = teaser.RequestURI()
	return v.next.ServeHTTP(w, request)
}

// teaserPath fills in a teaser's path. What a client may choose, other than the path of
// the page, must not lead to another folder.
func teaserPath(r *http.Request, path string) (string, error) {
	replacer, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok || !strings.Contains(path, "{") {
		return urlpath.Local(path), nil
	}
	filled, err := replacer.ReplaceFunc(path, func(name string, value any) (any, error) {
		text := caddy.ToString(value)
		ofPath := strings.HasPrefix(name, "http.request.uri.path") || strings.HasPrefix(name, "http.request.orig_uri.path")
		if strings.HasPrefix(name, "http.request.") && !ofPath && (strings.ContainsAny(text, "/\\%") || strings.Contains(text, "..")) {
			return nil, fmt.Errorf("%w: {%s} would lead to another folder", errTeaser, name)
		}
		return text, nil
	})
	if err != nil {
		return "", err
	}
	filled = urlpath.Local(filled)
	if plain := caddyhttp.CleanPath(filled, true); plain != filled {
		return "", fmt.Errorf("%w: %q is not a plain path", errTeaser, filled)
	}
	return filled, nil
}

var errTeaser = errors.New("the teaser cannot be served")

// teaserStrips are header fields with which a request would ask for something else
// than a page.
var teaserStrips = []string{
	"Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since",
	"Upgrade", "Connection", "Http2-Settings",
}

// emptyHandler is behind handlers that must answer by themselves.
var emptyHandler = caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })

// asTeaser sends what succeeds with status 402. What does not is not sent.
func (v *visit) asTeaser(status int, header http.Header) (int, bool) {
	if status < 200 || status >= 300 && status != http.StatusPaymentRequired {
		return 0, false
	}
	for _, name := range []string{"Etag", "Last-Modified", "Accept-Ranges", "Expires"} {
		header.Del(name)
	}
	noStore(header)
	if !v.Teaser.Index {
		header.Set("X-Robots-Tag", "noindex")
	}
	return http.StatusPaymentRequired, true
}
