package checkout

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/admission"
	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/response"
	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/page"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/token"
)

// Teaser is what visitors who have not paid get instead of a page, with status 402. Its link to the checkout is
// `?axra_checkout`, or `?axra_checkout=<pass>` if several passes are on sale. The placeholders `{http.axra.offer.…}`
// hold prices and addresses of checkouts.
type Teaser struct {
	// URI is the path, with or without a query, that is served instead of the requested page by the handlers after the
	// gate, such as `/teasers/premium.html`. Placeholders are replaced, as in `/teasers{path}`; of a request, only its
	// path may choose the teaser.
	URI string `json:"uri"`

	// Index leaves out the header `X-Robots-Tag: noindex`, for a page that carries the structured data of paid content.
	Index bool `json:"index,omitempty"`
}

// pathPlaceholder begins the placeholders of a request that may choose a teaser: a query or a header could name another
// folder.
var pathPlaceholder = regexp.MustCompile(`\{http\.request\.(orig_)?uri\.path`)

// Check reports whether the teaser is a path of the site; the error names the fix.
func (t *Teaser) Check() error {
	if t == nil {
		return nil
	}
	path, _, _ := strings.Cut(t.URI, "?")
	switch {
	case !strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "{"):
		return fmt.Errorf("teaser %q is not a path of this site: write `teaser /teaser.html`", t.URI)
	case strings.Contains(pathPlaceholder.ReplaceAllString(path, ""), "{http.request."):
		return fmt.Errorf("teaser %q: only the path of a request may choose it: write `teaser /teasers{path}`", t.URI)
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
		return true, v.showPage(page.View{Kind: page.BadAddress})
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

// headersOfPages are header fields that ask for something other than a complete page.
var headersOfPages = []string{
	"Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since",
	"Upgrade", "Connection", "Http2-Settings",
}

// serve requests the complete teaser, without headers that could lead an application to another page. It changes the
// address in place, and back, because Caddy's placeholders and file matchers read it there.
func (t *Teaser) serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	for _, name := range slices.Concat(headersOfPages, urlpath.OverrideHeaders) {
		r.Header.Del(name)
	}
	path, query, _ := strings.Cut(t.URI, "?") // first, so that no placeholder adds one
	if path = urlpath.Local(gate.Replace(r, path)); caddyhttp.CleanPath(path, true) != path {
		return fmt.Errorf("%q is not a clean path", path)
	}
	address := *r.URL
	defer func() { *r.URL = address }()
	*r.URL = url.URL{Path: path, RawQuery: gate.Replace(r, query)}
	request := new(*r)
	request.Body, request.ContentLength, request.RequestURI = http.NoBody, 0, r.URL.RequestURI()
	return next.ServeHTTP(w, request)
}

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

// Preview lets visitors read some pages for free. The pages are counted in a signed cookie, so clearing cookies resets
// the count; new visitors from one client address are limited to ten times the number within the same time, at least
// 30. Pictures and styles that free pages load must not be covered by the gate: exclude them in its matcher.
type Preview struct {
	// Pages is how many pages a visitor may read for free, 1 to 50.
	Pages int `json:"pages"`

	// Per is the time within which they may be read, from the first one on.
	Per caddy.Duration `json:"per"`
}

const maxPreviewPages = 50

// ErrPreviewSyntax says how a preview is written.
var ErrPreviewSyntax = fmt.Errorf("preview takes 1 to %d pages and a time: write `preview 3 per 30d`", maxPreviewPages)

// Check reports whether the numbers are within bounds; the error names the fix.
func (p *Preview) Check() error {
	if p != nil && (p.Pages < 1 || p.Pages > maxPreviewPages || p.Per <= 0) {
		return ErrPreviewSyntax
	}
	return nil
}

// Rates limit visitors who come without the cookie.
func (p *Preview) Rates() (perClient, total session.Rate) {
	return session.Rate{Events: max(30, 10*p.Pages), Per: time.Duration(p.Per)}, session.Rate{Events: 1_000_000, Per: time.Minute}
}

// previewClaims are the claims of the preview cookie: the pages that a visitor has read for free.
type previewClaims struct {
	jwt.RegisteredClaims
	Scope string   `json:"o"` // site and gate
	Pages []string `json:"p"` // hashes, in the order in which they were read
}

// servePreview lets a visitor read a page for free, if any are left.
func (v *Visit) servePreview() (done bool, err error) {
	preview := v.config.Preview
	// The handlers behind must not take another page from this request.
	if preview == nil || !gate.IsUnambiguous(v.r) {
		return false, nil
	}
	scope := session.Scope(v.site.Origin, "preview", v.config.ID)
	name := v.site.CookiePrefix("/") + gate.CookieMark + "f_" + scope
	var claims previewClaims
	cookie, err := v.r.Cookie(name)
	if err == nil {
		_, err = v.tokens.Keys.Verify(token.Preview, cookie.Value, &claims)
	}
	if err != nil || claims.Scope != scope {
		if _, ok := v.config.Previews.Allow(clientIP(v.r)); !ok {
			return false, nil
		}
		claims = previewClaims{Scope: scope, RegisteredClaims: jwt.RegisteredClaims{
			ExpiresAt: jwt.NewNumericDate(v.now().Add(time.Duration(preview.Per))),
		}}
	}
	sum := sha256.Sum256([]byte(urlpath.PageTarget(urlpath.Target(v.address))))
	this := hex.EncodeToString(sum[:6]) // fifty fit into a cookie
	isNew := !slices.Contains(claims.Pages, this)
	if isNew {
		if len(claims.Pages) >= preview.Pages {
			return false, nil
		}
		claims.Pages = append(claims.Pages, this)
	}
	raw, err := v.tokens.Keys.Sign(token.Preview, claims)
	if err != nil {
		return true, caddyhttp.Error(http.StatusInternalServerError, fmt.Errorf("counting a free page: %w", err))
	}
	admission.SetToken(v.r, nil)
	replacer(v.r).Set("http.axra.preview.left", max(0, preview.Pages-len(claims.Pages)))
	return true, response.ServePrivate(v.w, v.r, v.next, func(w *response.Writer, status int) int {
		if isNew && (status < 300 || status == http.StatusNotModified) { // a missing page was not read
			http.SetCookie(w, v.site.Cookie(name, raw, claims.ExpiresAt.Sub(v.now())))
		}
		return status
	})
}
