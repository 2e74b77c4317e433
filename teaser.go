package paywall

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

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
	if !isPlain(v.r) {
		return true, v.show(v.w, v.r, page.View{Kind: page.BadAddress})
	}
	offers, err := v.onSale()
	if err != nil {
		return true, v.misconfigured(err)
	}
	v.tellOffers(offers, again)
	setUnpaid(v.r)
	before := v.w.Header().Clone()
	w := &teaserWriter{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: v.w}, index: v.Teaser.Index}
	request := v.teaserRequest()
	if v.Teaser.handler != nil {
		err = v.Teaser.handler.ServeHTTP(w, request, v.onward)
	} else {
		err = v.onward.ServeHTTP(w, request)
	}
	if w.wrote {
		return true, nil
	}
	v.app.complainCheckout.Do(func() {
		v.logger.Error("the teaser could not be served; visitors see the built-in page", zap.String("teaser", request.URL.Path), zap.Error(err))
	})
	restoreHeader(v.w.Header(), before)
	return false, nil
}

// teaserRequest asks for the teaser and nothing else: whole, and without what
// could lead a server behind elsewhere.
func (v *visit) teaserRequest() *http.Request {
	for _, name := range []string{"Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
		v.r.Header.Del(name)
	}
	for _, name := range overrides {
		v.r.Header.Del(name) // also those that name this very page
	}
	request := v.r.Clone(v.r.Context())
	request.Body, request.ContentLength = http.NoBody, 0
	if v.Teaser.URI == "" {
		return request
	}
	path, query, _ := strings.Cut(v.Teaser.URI, "?") // first, so that none comes with a placeholder
	request.URL = &url.URL{Path: samePath(replaced(v.r, path)), RawQuery: replaced(v.r, query)}
	request.RequestURI = request.URL.RequestURI()
	return request
}

func restoreHeader(header, before http.Header) {
	clear(header)
	for name, values := range before {
		header[name] = values
	}
}

// teaserWriter sends what succeeds with status 402. What does not is not sent.
type teaserWriter struct {
	*caddyhttp.ResponseWriterWrapper
	index  bool
	wrote  bool
	failed bool
}

var errTeaser = errors.New("the teaser was not served")

// WriteHeader turns success into 402.
func (w *teaserWriter) WriteHeader(status int) {
	switch {
	case w.wrote || w.failed:
	case status < 200:
		w.ResponseWriterWrapper.WriteHeader(status)
	case status >= 300 && status != http.StatusPaymentRequired:
		w.failed = true
	default:
		w.wrote = true
		header := w.Header()
		for _, name := range []string{"Etag", "Last-Modified", "Accept-Ranges", "Expires"} {
			header.Del(name)
		}
		noStore(header)
		if !w.index {
			header.Set("X-Robots-Tag", "noindex")
		}
		w.ResponseWriterWrapper.WriteHeader(http.StatusPaymentRequired)
	}
}

// Write sends the body of what succeeds.
func (w *teaserWriter) Write(p []byte) (int, error) {
	if !w.wrote && !w.failed {
		w.WriteHeader(http.StatusOK)
	}
	if w.failed {
		return 0, errTeaser
	}
	return w.ResponseWriterWrapper.Write(p)
}

// ReadFrom is Write for what copies.
func (w *teaserWriter) ReadFrom(from io.Reader) (int64, error) {
	if !w.wrote && !w.failed {
		w.WriteHeader(http.StatusOK)
	}
	if w.failed {
		return 0, errTeaser
	}
	return w.ResponseWriterWrapper.ReadFrom(from)
}

// FlushError sends the header.
func (w *teaserWriter) FlushError() error {
	if !w.wrote && !w.failed {
		w.WriteHeader(http.StatusOK)
	}
	if w.failed {
		return errTeaser
	}
	return http.NewResponseController(w.ResponseWriterWrapper).Flush()
}

// Unwrap serves http.ResponseController.
func (w *teaserWriter) Unwrap() http.ResponseWriter { return w.ResponseWriterWrapper }
