// Package response writes the gates' responses: it keeps paid ones out of shared caches, and withholds those that must
// not be sent.
package response

import (
	"io"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// PrivateWriter keeps shared caches from storing a response, whatever caching headers the application sets. Only a
// deferred `header` directive around the gate can override it.
type PrivateWriter struct {
	caddyhttp.ResponseWriterWrapper

	hook        HeaderHook
	stopped     func() error
	wroteHeader bool
	lines       privateLines
}

// HeaderHook is called before the final header of a response is sent.
type HeaderHook interface {
	BeforeHeader(w *PrivateWriter, status int)
}

// NewPrivateWriter returns a writer that calls a hook, unless it is nil.
func NewPrivateWriter(w http.ResponseWriter, hook HeaderHook) *PrivateWriter {
	return &PrivateWriter{ResponseWriterWrapper: caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, hook: hook}
}

// StopWhen makes writes fail with the error that stopped returns, once it returns one.
func (w *PrivateWriter) StopWhen(stopped func() error) { w.stopped = stopped }

// Serve runs a handler with the writer. If the handler writes nothing, the header is made private for whoever responds.
func (w *PrivateWriter) Serve(r *http.Request, next caddyhttp.Handler) error {
	err := next.ServeHTTP(w, r)
	if !w.wroteHeader {
		MakePrivate(w.Header())
	}
	return err
}

// WriteHeader makes the final header private.
func (w *PrivateWriter) WriteHeader(status int) {
	if !w.wroteHeader && isFinal(status) {
		w.wroteHeader = true
		w.lines.makePrivate(w.Header())
		if w.hook != nil {
			w.hook.BeforeHeader(w, status)
		}
	}
	w.ResponseWriterWrapper.WriteHeader(status)
}

// isFinal reports whether the status is final: not informational, or 101.
func isFinal(status int) bool { return status >= 200 || status == http.StatusSwitchingProtocols }

// Write makes the header private if it has not been written yet.
func (w *PrivateWriter) Write(p []byte) (int, error) {
	if !w.wroteHeader {
		w.WriteHeader(http.StatusOK)
	}
	if w.stopped != nil {
		if err := w.stopped(); err != nil {
			return 0, err
		}
	}
	return w.ResponseWriterWrapper.Write(p)
}

// ReadFrom preserves the fast path from file to socket.
func (w *PrivateWriter) ReadFrom(from io.Reader) (int64, error) {
	if !w.wroteHeader {
		w.WriteHeader(http.StatusOK)
	}
	if w.stopped != nil {
		return io.Copy(struct{ io.Writer }{w}, from)
	}
	return w.ResponseWriterWrapper.ReadFrom(from)
}

// FlushError makes the header private before it is sent.
func (w *PrivateWriter) FlushError() error {
	if !w.wroteHeader {
		w.WriteHeader(http.StatusOK)
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}
