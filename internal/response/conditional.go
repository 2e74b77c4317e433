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

// Outcome says what happened to the response of a handler that ServeIf ran.
type Outcome int

// The outcomes.
const (
	Nothing  Outcome = iota // the handler wrote nothing
	Sent                    // it was sent
	Withheld                // nothing was sent, and the header was restored
)

// ServeIf runs a handler. Before the final header is sent, it asks whether the response may be sent, and with which
// status.
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

// RestoreHeader restores a header to its earlier value.
func RestoreHeader(header, before http.Header) {
	clear(header)
	maps.Copy(header, before)
}

type conditionalWriter struct {
	*caddyhttp.ResponseWriterWrapper
	decide  func(status int, header http.Header) (send int, ok bool)
	outcome Outcome
}

// serve drops the error, or a proxy's panic, caused by copying a withheld response.
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

// errWithheld stops the copying of a withheld response.
var errWithheld = errors.New("the response is withheld")

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

// Write fails if the response is withheld, so that copying stops.
func (w *conditionalWriter) Write(p []byte) (int, error) {
	if err := w.begin(); err != nil {
		return 0, err
	}
	return w.ResponseWriterWrapper.Write(p)
}

// ReadFrom fails if the response is withheld, so that copying stops.
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

// Hijack fails if the response is withheld: a proxy that switches protocols ignores what WriteHeader decided.
func (w *conditionalWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.outcome != Sent {
		return nil, nil, errWithheld
	}
	return http.NewResponseController(w.ResponseWriterWrapper).Hijack()
}

// Unwrap serves http.ResponseController.
func (w *conditionalWriter) Unwrap() http.ResponseWriter { return w.ResponseWriterWrapper }
