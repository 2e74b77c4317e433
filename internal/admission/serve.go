// Package admission serves requests that a gate lets through. It keeps responses out of shared caches, sets the
// placeholders and request headers that describe the purchase, and counts downloads.
package admission

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/response"
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
