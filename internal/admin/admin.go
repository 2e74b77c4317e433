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
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
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
	// Page finds what opens an address; the error tells the operator what is wrong with it.
	Page func(address string) (Page, error)
	// Link opens a purchase at a page, in one more browser.
	Link func(page Page, purchase ledger.Purchase, expires time.Time) (string, error)

	VerifyWebhook    func(header http.Header, body []byte) error
	RecordEvent      func(context.Context, webhook.Event) (payments.Outcome, error)
	RejectedWebhooks func() []webhook.Captured
	InspectWebhook   func(webhook.Captured) webhook.Report

	Maintenance *sync.Mutex                 // held by a sweep, an import or a restore
	Keep        time.Duration               // of purchases after their access has ended; negative: forever
	Reload      func(context.Context) error // reads the keys and the change feed again after the ledger was replaced
	Logger      *zap.Logger
	Now         func() time.Time
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
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return apiError(Operations[i].serve(a, w, r))
}

// endpoint serves an operation.
type endpoint struct {
	// NewRequest and NewAnswer return pointers to new ones; nil where that is a file. The fields of a request are
	// arguments of the command, or flags, which have the tag `help`.
	NewRequest, NewAnswer func() any

	serve func(*API, http.ResponseWriter, *http.Request) error
}

// maxBody bounds a JSON request in bytes.
const maxBody = 256 << 10

func empty[T any]() any { return new(T) }

// answers makes an endpoint that takes and answers JSON. What a request lacks is as in the defaults.
func answers[Request, Answer any](do func(*API, context.Context, Request) (Answer, error), defaults Request) endpoint {
	newRequest := func() any { request := defaults; return &request }
	return endpoint{newRequest, empty[Answer], func(a *API, w http.ResponseWriter, r *http.Request) error {
		body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
		body.DisallowUnknownFields()
		request := defaults
		if err := body.Decode(&request); err != nil && !errors.Is(err, io.EOF) { // nothing at all is an empty request
			return refuse(http.StatusBadRequest, "reading the request: %w", err)
		}
		answer, err := do(a, r.Context(), request)
		if err != nil {
			return err
		}
		return writeJSON(w, answer)
	}}
}

// asFile has the JSON of an answer written to a file.
func asFile(e endpoint) endpoint { return endpoint{NewRequest: e.NewRequest, serve: e.serve} }

// downloads makes an endpoint that answers with a file.
func downloads(write func(*ledger.Ledger, context.Context, io.Writer) error) endpoint {
	return endpoint{NewRequest: empty[struct{}], serve: func(a *API, w http.ResponseWriter, r *http.Request) error {
		out := caddyhttp.NewResponseRecorder(w, nil, nil)
		err := write(a.Ledger, r.Context(), out)
		if err != nil && out.Size() > 0 { // breaking the connection tells the client
			a.Logger.Error("an answer of the admin API was cut off", zap.Error(err))
			_ = http.NewResponseController(w).Flush() // or else the client would see no answer at all
			panic(http.ErrAbortHandler)
		}
		return err
	}}
}

// uploads makes an endpoint that replaces the ledger by what a file holds.
func uploads[Answer any](replace func(*ledger.Ledger, context.Context, io.Reader) (Answer, error)) endpoint {
	return endpoint{nil, empty[Answer], func(a *API, w http.ResponseWriter, r *http.Request) error {
		// A client that is still sending would not read the answer.
		defer func() { _, _ = io.Copy(io.Discard, r.Body) }()
		if !a.Maintenance.TryLock() {
			return ErrMaintenance
		}
		defer a.Maintenance.Unlock()
		ctx := context.WithoutCancel(r.Context()) // a client that leaves must not stop a swap half-way
		answer, err := replace(a.Ledger, ctx, r.Body)
		if err != nil {
			return err
		}
		if err := a.Reload(ctx); err != nil {
			return fmt.Errorf("the ledger was replaced, but cannot be read: restart Caddy: %w", err)
		}
		return writeJSON(w, answer)
	}}
}

func writeJSON(w http.ResponseWriter, answer any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(answer)
}

// refuse is an error with its HTTP status.
func refuse(status int, format string, args ...any) error {
	return caddy.APIError{HTTPStatus: status, Err: fmt.Errorf(format, args...)}
}

// ErrMaintenance means that a sweep, an import or a restore is under way.
var ErrMaintenance = errors.New("a sweep or an import is under way: try again when it has ended")

// apiError gives an error its HTTP status.
func apiError(err error) error {
	is := func(target error) bool { return errors.Is(err, target) }
	status := http.StatusInternalServerError
	switch refused := (caddy.APIError{}); {
	case err == nil, errors.As(err, &refused):
		return err
	case is(ErrMaintenance), is(ledger.ErrNotEmpty):
		status = http.StatusConflict
	case is(ledger.ErrNotExport):
		status = http.StatusBadRequest
	case is(ledger.ErrNotFound), is(token.ErrUnknownKey):
		status = http.StatusNotFound
	case is(ledger.ErrUnavailable):
		status = http.StatusServiceUnavailable
	}
	return refuse(status, "%w", err)
}
