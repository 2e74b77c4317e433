// Package admission serves requests that a gate lets through. It keeps responses out of shared caches, sets the
// placeholders and request headers that describe the purchase, and counts downloads.
package admission

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/response"
	"github.com/caddy-axra/paywall/internal/urlpath"
)

// Ledger opens download windows.
type Ledger interface {
	// OpenDownload returns the end of the open download window, opening one for the given time if necessary.
	OpenDownload(ctx context.Context, purchaseID string, window time.Duration) (endsAt time.Time, err error)
}

// Admission runs the handlers behind one gate.
type Admission struct {
	Tokens         *gate.Tokens
	Ledger         Ledger
	RequestHeaders RequestHeaders
	// PrivateAddress signs the private address of a path; nil without private addresses.
	PrivateAddress func(site *gate.Site, token *access.Token, target string) (string, error)
	DownloadWindow time.Duration
	LogLimited     func(message string, fields ...zap.Field)
}

// Serve runs the handlers behind the gate. ErrRefused means that nothing was sent.
func (a *Admission) Serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, site *gate.Site, token *access.Token) error {
	if token.Link == "" {
		a.renew(w, r, site, token)
	}
	SetToken(r, token)
	a.RequestHeaders.Set(r, token)
	if a.PrivateAddress != nil {
		a.addLinks(r, site, token)
	}
	if lastsAsLongAsTheClient(r) {
		ctx, release := a.Tokens.Cache.Stream(r.Context(), token, a.Tokens.Bounds)
		defer release()
		r = r.WithContext(ctx)
	}
	if token.DownloadLimit() > 0 {
		next = a.counted(token, next)
	}
	return response.ServePrivate(w, r, next, func(w *response.Writer, status int) int {
		a.beforeHeader(w, r, token)
		return status
	})
}

// renew replaces a token that ends before its access does.
func (a *Admission) renew(w http.ResponseWriter, r *http.Request, site *gate.Site, token *access.Token) {
	if !token.EndsEarly() {
		return // most do not; reading the clock would take a fifth of the gate's time
	}
	renewed, isDue := token.Renewal(a.Tokens.Clock.Now())
	if !isDue {
		return
	}
	if err := a.Tokens.Give(w, r, site, renewed); err != nil {
		a.LogLimited("an access token could not be renewed", zap.Error(err))
	}
}

// lastsAsLongAsTheClient reports whether a request asks for a WebSocket or an event stream.
func lastsAsLongAsTheClient(r *http.Request) bool {
	return r.Method == http.MethodConnect || r.Header.Get("Upgrade") != "" || strings.Contains(r.Header.Get("Accept"), "text/event-stream")
}

// beforeHeader completes the header. An event stream stops at the next event once its token no longer opens the gate,
// even if the request did not ask for a stream, or the handler ignores the request's context.
func (a *Admission) beforeHeader(w *response.Writer, r *http.Request, token *access.Token) {
	if token.Link != "" {
		w.Header().Set("Referrer-Policy", "no-referrer") // what the page loads must not learn the private address
	}
	if !strings.HasPrefix(w.Header().Get("Content-Type"), "text/event-stream") {
		return
	}
	w.StopWhen(func() error {
		if !a.Tokens.Keys.Knows(token.Key) || a.Tokens.Cache.Judge(r.Context(), token, a.Tokens.Clock.Now(), a.Tokens.Bounds) != access.Open {
			return errStopped
		}
		return nil
	})
}

var errStopped = errors.New("the purchase no longer opens the gate")

// DefaultDownloadWindow is how long a download may be resumed and repeated.
const DefaultDownloadWindow = 24 * time.Hour

// openTimeout bounds how long a visitor waits for the ledger to open a download window.
const openTimeout = 5 * time.Second

// ErrPrefetch means that a browser prefetches a counted file, which its user may never open.
var ErrPrefetch = errors.New("a prefetch does not count as a download")

// ErrRefused means that a counted file was not sent. The reason is wrapped too.
var ErrRefused = errors.New("the download is refused")

// counted wraps a handler whose downloads are limited. The first byte of content opens a download window, within which
// the buyer may fetch, resume and seek without limit, on any node.
func (a *Admission) counted(token *access.Token, next caddyhttp.Handler) caddyhttp.Handler {
	return caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		var reason error
		_, err := response.ServeIf(w, r, next, func(w *response.Writer, status int) int {
			if hasContent(r, status, w.Header()) {
				reason = a.openDownload(r, token)
			}
			if reason != nil {
				return 0
			}
			return status
		})
		if reason != nil {
			return fmt.Errorf("%w: %w", ErrRefused, reason)
		}
		return err
	})
}

// hasContent reports whether a response carries content of the file.
func hasContent(r *http.Request, status int, header http.Header) bool {
	return r.Method != http.MethodHead && (status == http.StatusOK || status == http.StatusPartialContent) && header.Get("Content-Length") != "0"
}

// openDownload makes sure that a download window is open.
func (a *Admission) openDownload(r *http.Request, token *access.Token) error {
	if a.Tokens.Clock.Now().Before(token.DownloadWindow()) {
		return nil
	}
	if IsPrefetch(r) {
		return ErrPrefetch
	}
	// The window stays open even if the visitor has hung up meanwhile.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), openTimeout)
	defer cancel()
	endsAt, err := a.Ledger.OpenDownload(ctx, token.Purchase, a.DownloadWindow)
	if err == nil {
		token.SetDownloadWindow(endsAt)
	}
	return err
}

// IsPrefetch reports whether a browser prefetches.
func IsPrefetch(r *http.Request) bool {
	return r.Header.Get("Sec-Purpose") != "" || r.Header.Get("Purpose") != "" || r.Header.Get("X-Moz") != ""
}

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
