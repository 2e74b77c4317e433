// Package admin is the operators' HTTP API, which Caddy serves below /axra/ on its admin endpoint. Whoever may use
// that endpoint may load any configuration, so only keys and secrets are withheld.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/payments"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/token"
	"github.com/caddy-axra/paywall/webhook"
)

// API serves the operations.
type API struct {
	Ledger *ledger.Ledger
	Keys   *token.Keyring
	// SigningAlgorithm is that of new keys.
	SigningAlgorithm string
	// Installation returns the id of the installation; it may wait a moment for the keys.
	Installation func(context.Context) (string, error)

	// Page finds what opens an address; the error tells the operator what is wrong with it.
	Page func(address string) (Page, error)
	// Link opens a purchase at a page, in one more browser; a direct one opens the page to whoever has it.
	Link func(page Page, purchase ledger.Purchase, expires time.Time, direct bool) (string, error)

	VerifyWebhook    func(header http.Header, body []byte) error
	RecordEvent      func(context.Context, webhook.Event) (payments.Outcome, error)
	RejectedWebhooks func() []webhook.Captured

	// Maintenance is held by a sweep, an import or a restore.
	Maintenance *sync.Mutex
	// Keep is how long purchases are kept after their access has ended; negative: forever.
	Keep time.Duration
	// Reload reads the keys and the change feed again after the ledger was replaced.
	Reload func(context.Context) error
	Logger *zap.Logger
	Now    func() time.Time
}

// ServeHTTP serves one call; an error is for Caddy to write.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	i := slices.IndexFunc(Operations, func(o Operation) bool { return o.Path() == r.URL.Path })
	switch {
	case i < 0:
		return refuse(http.StatusNotFound, "there is no %s", r.URL.Path)
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		return refuse(http.StatusMethodNotAllowed, "%s takes POST", r.URL.Path)
	}
	// Caddy's admin endpoint cancels a request after ten seconds, also while it is answered.
	if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil {
		a.Logger.Warn("a long call of the admin API may be cut off", zap.Error(err))
	}
	return apiError(Operations[i].serve(a, w, r))
}

// maxBody bounds a JSON request in bytes.
const maxBody = 256 << 10

func readRequest(w http.ResponseWriter, r *http.Request, into any) error {
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	body.DisallowUnknownFields()
	if err := body.Decode(into); err != nil && !errors.Is(err, io.EOF) { // nothing at all is an empty request
		return refuse(http.StatusBadRequest, "reading the request: %w", err)
	}
	if _, err := body.Token(); !errors.Is(err, io.EOF) {
		return refuse(http.StatusBadRequest, "reading the request: there is more than one JSON value")
	}
	return nil
}

func writeJSON(w http.ResponseWriter, answer any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(answer)
}

// refuse is an error with its HTTP status.
func refuse(status int, format string, args ...any) error {
	return caddy.APIError{HTTPStatus: status, Err: fmt.Errorf(format, args...)}
}

// errorStatuses are the HTTP statuses of errors; the first that matches counts.
var errorStatuses = []struct {
	err    error
	status int
}{
	{ErrMaintenance, http.StatusConflict},
	{ledger.ErrNotEmpty, http.StatusConflict},
	{ledger.ErrNoFile, http.StatusConflict},
	{ledger.ErrNotExport, http.StatusBadRequest},
	{ledger.ErrNotBackup, http.StatusBadRequest},
	{ledger.ErrUnavailable, http.StatusServiceUnavailable},
	{token.ErrUnknownKey, http.StatusNotFound},
}

// apiError gives an error its HTTP status.
func apiError(err error) error {
	var known caddy.APIError
	switch {
	case err == nil, errors.As(err, &known):
		return err
	case errors.Is(err, ledger.ErrNotFound):
		return refuse(http.StatusNotFound, "no such purchase: give its reference, or the full id of a session or a payment")
	}
	for _, known := range errorStatuses {
		if errors.Is(err, known.err) {
			return caddy.APIError{HTTPStatus: known.status, Err: err}
		}
	}
	return caddy.APIError{HTTPStatus: http.StatusInternalServerError, Err: err}
}
