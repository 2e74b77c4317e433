package sandbox

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// FaultKind names a way in which the API misbehaves.
type FaultKind string

// The faults. Those that change the answer (slow, truncated, wrong-host,
// wrong-scheme, expired, absurd-expiry) let the API do its work first; the
// others keep the call from it.
const (
	FaultNone         FaultKind = "none"
	FaultHang         FaultKind = "hang" // no answer until the client goes away or Close
	FaultSlow         FaultKind = "slow" // the right answer, a byte per Fault.Pace
	FaultUnauthorized FaultKind = "401"
	FaultTooMany      FaultKind = "429" // with Retry-After
	FaultInternal     FaultKind = "500"
	FaultUnavailable  FaultKind = "503"
	FaultGarbage      FaultKind = "garbage"       // 200 and an HTML page
	FaultTruncated    FaultKind = "truncated"     // the first half of the right answer
	FaultHuge         FaultKind = "huge"          // 100 MB of JSON
	FaultRedirect     FaultKind = "redirect"      // 307 to another path of the API, which logs whoever follows
	FaultReset        FaultKind = "reset"         // the connection is reset
	FaultWrongHost    FaultKind = "wrong-host"    // checkoutUrl on another host
	FaultWrongScheme  FaultKind = "wrong-scheme"  // checkoutUrl that is a javascript: URL
	FaultExpired      FaultKind = "expired"       // expiresAt in the past
	FaultAbsurdExpiry FaultKind = "absurd-expiry" // expiresAt in the year 9999
)

// FaultKinds lists every kind, FaultNone first.
func FaultKinds() []FaultKind {
	return []FaultKind{
		FaultNone, FaultHang, FaultSlow, FaultUnauthorized, FaultTooMany, FaultInternal, FaultUnavailable,
		FaultGarbage, FaultTruncated, FaultHuge, FaultRedirect, FaultReset, FaultWrongHost, FaultWrongScheme,
		FaultExpired, FaultAbsurdExpiry,
	}
}

// Fault is how the API misbehaves. It does not touch the checkout, the
// dashboard or the control.
type Fault struct {
	Kind FaultKind `json:"kind"`
	// Times is how many API calls meet the fault; then the API is well again.
	// Zero means all calls until SetFault says otherwise.
	Times int `json:"times"`
	// RetryAfter is the header's value with FaultTooMany and FaultUnavailable. It
	// defaults to "30" with the former and to no header with the latter.
	RetryAfter string `json:"retryAfter,omitempty"`
	// Pace is the pause before each byte with FaultSlow; it defaults to 1 s. In
	// JSON it is a number of nanoseconds.
	Pace time.Duration `json:"pace,omitempty"`
}

const (
	hugeBytes = 100 << 20
	slowPace  = time.Second
)

// SetFault makes the API misbehave from the next call on; FaultNone heals it.
func (s *Sandbox) SetFault(f Fault) error {
	f.Kind = or(f.Kind, FaultNone)
	if !slices.Contains(FaultKinds(), f.Kind) {
		return fmt.Errorf("fault %q: %w", f.Kind, ErrInvalid)
	}
	if f.Times < 0 || f.Pace < 0 || strings.ContainsAny(f.RetryAfter, "\r\n") {
		return fmt.Errorf("fault %q: negative number or line break: %w", f.Kind, ErrInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
	return nil
}

// Fault returns the fault in force, Times counted down.
func (s *Sandbox) Fault() Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault
}

// takeFault returns the fault that the call at hand meets. Callers hold mu.
func (s *Sandbox) takeFault() Fault {
	f := s.fault
	if f.Times == 1 {
		s.fault = Fault{Kind: FaultNone}
	} else if f.Times > 1 {
		s.fault.Times--
	}
	return f
}

func (s *Sandbox) serveWithFault(f Fault, w http.ResponseWriter, r *http.Request, body []byte) {
	switch f.Kind {
	case FaultHang:
		s.hang(r)
	case FaultUnauthorized:
		writeError(w, unauthorized("the API key is wrong"))
	case FaultTooMany:
		w.Header().Set("Retry-After", or(f.RetryAfter, "30"))
		writeError(w, &apiError{Status: http.StatusTooManyRequests, Code: "rate_limited", Message: "too many requests"})
	case FaultInternal:
		writeError(w, &apiError{Status: http.StatusInternalServerError, Code: "internal", Message: "something went wrong"})
	case FaultUnavailable:
		if f.RetryAfter != "" {
			w.Header().Set("Retry-After", f.RetryAfter)
		}
		writeError(w, &apiError{Status: http.StatusServiceUnavailable, Code: "unavailable", Message: "try again later"})
	case FaultGarbage:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<!doctype html><title>Axra</title><h1>We'll be right back</h1>")
	case FaultHuge:
		s.stream(w)
	case FaultRedirect:
		w.Header().Set("Location", s.baseURL(r)+APIPrefix+"/redirected")
		w.WriteHeader(http.StatusTemporaryRedirect)
	case FaultReset:
		reset(w)
	case FaultSlow, FaultTruncated:
		s.mangle(f, w, r, body)
	default:
		status, answer := s.reply(f, r, body)
		writeJSON(w, status, answer)
	}
}

// reply is the API's ordinary answer, but for what the fault changes in it.
func (s *Sandbox) reply(f Fault, r *http.Request, body []byte) (status int, answer any) {
	status, data, err := s.callAPI(r, body)
	if err != nil {
		return errorAnswer(err)
	}
	if created, ok := data.(*sessionAnswer); ok {
		twist(f.Kind, created, s.now())
	}
	return status, s.wrap(data)
}

func twist(kind FaultKind, answer *sessionAnswer, now time.Time) {
	switch kind {
	case FaultWrongHost:
		answer.CheckoutURL = "https://pay.useaxra.com.evil.example/checkout/" + answer.SessionID
	case FaultWrongScheme:
		answer.CheckoutURL = "javascript:alert(1)//pay.useaxra.com/checkout/" + answer.SessionID
	case FaultExpired:
		answer.ExpiresAt = isoTime(now.Add(-time.Hour))
	case FaultAbsurdExpiry:
		answer.ExpiresAt = "9999-12-31T23:59:59.999Z"
	}
}

// hang returns without an answer, once nobody waits for one.
func (s *Sandbox) hang(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-s.ctx.Done():
	}
	panic(http.ErrAbortHandler) // the client gets no status, not even at Close
}

// drip sends the headers at once and then a byte per pause.
func (s *Sandbox) drip(w http.ResponseWriter, r *http.Request, pace time.Duration, body []byte) {
	out := http.NewResponseController(w)
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for i := range body {
		if out.Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		case <-s.ctx.Done():
			return
		}
		if _, err := w.Write(body[i : i+1]); err != nil {
			return
		}
	}
}

// mangle gets the right answer and sends it badly.
func (s *Sandbox) mangle(f Fault, w http.ResponseWriter, r *http.Request, body []byte) {
	status, answer := s.reply(f, r, body)
	text, err := encodeJSON(answer)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if f.Kind == FaultSlow {
		s.drip(w, r, or(f.Pace, slowPace), text)
		return
	}
	_, _ = w.Write(text[:len(text)/2]) // half of it, as if it were the whole
}

// stream sends valid JSON that is far too long, without holding it in memory.
func (s *Sandbox) stream(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	if _, err := io.WriteString(w, `{"success":true,"data":{"padding":"`); err != nil {
		return
	}
	chunk := bytes.Repeat([]byte("x"), 64<<10)
	for range hugeBytes / len(chunk) {
		if s.ctx.Err() != nil {
			return
		}
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
	_, _ = io.WriteString(w, `"}}`)
}

// reset ends the connection with an RST instead of an answer where the
// transport allows it, and without an answer elsewhere.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if outer, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = outer.NetConn() // below TLS, so that no close_notify is sent
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // without it the end is merely less abrupt
	}
	_ = conn.Close()
}
