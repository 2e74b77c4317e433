package admission

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/response"
)

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
