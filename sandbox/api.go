package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/mail"
	"regexp"
	"strconv"
	"time"
)

// APIPrefix is where the API lives. [authentication]
const APIPrefix = "/api/v1"

// The routes of the API, as Call.Route and CallCount name them.
const (
	RouteSession = "POST " + APIPrefix + "/business/payment/session"
	RouteToken   = "POST " + APIPrefix + "/business/auth/token"
	RouteConfig  = "PUT " + APIPrefix + "/business/config"
	// RouteUnknown counts every call to anything else.
	RouteUnknown = "unknown"
)

const (
	maxAPIBody = 64 << 10

	defaultExpiresIn = 1800
	minExpiresIn     = 300
	// maxExpiresIn is not documented; it keeps the arithmetic in range.
	maxExpiresIn = 100 * 366 * 24 * 3600
)

// apiError is an answer other than 2xx.
type apiError struct {
	Status  int    `json:"-"`
	Code    string `json:"code"`
	Message string `json:"message"`
	Field   string `json:"field,omitempty"`
}

func (e *apiError) Error() string { return e.Message }

func fieldError(field string, err error) *apiError {
	return &apiError{http.StatusBadRequest, "validation_error", field + ": " + err.Error(), field}
}

// sessionAnswer is the response to RouteSession. [payments/checkout-sessions]
type sessionAnswer struct {
	SessionID   string      `json:"sessionId"`
	CheckoutURL string      `json:"checkoutUrl"`
	ExpiresAt   string      `json:"expiresAt"`
	Amount      json.Number `json:"amount"`
	Currency    string      `json:"currency"`
}

// serveAPI reads the body, logs the call, and lets the fault in force decide
// whether the API gets to see it.
func (s *Sandbox) serveAPI(w http.ResponseWriter, r *http.Request) {
	body, readErr := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAPIBody))
	if s.isClosed() {
		writeError(w, &apiError{Status: http.StatusServiceUnavailable, Code: "unavailable", Message: ErrClosed.Error()})
		return
	}
	call, fault := s.logCall(r, body)
	out := &statusWriter{ResponseWriter: w}
	defer func() { s.logStatus(call, out.status) }()
	if readErr != nil {
		writeError(out, &apiError{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Message: "the request body cannot be read"})
		return
	}
	s.serveWithFault(fault, out, r, body)
}

// callAPI is the API without faults. It returns the status and the answer.
func (s *Sandbox) callAPI(r *http.Request, body []byte) (int, any, error) {
	switch route(r) {
	case RouteToken: // the only one that needs no authentication
		answer, err := s.issueToken(body)
		return http.StatusOK, answer, err
	case RouteSession:
		if err := s.authenticate(r); err != nil {
			return 0, nil, err
		}
		answer, err := s.createSession(r, body)
		return http.StatusCreated, answer, err
	case RouteConfig:
		if err := s.authenticate(r); err != nil {
			return 0, nil, err
		}
		answer, err := s.updateBusiness(body)
		return http.StatusOK, answer, err
	}
	return 0, nil, &apiError{Status: http.StatusNotFound, Code: "not_found", Message: "no such endpoint"}
}

// route names the API route of a request, or RouteUnknown.
func route(r *http.Request) string {
	switch name := r.Method + " " + r.URL.Path; name {
	case RouteSession, RouteToken, RouteConfig:
		return name
	}
	return RouteUnknown
}

// wrap puts the data into the envelope of the API reference. [authentication]
func (s *Sandbox) wrap(data any) any {
	if s.cfg.BareResponses {
		return data
	}
	return map[string]any{"success": true, "data": data}
}

func errorAnswer(err error) (status int, answer any) {
	var known *apiError
	if !errors.As(err, &known) {
		known = &apiError{Status: http.StatusInternalServerError, Code: "internal", Message: err.Error()}
	}
	return known.Status, map[string]any{"success": false, "error": known}
}

func writeError(w http.ResponseWriter, err error) {
	status, answer := errorAnswer(err)
	writeJSON(w, status, answer)
}

func writeJSON(w http.ResponseWriter, status int, data any) {
	body, err := encodeJSON(data)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone; there is nobody to tell
}

// encodeJSON leaves <, > and & alone, as other languages' encoders do.
func encodeJSON(data any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(data); err != nil {
		return nil, fmt.Errorf("encoding JSON: %w", err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// fields is a JSON object whose members are checked one by one, so that an
// error can name its field.
type fields map[string]json.RawMessage

func parseFields(body []byte) (fields, error) {
	var f fields
	if err := json.Unmarshal(body, &f); err != nil || f == nil {
		return nil, &apiError{Status: http.StatusBadRequest, Code: "bad_json", Message: "the body must be a JSON object"}
	}
	for name, raw := range f {
		if string(raw) == "null" {
			delete(f, name) // null is as good as absent
		}
	}
	return f, nil
}

// text reads a string; check sees it only when it is there.
func (f fields) text(name string, required bool, check func(string) error) (string, error) {
	raw, ok := f[name]
	if !ok {
		if required {
			return "", fieldError(name, errors.New("is required"))
		}
		return "", nil
	}
	var value string
	if err := json.Unmarshal(raw, &value); err != nil {
		return "", fieldError(name, errors.New("must be a string"))
	}
	if check != nil {
		if err := check(value); err != nil {
			return "", fieldError(name, err)
		}
	}
	return value, nil
}

func (f fields) amount() (json.Number, error) {
	raw, ok := f["amount"]
	if !ok {
		return "", fieldError("amount", errors.New("is required"))
	}
	amount, err := parseAmount(raw)
	if err != nil {
		return "", fieldError("amount", err)
	}
	return amount, nil
}

var integerPattern = regexp.MustCompile(`^[0-9]{1,10}$`)

func (f fields) expiresIn() (time.Duration, error) {
	raw, ok := f["expiresIn"]
	if !ok {
		return defaultExpiresIn * time.Second, nil
	}
	if !integerPattern.Match(raw) {
		return 0, fieldError("expiresIn", errors.New("must be a whole number of seconds"))
	}
	seconds, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || seconds < minExpiresIn || seconds > maxExpiresIn {
		return 0, fieldError("expiresIn", fmt.Errorf("must be at least %d", minExpiresIn))
	}
	return time.Duration(seconds) * time.Second, nil
}

func (f fields) metadata() (map[string]json.RawMessage, error) {
	raw, ok := f["metadata"]
	if !ok {
		return nil, nil
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fieldError("metadata", errors.New("must be an object"))
	}
	return m, nil
}

func checkCurrency(code string) error {
	if !isCurrency(code) {
		return fmt.Errorf("%q is not a lowercase ISO 4217 code", code)
	}
	return nil
}

func checkEmail(address string) error {
	parsed, err := mail.ParseAddress(address)
	if err != nil || parsed.Address != address {
		return errors.New("must be an e-mail address")
	}
	return nil
}

// createSession validates in the order of the documentation's table, so that
// the first wrong field is the one named. [payments/checkout-sessions]
func (s *Sandbox) createSession(r *http.Request, body []byte) (*sessionAnswer, error) {
	f, err := parseFields(body)
	if err != nil {
		return nil, err
	}
	rec := &session{}
	if rec.Amount, err = f.amount(); err != nil {
		return nil, err
	}
	if rec.Currency, err = f.text("currency", true, checkCurrency); err != nil {
		return nil, err
	}
	if rec.SuccessURL, err = f.text("successUrl", true, checkURL); err != nil {
		return nil, err
	}
	if rec.CancelURL, err = f.text("cancelUrl", false, checkURL); err != nil {
		return nil, err
	}
	if rec.Description, err = f.text("description", false, nil); err != nil {
		return nil, err
	}
	if rec.CustomerEmail, err = f.text("customerEmail", false, checkEmail); err != nil {
		return nil, err
	}
	lifetime, err := f.expiresIn()
	if err != nil {
		return nil, err
	}
	given, err := f.metadata()
	if err != nil {
		return nil, err
	}
	s.openSession(rec, s.baseURL(r), lifetime, given)
	return &sessionAnswer{
		SessionID:   rec.ID,
		CheckoutURL: rec.CheckoutURL,
		ExpiresAt:   isoTime(rec.ExpiresAt),
		Amount:      rec.Amount,
		Currency:    rec.Currency,
	}, nil
}

// openSession completes a validated session and remembers it.
func (s *Sandbox) openSession(rec *session, base string, lifetime time.Duration, given map[string]json.RawMessage) {
	rec.ID = "cs_" + newSecret()
	rec.Token = newSecret()
	rec.CheckoutURL = base + "/checkout/" + rec.ID + "?token=" + rec.Token
	rec.Status = StatusOpen
	rec.CreatedAt = s.now()
	rec.ExpiresAt = rec.CreatedAt.Add(lifetime)
	// The webhook's metadata holds the session's id beside what was given. [manage/webhooks]
	rec.Metadata = map[string]json.RawMessage{}
	for name, value := range given {
		rec.Metadata[name] = value
	}
	rec.Metadata["sessionId"] = json.RawMessage(strconv.Quote(rec.ID))

	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions.add(rec.ID, rec)
	s.changed()
	s.log.Info("checkout session created", "session", rec.ID, "amount", rec.Amount, "currency", rec.Currency)
}

// updateBusiness sets the business's one webhook URL. [manage/webhooks]
func (s *Sandbox) updateBusiness(body []byte) (map[string]string, error) {
	f, err := parseFields(body)
	if err != nil {
		return nil, err
	}
	target, err := f.text("webhookUrl", true, checkURL)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.webhookURL, s.configuredURL = target, target
	s.changed()
	return map[string]string{"webhookUrl": target}, nil
}

func (s *Sandbox) baseURL(r *http.Request) string {
	if s.cfg.BaseURL != "" {
		return s.cfg.BaseURL
	}
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func (s *Sandbox) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// isoTime is ISO 8601 with milliseconds, as JavaScript writes it.
func isoTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
