package paywall

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/webhook"
)

func (a *App) adminReport(w http.ResponseWriter, r *http.Request) error {
	from, to, err := timesOf(r)
	if err != nil {
		return err
	}
	if to.IsZero() {
		to = now()
	}
	report, err := a.archive.Report(r.Context(), from, to)
	if err != nil {
		return ledgerError(err)
	}
	return writeAdmin(w, report)
}

func (a *App) adminSweep(w http.ResponseWriter, r *http.Request) error {
	if a.Keep < 0 {
		return adminError(http.StatusConflict, errors.New("with `keep forever` nothing is swept"))
	}
	swept, err := a.sweep(r.Context())
	if err != nil {
		return ledgerError(err)
	}
	return writeAdmin(w, swept)
}

func (a *App) adminExport(w http.ResponseWriter, r *http.Request) error {
	if err := a.keysLoaded(r.Context()); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/jsonl")
	done, err := a.archive.Export(r.Context(), w, a.keyring.Installation(), now())
	if err != nil {
		// Half of it is on its way: without its last line it is refused by an import.
		a.logger.Error("the ledger could not be exported", zap.Error(err))
		return nil
	}
	a.logger.Info("ledger exported", zap.Int("records", done.Records), zap.Int("unreadable", done.Garbled))
	return nil
}

// imported is what an import did.
type imported struct {
	Records int `json:"records"` // new here
	Known   int `json:"known"`   // there already
	// Conflicts are places and decisions that are others' here, and were settled.
	Conflicts int `json:"conflicts"`
	Garbled   int `json:"garbled"` // missing in the export, since they could not be read
	// Elsewhere: they come from another installation, whose keyring is needed for the
	// cookies of its visitors.
	Elsewhere bool `json:"elsewhere,omitempty"`
}

func (a *App) adminImport(w http.ResponseWriter, r *http.Request) error {
	if err := a.keysLoaded(r.Context()); err != nil {
		return err
	}
	// Caddy's admin endpoint gives a request ten seconds.
	if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil {
		a.logger.Warn("a long import may be cut off", zap.Error(err))
	}
	release, err := a.holdSweeps(r.Context())
	if err != nil {
		return ledgerError(err)
	}
	defer release()
	done, err := a.archive.Import(r.Context(), r.Body)
	if err != nil {
		return ledgerError(fmt.Errorf("%d records were imported, then: %w", done.Records, err))
	}
	a.logger.Info("ledger imported", zap.Int("records", done.Records), zap.Int("known", done.Known), zap.Int("conflicts", done.Conflicts))
	return writeAdmin(w, imported{
		Records: done.Records, Known: done.Known, Conflicts: done.Conflicts, Garbled: done.Garbled,
		Elsewhere: done.Installation != a.keyring.Installation(),
	})
}

// replayRequest is an event that Axra sent, or should have sent.
type replayRequest struct {
	Body []byte `json:"body"` // base64
	// Header are those of the request, if they are known.
	Header http.Header `json:"header,omitempty"`
	// Trust takes a body without a good signature for an event of Axra. The operator
	// answers for it.
	Trust bool `json:"trust,omitempty"`
}

// replayed is what became of it.
type replayed struct {
	Event   string `json:"event"`
	Outcome string `json:"outcome"`
	Session string `json:"session,omitempty"`
	Signed  bool   `json:"signed"`
}

// adminReplay takes an event as if it had come to the webhook.
func (a *App) adminReplay(w http.ResponseWriter, r *http.Request) error {
	var asked replayRequest
	if err := readAdmin(w, r, &asked); err != nil {
		return err
	}
	body, unsigned := a.signedBody(asked)
	if unsigned != nil && !asked.Trust {
		return adminError(http.StatusForbidden, fmt.Errorf("%w; where you know that it comes from Axra, add --trust", unsigned))
	}
	event, err := webhook.Decode(body)
	if err != nil {
		return adminError(http.StatusBadRequest, err)
	}
	outcome, err := a.take(r.Context(), event)
	if err != nil {
		return adminError(http.StatusServiceUnavailable, err)
	}
	if unsigned != nil {
		a.logger.Warn("the operator had an event taken without a good signature",
			zap.String("event", string(event.Type)), zap.String("session", shorten(event.Session)), zap.String("outcome", outcome))
	}
	return writeAdmin(w, replayed{Event: string(event.Type), Outcome: outcome, Session: event.Session, Signed: unsigned == nil})
}

// signedBody is the reading of the body that is signed; without one, the body as it is
// and why it is not.
func (a *App) signedBody(asked replayRequest) (body []byte, unsigned error) {
	for _, reading := range (webhook.Captured{Header: asked.Header, Body: asked.Body}).Bodies() {
		err := a.verifier.Verify(asked.Header, reading.Bytes)
		if err == nil {
			return reading.Bytes, nil
		}
		if unsigned == nil {
			unsigned = err
		}
	}
	return asked.Body, unsigned
}
