package paywall

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/ledger"
)

// DefaultDownloadWindow is how long a download may be resumed and repeated.
const DefaultDownloadWindow = 24 * time.Hour

// download answers with a file whose downloads are limited. The first byte of content opens a download window;
// within it the purchase may fetch, resume and seek as often as it likes, on any node. Nothing else is counted.
type download struct {
	*decidingWriter
	r       *http.Request
	gate    *Handler
	token   *access.Token
	before  http.Header // as the handlers behind found it
	refused error       // nothing was written, and this is why
}

// errPrefetch means that a browser fetches a counted file that nobody may have asked for.
var errPrefetch = errors.New("a prefetch opens no download")

func newDownload(w http.ResponseWriter, r *http.Request, gate *Handler, t *access.Token) *download {
	d := &download{r: r, gate: gate, token: t, before: w.Header().Clone()}
	d.decidingWriter = newDecidingWriter(w, func(status int, header http.Header) (int, bool) {
		if hasContent(r, status, header) {
			d.refused = d.open()
		}
		return status, d.refused == nil
	})
	return d
}

// serve runs the handler behind.
func (d *download) serve(next caddyhttp.Handler) error {
	return unlessRefused(func() bool { return d.refused != nil }, func() error { return next.ServeHTTP(d.decidingWriter, d.r) })
}

// restore takes back the header of an answer that was refused.
func (d *download) restore() { restoreHeader(d.Header(), d.before) }

// hasContent reports whether an answer carries content of the file.
func hasContent(r *http.Request, status int, header http.Header) bool {
	return r.Method != http.MethodHead && (status == http.StatusOK || status == http.StatusPartialContent) && header.Get("Content-Length") != "0"
}

// open makes sure that a download window is open.
func (d *download) open() error {
	if known, ok := d.token.Holding(); ok && now().Before(known.DownloadWindowEndsAt) {
		return nil
	}
	if isPrefetch(d.r) {
		return errPrefetch
	}
	// The window counts once it is open, also for who hangs up meanwhile.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.r.Context()), openTimeout)
	defer cancel()
	endsAt, err := d.gate.app.ledger.OpenDownload(ctx, d.token.Purchase, d.gate.downloadWindow())
	if err == nil {
		d.token.SetDownloadWindow(endsAt)
	}
	return err
}

// refuseDownload answers in place of a file that is not sent.
func (v *visit) refuseDownload(known *access.Token, reason error) error {
	switch {
	case errors.Is(reason, ledger.ErrNoneLeft):
		return v.usedUp(known, known.DownloadLimit())
	case errors.Is(reason, errPrefetch):
		return sendProblem(v.w, v.r, http.StatusServiceUnavailable, "A prefetch does not count as a download. Open the file itself.", time.Second)
	case errors.Is(reason, ledger.ErrInactive):
		v.found.closed, v.found.purchaseID = statusOf(known), known.Purchase
		return v.showClosed()
	}
	return v.unreadable(reason) // also where a purchase that was sold is not found: its data are lost
}

// downloadWindow is how long a download may be resumed and repeated.
func (h *Handler) downloadWindow() time.Duration {
	if h.app.DownloadWindow > 0 {
		return time.Duration(h.app.DownloadWindow)
	}
	return DefaultDownloadWindow
}

// isPrefetch reports whether a browser fetches what may be wanted next.
func isPrefetch(r *http.Request) bool {
	return r.Header.Get("Sec-Purpose") != "" || r.Header.Get("Purpose") != "" || r.Header.Get("X-Moz") != ""
}

// isStream reports whether an answer may last for as long as the browser stays: a WebSocket or an event stream.
func isStream(r *http.Request) bool {
	return r.Method == http.MethodConnect || r.Header.Get("Upgrade") != "" || strings.Contains(r.Header.Get("Accept"), "text/event-stream")
}
