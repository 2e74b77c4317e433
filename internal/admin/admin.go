// Package admin is the operators' HTTP API, which Caddy serves below /axra/ on its admin endpoint. Whoever may use
// that endpoint may load any configuration, so only keys and secrets are withheld.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/token"
	"github.com/caddy-axra/paywall/webhook"
)

// API serves the operations.
type API struct {
	Ledger   Ledger
	Database Database
	Keys     Keys
	Gates    Gates
	Webhooks Webhooks

	// Maintenance is held by a sweep, an import or a restore.
	Maintenance *sync.Mutex
	// Keep is how long purchases are kept after their access has ended; negative: forever.
	Keep time.Duration
	// Reload reads the keys and the change feed again after the ledger was replaced.
	Reload func(context.Context) error
	Logger *zap.Logger
	Now    func() time.Time
}

// Ledger reads and changes purchases.
type Ledger interface {
	Find(ctx context.Context, text string) (purchaseIDs []string, err error)
	Reference(ctx context.Context, purchaseID string) (string, error)
	Holding(ctx context.Context, purchaseID string) (ledger.Holding, error)
	Details(ctx context.Context, purchaseID string) (ledger.Details, error)
	List(ctx context.Context, filter ledger.Filter) iter.Seq2[ledger.Listed, error]
	Report(ctx context.Context, from, to time.Time) (ledger.Report, error)
	Give(ctx context.Context, payment ledger.Payment) (ledger.Purchase, error)
	Decide(ctx context.Context, purchaseID string, kind ledger.DecisionKind, note string) (ledger.Purchase, error)
	RemoveDevice(ctx context.Context, purchaseID, deviceID string) error
}

// Database is the ledger as a whole.
type Database interface {
	Path() string // of its file; empty: it has none
	Sweep(ctx context.Context, before time.Time) (ledger.Swept, error)
	Export(ctx context.Context, w io.Writer) (rows int, err error)
	Import(ctx context.Context, r io.Reader) (ledger.Imported, error)
	Backup(ctx context.Context, w io.Writer) error
	Restore(ctx context.Context, backup string) (ledger.Restored, error)
}

// Keys are the signing keys.
type Keys interface {
	// Ready reports whether the keys are loaded; it may wait a moment for them.
	Ready(ctx context.Context) bool
	Installation() string
	List() []token.KeyInfo
	Rotate(ctx context.Context) (kid string, err error)
	// Remove wraps token.ErrUnknownKey if there is no such key.
	Remove(ctx context.Context, kid string) error
}

// Webhooks verifies and records events.
type Webhooks interface {
	Verify(header http.Header, body []byte) error
	Record(ctx context.Context, event webhook.Event) (outcome string, err error)
	Rejected() []webhook.Captured
}

// maxBody bounds a JSON request in bytes.
const maxBody = 256 << 10

type handler func(http.ResponseWriter, *http.Request) error

func (a *API) handlers() map[Endpoint]handler {
	handlers := map[Endpoint]handler{
		ListPurchases.Endpoint: a.withoutDeadline(a.listPurchases),
		Export.Endpoint:        a.withoutDeadline(a.export),
		Import.Endpoint:        a.withoutDeadline(drained(a.importRows)),
		Backup.Endpoint:        a.withoutDeadline(a.backup),
		RestoreBackup.Endpoint: a.withoutDeadline(drained(a.restoreBackup)),
		GetReport.Endpoint:     a.withoutDeadline(answers(GetReport, a.report)),
		Sweep.Endpoint:         a.withoutDeadline(answers(Sweep, a.sweep)),
	}
	add(handlers, ShowPurchase, a.showPurchase)
	add(handlers, Revoke, a.revoke)
	add(handlers, Restore, a.restore)
	add(handlers, RemoveDevice, a.removeDevice)
	add(handlers, Give, a.give)
	add(handlers, MakeLink, a.makeLink)
	add(handlers, ListKeys, a.listKeys)
	add(handlers, RotateKeys, a.rotateKeys)
	add(handlers, RemoveKey, a.removeKey)
	add(handlers, ReplayWebhook, a.replayWebhook)
	add(handlers, RejectedWebhooks, a.rejectedWebhooks)
	return handlers
}

func add[Request, Answer any](to map[Endpoint]handler, o Operation[Request, Answer], do func(context.Context, Request) (Answer, error)) {
	to[o.Endpoint] = answers(o, do)
}

// answers decodes the request of an operation and encodes its answer.
func answers[Request, Answer any](_ Operation[Request, Answer], do func(context.Context, Request) (Answer, error)) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		var request Request
		if err := readRequest(w, r, &request); err != nil {
			return err
		}
		answer, err := do(r.Context(), request)
		if err != nil {
			return err
		}
		return writeJSON(w, answer)
	}
}

func writeJSON(w http.ResponseWriter, answer any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(answer)
}

// ServeHTTP serves one call; an error is for Caddy to write.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	handlers := a.handlers()
	path := strings.TrimPrefix(r.URL.Path, Base)
	if serve, ok := handlers[Endpoint{r.Method, path}]; ok {
		return apiError(serve(w, r))
	}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		if handlers[Endpoint{method, path}] != nil {
			w.Header().Set("Allow", method)
			return refuse(http.StatusMethodNotAllowed, "%s takes %s", r.URL.Path, method)
		}
	}
	return refuse(http.StatusNotFound, "there is no %s", r.URL.Path)
}

// readRequest decodes the query of a GET, or else the JSON body.
func readRequest(w http.ResponseWriter, r *http.Request, into any) error {
	if _, ok := into.(*None); ok {
		return nil
	}
	if r.Method == http.MethodGet {
		query := make(map[string]string)
		for name := range r.URL.Query() {
			query[name] = r.URL.Query().Get(name)
		}
		raw, err := json.Marshal(query)
		return errors.Join(err, json.Unmarshal(raw, into))
	}
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	body.DisallowUnknownFields()
	if err := body.Decode(into); err != nil {
		return refuse(http.StatusBadRequest, "reading the request: %w", err)
	}
	if _, err := body.Token(); !errors.Is(err, io.EOF) {
		return refuse(http.StatusBadRequest, "reading the request: there is more than one JSON value")
	}
	return nil
}

// withoutDeadline lifts the ten seconds after which Caddy's admin endpoint cancels a request, also while it is
// answered.
func (a *API) withoutDeadline(serve handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil {
			a.Logger.Warn("a long call of the admin API may be cut off", zap.Error(err))
		}
		return serve(w, r)
	}
}

// refuse is an error with its HTTP status.
func refuse(status int, format string, args ...any) error {
	return caddy.APIError{HTTPStatus: status, Err: fmt.Errorf(format, args...)}
}

// apiError gives an error of the ledger its HTTP status.
func apiError(err error) error {
	var known caddy.APIError
	switch {
	case err == nil, errors.As(err, &known):
		return err
	case errors.Is(err, ledger.ErrNotFound):
		return refuse(http.StatusNotFound, "no such purchase: give its reference, or the full id of a session or a payment")
	}
	status := http.StatusInternalServerError
	for _, each := range []struct {
		is     error
		status int
	}{
		{ErrMaintenance, http.StatusConflict},
		{ledger.ErrUnchanged, http.StatusConflict},
		{ledger.ErrNotEmpty, http.StatusConflict},
		{ledger.ErrNoFile, http.StatusConflict},
		{ledger.ErrNotExport, http.StatusBadRequest},
		{ledger.ErrNotBackup, http.StatusBadRequest},
		{ledger.ErrUnavailable, http.StatusServiceUnavailable},
	} {
		if errors.Is(err, each.is) {
			status = each.status
			break
		}
	}
	return caddy.APIError{HTTPStatus: status, Err: err}
}
