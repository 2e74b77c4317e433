// Package response writes the gates' responses: it keeps paid ones out of shared caches, and withholds those that must
// not be sent.
package response

import (
	"bufio"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Outcome says what happened to the response of a handler.
type Outcome int

// The outcomes.
const (
	Nothing  Outcome = iota // the handler wrote nothing
	Sent                    // it was sent
	Withheld                // nothing was sent, and the header was restored
)

// Hook is called before the final header of a response is sent. It may change the header, and returns the status to
// send; 0 withholds the response.
type Hook func(w *Writer, status int) (send int)

// ServePrivate runs a handler, and keeps shared caches from storing its response, whatever caching headers the
// application sets. Only a deferred `header` directive around the gate can override it. If the handler writes nothing,
// the header is made private for whoever responds.
func ServePrivate(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, hook Hook) error {
	private := &Writer{ResponseWriterWrapper: caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, hook: hook, isPrivate: true}
	err := next.ServeHTTP(private, r)
	if private.outcome == Nothing {
		private.lines.makePrivate(w.Header())
	}
	return err
}

// ServeIf runs a handler whose response the hook may withhold.
func ServeIf(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, hook Hook) (outcome Outcome, err error) {
	before := w.Header().Clone()
	conditional := &Writer{ResponseWriterWrapper: caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, hook: hook}
	defer func() {
		if conditional.outcome != Withheld {
			return
		}
		RestoreHeader(w.Header(), before)
		outcome, err = Withheld, nil                                              // an error, or a proxy's panic, is about the copying
		if reason := recover(); reason != nil && reason != http.ErrAbortHandler { //nolint:errorlint // net/http compares it like this
			panic(reason)
		}
	}()
	err = next.ServeHTTP(conditional, r)
	return conditional.outcome, err
}

// RestoreHeader restores a header to its earlier value.
func RestoreHeader(header, before http.Header) {
	clear(header)
	maps.Copy(header, before)
}

// Writer calls its hook before it sends the final header.
type Writer struct {
	caddyhttp.ResponseWriterWrapper
	hook      Hook
	isPrivate bool
	stopped   func() error // nil unless writes may be stopped
	outcome   Outcome
	lines     privateLines
}

// StopWhen makes writes fail with the error that stopped returns, once it returns one.
func (w *Writer) StopWhen(stopped func() error) { w.stopped = stopped }

// errWithheld stops the copying of a withheld response.
var errWithheld = errors.New("the response is withheld")

// WriteHeader sends the header unless the hook withholds it. The hook sees final headers only: not informational, or 101.
func (w *Writer) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		if w.outcome != Nothing {
			return
		}
		if w.isPrivate {
			w.lines.makePrivate(w.Header())
		}
		w.outcome = Sent
		if status = w.hook(w, status); status == 0 {
			w.outcome = Withheld
			return
		}
	}
	w.ResponseWriterWrapper.WriteHeader(status)
}

// begin sends the header before the body.
func (w *Writer) begin() error {
	if w.outcome == Nothing {
		w.WriteHeader(http.StatusOK)
	}
	if w.outcome == Withheld {
		return errWithheld
	}
	if w.stopped != nil {
		return w.stopped()
	}
	return nil
}

// Write fails if the response is withheld or stopped, so that copying stops.
func (w *Writer) Write(p []byte) (int, error) {
	if err := w.begin(); err != nil {
		return 0, err
	}
	return w.ResponseWriterWrapper.Write(p)
}

// ReadFrom preserves the fast path from file to socket.
func (w *Writer) ReadFrom(from io.Reader) (int64, error) {
	if err := w.begin(); err != nil {
		return 0, err
	}
	if w.stopped != nil {
		return io.Copy(struct{ io.Writer }{w}, from)
	}
	return w.ResponseWriterWrapper.ReadFrom(from)
}

// FlushError sends the header first.
func (w *Writer) FlushError() error {
	if err := w.begin(); err != nil {
		return err
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack fails if the response is withheld: a proxy that switches protocols ignores what WriteHeader decided.
func (w *Writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.outcome == Withheld || w.outcome == Nothing && !w.isPrivate {
		return nil, nil, errWithheld
	}
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// sharedOnly are directives for shared caches (RFC 9111, section 5.2.2).
var sharedOnly = []string{"public", "private", "s-maxage", "proxy-revalidate"}

// revalidated is for responses that do not say how long they may be kept: browsers would guess by Last-Modified (RFC 9111,
// section 4.2.2), and show a page after its refund.
const revalidated = "private, no-cache"

// privateLines holds the header lines that makePrivate writes, allocated together with their writer. The header points
// into it, so use it for one header only.
type privateLines [3]string

// makePrivate keeps shared caches from storing a response. To name a request header twice in Vary does no harm.
func (lines *privateLines) makePrivate(header http.Header) {
	*lines = privateLines{revalidated, "", "Cookie, Authorization"}
	// Vary first, as file_server has set it: a map of eight entries grows at the next assignment, even to a known key,
	// and that takes longer than the rest of this function.
	switch vary := header["Vary"]; len(vary) {
	case 0:
		header["Vary"] = lines[2:]
	case 1:
		lines[1] = vary[0]
		header["Vary"] = lines[1:]
	default:
		header["Vary"] = append(vary, lines[2])
	}
	if said := header["Cache-Control"]; len(said) > 0 {
		lines[0] = privateDirectives(said)
	} else if len(header["Expires"]) > 0 {
		lines[0] = "private"
	}
	header["Cache-Control"] = lines[:1:1]
	// Some shared caches read these instead of Cache-Control (RFC 9213).
	for name := range header {
		if strings.HasSuffix(name, "Cdn-Cache-Control") || name == "Surrogate-Control" || name == "X-Accel-Expires" {
			delete(header, name)
		}
	}
}

// privateDirectives returns Cache-Control without the directives for shared caches.
func privateDirectives(lines []string) string {
	directives := []string{"private"}
	for _, line := range lines {
		for directive := range strings.SplitSeq(line, ",") {
			directive = strings.TrimSpace(directive)
			name, _, _ := strings.Cut(strings.ToLower(directive), "=")
			if directive != "" && !slices.Contains(sharedOnly, name) {
				directives = append(directives, directive)
			}
		}
	}
	return strings.Join(directives, ", ")
}
