package response

import (
	"bufio"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Outcome says what became of the answer of a handler that ServeIf ran.
type Outcome int

// The outcomes.
const (
	Nothing  Outcome = iota // the handler wrote none
	Sent                    // it was sent
	Withheld                // nothing was sent, and the header is as it was before
)

// ServeIf runs a handler, and asks before the final header is sent whether the answer may be, and with which status.
func ServeIf(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler,
	decide func(status int, header http.Header) (send int, ok bool),
) (Outcome, error) {
	before := w.Header().Clone()
	conditional := &conditionalWriter{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, decide: decide}
	err := conditional.serve(r, next)
	if conditional.outcome == Withheld {
		RestoreHeader(w.Header(), before)
	}
	return conditional.outcome, err
}

// RestoreHeader sets a header back to what it was.
func RestoreHeader(header, before http.Header) {
	clear(header)
	maps.Copy(header, before)
}

type conditionalWriter struct {
	*caddyhttp.ResponseWriterWrapper
	decide  func(status int, header http.Header) (send int, ok bool)
	outcome Outcome
}

// serve drops the error of copying an answer that was withheld, of which a proxy even makes a panic.
func (w *conditionalWriter) serve(r *http.Request, next caddyhttp.Handler) (err error) {
	defer func() {
		if w.outcome != Withheld {
			return
		}
		err = nil
		if reason := recover(); reason != nil && reason != http.ErrAbortHandler { //nolint:errorlint // net/http compares it like this
			panic(reason)
		}
	}()
	return next.ServeHTTP(w, r)
}

// errWithheld ends the copying of an answer that is not sent.
var errWithheld = errors.New("the answer is not sent")

// WriteHeader decides, once.
func (w *conditionalWriter) WriteHeader(status int) {
	if !isFinal(status) {
		w.ResponseWriterWrapper.WriteHeader(status)
		return
	}
	if w.outcome != Nothing {
		return
	}
	send, ok := w.decide(status, w.Header())
	if !ok {
		w.outcome = Withheld
		return
	}
	w.outcome = Sent
	w.ResponseWriterWrapper.WriteHeader(send)
}

func (w *conditionalWriter) begin() error {
	if w.outcome == Nothing {
		w.WriteHeader(http.StatusOK)
	}
	if w.outcome == Withheld {
		return errWithheld
	}
	return nil
}

// Write fails if the answer is withheld, so that copying stops.
func (w *conditionalWriter) Write(p []byte) (int, error) {
	if err := w.begin(); err != nil {
		return 0, err
	}
	return w.ResponseWriterWrapper.Write(p)
}

// ReadFrom fails if the answer is withheld, so that copying stops.
func (w *conditionalWriter) ReadFrom(from io.Reader) (int64, error) {
	if err := w.begin(); err != nil {
		return 0, err
	}
	return w.ResponseWriterWrapper.ReadFrom(from)
}

// FlushError decides before the header is sent.
func (w *conditionalWriter) FlushError() error {
	if err := w.begin(); err != nil {
		return err
	}
	return http.NewResponseController(w.ResponseWriterWrapper).Flush()
}

// Hijack gives the connection away only for an answer that is sent: a proxy that switches protocols takes it whatever
// WriteHeader decided.
func (w *conditionalWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.outcome != Sent {
		return nil, nil, errWithheld
	}
	return http.NewResponseController(w.ResponseWriterWrapper).Hijack()
}

// Unwrap serves http.ResponseController.
func (w *conditionalWriter) Unwrap() http.ResponseWriter { return w.ResponseWriterWrapper }
