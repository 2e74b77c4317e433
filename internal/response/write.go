package response

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// NoStore keeps a response out of all caches, and its address out of the Referer header sent to other sites.
func NoStore(header http.Header) {
	header.Set("Cache-Control", "no-store")
	header.Set("Referrer-Policy", "no-referrer")
	header.Add("Vary", "Cookie")
}

// Redirect sends the browser to a path of the same site.
func Redirect(w http.ResponseWriter, target string) {
	NoStore(w.Header())
	w.Header().Set("Location", target)
	w.WriteHeader(http.StatusSeeOther)
}

// RedirectToCheckout sends the browser to a checkout. The address is a secret and Caddy logs response headers after the
// handler returns, so it is removed from the header once it is sent.
func RedirectToCheckout(w http.ResponseWriter, checkoutURL string) {
	NoStore(w.Header())
	w.Header().Set("Location", checkoutURL)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusSeeOther)
	_, _ = io.WriteString(w, "To the checkout.\n") // `encode` holds the header back until the first byte
	if http.NewResponseController(w).Flush() != nil || isBuffered(w) {
		return // the header is not sent yet, so the address must stay
	}
	scheme, rest, _ := strings.Cut(checkoutURL, "://")
	host, _, _ := strings.Cut(rest, "/")
	w.Header().Set("Location", scheme+"://"+host+"/")
}

// isBuffered reports whether an outer handler buffers the response, as `intercept` does.
func isBuffered(w http.ResponseWriter) bool {
	for {
		if recorder, ok := w.(interface{ Buffered() bool }); ok && recorder.Buffered() {
			return true
		}
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return false
		}
		w = wrapper.Unwrap()
	}
}

// JSON answers a program.
func JSON(w http.ResponseWriter, r *http.Request, status int, contentType string, body any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return caddyhttp.Error(http.StatusInternalServerError, fmt.Errorf("encoding: %w", err))
	}
	NoStore(w.Header())
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	Body(w, r, status, encoded)
	return nil
}

// Body writes a complete body, or only its header for HEAD.
func Body(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the client may be gone
	}
}

// ProblemType is the media type of problem details (RFC 9457).
const ProblemType = "application/problem+json"

// ProblemDetails are what every problem has (RFC 9457).
type ProblemDetails struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

// NewProblem returns the details of a problem, titled by its status.
func NewProblem(kind string, status int, detail string) ProblemDetails {
	return ProblemDetails{kind, http.StatusText(status), status, detail}
}

// Problem answers a program with problem details (RFC 9457).
func Problem(w http.ResponseWriter, r *http.Request, status int, detail string, retryAfter time.Duration) error {
	if retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((retryAfter+time.Second-1)/time.Second), 10))
	}
	return JSON(w, r, status, ProblemType, NewProblem("about:blank", status, detail))
}
