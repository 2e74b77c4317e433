package sandbox

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"
)

// maxCalls bounds the log of API calls; the counters go on.
const maxCalls = 1000

// Call is one request that the API received. Credentials are not recorded.
type Call struct {
	Number int       `json:"number"` // 1 for the first since the start or Reset
	Time   time.Time `json:"time"`
	Method string    `json:"method"`
	Path   string    `json:"path"`
	Route  string    `json:"route"`
	// Auth is "api-key", "bearer" or "none": what was presented, right or wrong.
	Auth string `json:"auth"`
	// Fault is the fault that met the call; empty for none.
	Fault FaultKind `json:"fault,omitempty"`
	// Status is what was answered; 0 while the call is open or when it was cut off.
	Status int `json:"status"`
	// Body is the JSON received; null when it was none. Calls to RouteToken keep
	// none, because it holds the secret.
	Body json.RawMessage `json:"body"`
}

// Calls returns the newest API calls, oldest first.
func (s *Sandbox) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// CallCount returns how often a route, such as RouteSession, was called since
// the start or Reset. It counts calls that met a fault, too.
func (s *Sandbox) CallCount(route string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[route]
}

// logCall records a call and takes the fault that it meets.
func (s *Sandbox) logCall(r *http.Request, body []byte) (number int, fault Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := route(r)
	fault = s.takeFault()
	s.served++
	s.counts[name]++
	call := Call{
		Number: s.served,
		Time:   s.now(),
		Method: r.Method,
		Path:   r.URL.Path,
		Route:  name,
		Auth:   presented(r),
	}
	if fault.Kind != FaultNone {
		call.Fault = fault.Kind
	}
	if json.Valid(body) && name != RouteToken {
		call.Body = body
	}
	if len(s.calls) == maxCalls {
		s.calls = s.calls[1:]
	}
	s.calls = append(s.calls, call)
	return call.Number, fault
}

func (s *Sandbox) logStatus(number, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range slices.Backward(s.calls) {
		if s.calls[i].Number == number {
			s.calls[i].Status = status
			return
		}
	}
}

func presented(r *http.Request) string {
	if r.Header.Get("X-Api-Key") != "" {
		return "api-key"
	}
	if _, ok := bearer(r); ok {
		return "bearer"
	}
	return "none"
}

// statusWriter remembers the status for the log.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach Flush and Hijack.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
