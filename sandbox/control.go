package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
)

// maxControlBody bounds what the JSON control reads; events of 1 MB, as a test
// of body limits sends them, fit in.
const maxControlBody = 4 << 20

// controlRoutes is the sandbox by JSON. Lists are objects with one array, oldest
// first; an error is {"error":"…"} with 400, 404, 409 or 503.
//
//	GET  /sandbox/sessions|payments|collections|deliveries   {"sessions":[…]} and so on
//	GET  /sandbox/sessions/{id}
//	GET  /sandbox/calls                      {"total":n,"counts":{"POST /api/v1/…":n},"calls":[…]}
//	POST /sandbox/sessions/{id}/pay          PayWith → Outcome
//	POST /sandbox/sessions/{id}/cancel       → {"redirect":"…"}
//	POST /sandbox/sessions/{id}/expire
//	POST /sandbox/payments/{id}/refund|dispute|win|lose|settle
//	POST /sandbox/collections/{id}/complete|fail|expire
//	POST /sandbox/deliveries/{id}/resend
//	GET, POST /sandbox/webhooks              {"hold":b,"duplicate":n,"shuffle":b,"url":"…","secret":"…"}
//	GET, POST /sandbox/faults                Fault
//	POST /sandbox/events                     {"body":…} or {"raw":"base64"}, "secret", "header" → {"deliveries":[id]}
//	POST /sandbox/reset
func (s *Sandbox) controlRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /sandbox/style.css", serveStyle)
	mux.HandleFunc("GET /sandbox/sessions", s.listSessions)
	mux.HandleFunc("GET /sandbox/sessions/{id}", s.getSession)
	mux.HandleFunc("GET /sandbox/payments", s.listPayments)
	mux.HandleFunc("GET /sandbox/collections", s.listCollections)
	mux.HandleFunc("GET /sandbox/deliveries", s.listDeliveries)
	mux.HandleFunc("GET /sandbox/calls", s.listCalls)
	mux.HandleFunc("GET /sandbox/webhooks", s.getMode)
	mux.HandleFunc("GET /sandbox/faults", s.getFault)

	mux.HandleFunc("POST /sandbox/sessions/{id}/pay", s.postPay)
	mux.HandleFunc("POST /sandbox/sessions/{id}/cancel", s.postCancel)
	mux.HandleFunc("POST /sandbox/sessions/{id}/{action}", s.sessionActions().serveJSON)
	mux.HandleFunc("POST /sandbox/payments/{id}/{action}", s.paymentActions().serveJSON)
	mux.HandleFunc("POST /sandbox/collections/{id}/{action}", s.collectionActions().serveJSON)
	mux.HandleFunc("POST /sandbox/deliveries/{id}/{action}", s.deliveryActions().serveJSON)
	mux.HandleFunc("POST /sandbox/webhooks", s.postMode)
	mux.HandleFunc("POST /sandbox/faults", s.postFault)
	mux.HandleFunc("POST /sandbox/events", s.postEvent)
	mux.HandleFunc("POST /sandbox/reset", s.postReset)
}

// actions are what can be done to a thing with an id, by name.
type actions map[string]func(id string) error

func (s *Sandbox) paymentActions() actions {
	return actions{"refund": s.Refund, "dispute": s.Dispute, "win": s.Win, "lose": s.Lose, "settle": s.Settle}
}

func (s *Sandbox) collectionActions() actions {
	return actions{"complete": s.CompleteCollection, "fail": s.FailCollection, "expire": s.ExpireCollection}
}

func (s *Sandbox) sessionActions() actions { return actions{"expire": s.ExpireSession} }

func (s *Sandbox) deliveryActions() actions { return actions{"resend": s.Resend} }

// do does the path's action to the path's id.
func (a actions) do(r *http.Request) error {
	name := r.PathValue("action")
	action, ok := a[name]
	if !ok {
		return fmt.Errorf("action %q: %w", name, ErrNotFound)
	}
	return action(r.PathValue("id"))
}

func (a actions) serveJSON(w http.ResponseWriter, r *http.Request) {
	answerDone(w, a.do(r))
}

func answerDone(w http.ResponseWriter, err error) {
	if err != nil {
		controlError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]bool{"ok": true})
}

func controlError(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, ErrNotFound):
		status = http.StatusNotFound
	case errors.Is(err, ErrConflict):
		status = http.StatusConflict
	case errors.Is(err, ErrInvalid):
		status = http.StatusBadRequest
	case errors.Is(err, ErrClosed):
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, map[string]string{"error": err.Error()})
}

func (s *Sandbox) listSessions(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{"sessions": s.Sessions()})
}

func (s *Sandbox) getSession(w http.ResponseWriter, r *http.Request) {
	sess, err := s.Session(r.PathValue("id"))
	if err != nil {
		controlError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, sess)
}

func (s *Sandbox) listPayments(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{"payments": s.Payments()})
}

func (s *Sandbox) listCollections(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{"collections": s.Collections()})
}

// deliveryView adds the decoded body to the exact bytes.
type deliveryView struct {
	Delivery
	Payload json.RawMessage `json:"payload,omitempty"`
}

func (s *Sandbox) listDeliveries(w http.ResponseWriter, _ *http.Request) {
	list := s.Deliveries()
	views := make([]deliveryView, len(list))
	for i, d := range list {
		views[i].Delivery = d
		if json.Valid(d.Body) {
			views[i].Payload = d.Body
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"deliveries": views})
}

func (s *Sandbox) listCalls(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	total, counts := s.served, maps.Clone(s.counts)
	s.mu.Unlock()
	writeJSON(w, http.StatusOK, map[string]any{"total": total, "counts": counts, "calls": s.Calls()})
}

func (s *Sandbox) postPay(w http.ResponseWriter, r *http.Request) {
	var with PayWith
	if err := readJSON(w, r, &with); err != nil {
		controlError(w, err)
		return
	}
	out, err := s.Pay(r.PathValue("id"), with)
	if err != nil {
		controlError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, out)
}

func (s *Sandbox) postCancel(w http.ResponseWriter, r *http.Request) {
	target, err := s.CancelSession(r.PathValue("id"))
	if err != nil {
		controlError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"redirect": target})
}

// webhookSettings is what /sandbox/webhooks reads and answers. A field that is
// absent from a request stays as it is.
type webhookSettings struct {
	Hold    *bool   `json:"hold"`
	Copies  *int    `json:"duplicate"`
	Shuffle *bool   `json:"shuffle"`
	URL     *string `json:"url"`
	Secret  *string `json:"secret,omitempty"` // never answered
}

func (s *Sandbox) getMode(w http.ResponseWriter, _ *http.Request) {
	mode, target := s.Mode(), s.WebhookURL()
	writeJSON(w, http.StatusOK, webhookSettings{Hold: &mode.Hold, Copies: &mode.Copies, Shuffle: &mode.Shuffle, URL: &target})
}

func (s *Sandbox) postMode(w http.ResponseWriter, r *http.Request) {
	var set webhookSettings
	if err := readJSON(w, r, &set); err != nil {
		controlError(w, err)
		return
	}
	if err := s.apply(set); err != nil {
		controlError(w, err)
		return
	}
	s.getMode(w, r)
}

func (s *Sandbox) apply(set webhookSettings) error {
	if set.URL != nil {
		if err := s.SetWebhookURL(*set.URL); err != nil {
			return err
		}
	}
	if set.Secret != nil {
		if err := s.SetWebhookSecret(*set.Secret); err != nil {
			return err
		}
	}
	mode := s.Mode()
	if set.Hold != nil {
		mode.Hold = *set.Hold
	}
	if set.Copies != nil {
		mode.Copies = *set.Copies
	}
	if set.Shuffle != nil {
		mode.Shuffle = *set.Shuffle
	}
	return s.SetMode(mode)
}

func (s *Sandbox) getFault(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.Fault())
}

func (s *Sandbox) postFault(w http.ResponseWriter, r *http.Request) {
	var f Fault
	if err := readJSON(w, r, &f); err != nil {
		controlError(w, err)
		return
	}
	if err := s.SetFault(f); err != nil {
		controlError(w, err)
		return
	}
	s.getFault(w, r)
}

// eventRequest is what /sandbox/events reads: the body as JSON, whose bytes are
// sent as they stand, or as base64 for bytes that are no JSON.
type eventRequest struct {
	Body   json.RawMessage   `json:"body"`
	Raw    []byte            `json:"raw"`
	Secret string            `json:"secret"`
	Header map[string]string `json:"header"`
}

func (s *Sandbox) postEvent(w http.ResponseWriter, r *http.Request) {
	var req eventRequest
	if err := readJSON(w, r, &req); err != nil {
		controlError(w, err)
		return
	}
	if (req.Body == nil) == (req.Raw == nil) {
		controlError(w, fmt.Errorf("give either body or raw: %w", ErrInvalid))
		return
	}
	body := req.Raw
	if body == nil {
		body = req.Body
	}
	ids, err := s.Send(Event{Body: body, Secret: req.Secret, Header: req.Header})
	if err != nil {
		controlError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"deliveries": ids})
}

func (s *Sandbox) postReset(w http.ResponseWriter, _ *http.Request) {
	s.Reset()
	answerDone(w, nil)
}

// readJSON reads one JSON object and refuses fields it does not know: a typing
// error in a test should not pass for a default.
func readJSON(w http.ResponseWriter, r *http.Request, into any) error {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxControlBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("reading JSON: %w", errors.Join(ErrInvalid, err))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("trailing data: %w", ErrInvalid)
	}
	return nil
}
