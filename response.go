package paywall

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/internal/access"
)

// privateWriter keeps shared caches from storing what was paid for, whatever
// the application behind says about caching. Only a deferred `header` around the
// gate has a later word; App.warnDeferredHeader tells its owner.
type privateWriter struct {
	caddyhttp.ResponseWriterWrapper
	wroteHeader bool
	before      func(status int) // sees the final header before it leaves; may be nil
	follow      streamFollower
	// Made with the writer, since the header points to them until the request ends.
	lines privateLines
}

func newPrivateWriter(w http.ResponseWriter) *privateWriter {
	return &privateWriter{ResponseWriterWrapper: caddyhttp.ResponseWriterWrapper{ResponseWriter: w}}
}

// streamFollower ends an event stream with the access that it was opened by: at the next event after it, where its
// request does not say that it asks for one, or what is behind the gate does not heed the request's end.
type streamFollower struct {
	access  *access.Cache // nil where nobody was admitted
	bounds  access.Bounds
	token   *access.Token
	r       *http.Request
	ended   func() error // nil until there is an event stream
	release func()
}

func (f *streamFollower) begin(header http.Header) {
	if f.access == nil || !strings.HasPrefix(header.Get("Content-Type"), "text/event-stream") {
		return
	}
	ctx, release := f.access.Stream(f.r.Context(), f.token, f.bounds)
	f.ended, f.release = ctx.Err, release
}

func (f *streamFollower) end() {
	if f.release != nil {
		f.release()
	}
}

// WriteHeader makes the final header private.
func (w *privateWriter) WriteHeader(status int) {
	// Informational responses precede the final one; 101 is final.
	if !w.wroteHeader && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.wroteHeader = true
		w.lines.makePrivate(w.Header())
		if w.before != nil {
			w.before(status)
		}
		w.follow.begin(w.Header())
	}
	w.ResponseWriterWrapper.WriteHeader(status)
}

// Write makes the header private if nobody has written it yet.
func (w *privateWriter) Write(p []byte) (int, error) {
	if !w.wroteHeader {
		w.WriteHeader(http.StatusOK)
	}
	if w.follow.ended != nil {
		if err := w.follow.ended(); err != nil {
			return 0, err
		}
	}
	return w.ResponseWriterWrapper.Write(p)
}

// ReadFrom keeps the fast path from file to socket.
func (w *privateWriter) ReadFrom(from io.Reader) (int64, error) {
	if !w.wroteHeader {
		w.WriteHeader(http.StatusOK)
	}
	if w.follow.ended != nil {
		return io.Copy(struct{ io.Writer }{w}, from)
	}
	return w.ResponseWriterWrapper.ReadFrom(from)
}

// FlushError makes the header private before it leaves.
func (w *privateWriter) FlushError() error {
	if !w.wroteHeader {
		w.WriteHeader(http.StatusOK)
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// sharedOnly are directives that speak to shared caches (RFC 9111, section 5.2.2).
var sharedOnly = []string{"public", "private", "s-maxage", "proxy-revalidate"}

// privateLines are what makePrivate writes into a header: memory for it that need not be
// made by itself. They are for one header, which points into them.
type privateLines [3]string

// makePrivate marks an answer for this browser only.
func makePrivate(header http.Header) { new(privateLines).makePrivate(header) }

func (lines *privateLines) makePrivate(header http.Header) {
	*lines = privateLines{"private", "", "Cookie, Authorization"}
	// Vary first: file_server has set it, and even to assign what a map of eight has lets it
	// grow, which takes longer than all the rest.
	switch vary := header["Vary"]; {
	case len(vary) == 0:
		header["Vary"] = lines[2:]
	case varies(vary, "Cookie") || varies(vary, "Authorization"):
		addVary(header, "Cookie")
		addVary(header, "Authorization")
	case len(vary) == 1:
		lines[1] = vary[0]
		header["Vary"] = lines[1:]
	default:
		header["Vary"] = append(vary, lines[2])
	}
	if said := header["Cache-Control"]; len(said) > 0 {
		lines[0] = privately(said)
	}
	header["Cache-Control"] = lines[:1:1]
	// Headers by which some shared caches let themselves be told otherwise (RFC 9213).
	for name := range header {
		if strings.HasSuffix(name, "Cdn-Cache-Control") || name == "Surrogate-Control" || name == "X-Accel-Expires" {
			delete(header, name)
		}
	}
}

// privately is what Cache-Control said, for private caches only.
func privately(lines []string) string {
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

func addVary(header http.Header, field string) {
	if !varies(header["Vary"], field) {
		header.Add("Vary", field)
	}
}

// varies reports whether an answer is said to depend on a request header.
func varies(lines []string, field string) bool {
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.TrimSpace(name); name == "*" || strings.EqualFold(name, field) {
				return true
			}
		}
	}
	return false
}

// decidingWriter asks, before the final header leaves, whether an answer is sent and with
// which status. Of one that is refused nothing is sent.
type decidingWriter struct {
	*caddyhttp.ResponseWriterWrapper
	decide           func(status int, header http.Header) (send int, ok bool)
	decided, refused bool
}

func newDecidingWriter(w http.ResponseWriter, decide func(int, http.Header) (int, bool)) *decidingWriter {
	return &decidingWriter{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, decide: decide}
}

// errRefused ends the copying of a body that is not sent.
var errRefused = errors.New("the answer is not sent")

// WriteHeader decides, once.
func (w *decidingWriter) WriteHeader(status int) {
	// Informational responses precede the final one; 101 is final.
	if status < 200 && status != http.StatusSwitchingProtocols {
		w.ResponseWriterWrapper.WriteHeader(status)
		return
	}
	if w.decided {
		return
	}
	w.decided = true
	send, ok := w.decide(status, w.Header())
	if w.refused = !ok; ok {
		w.ResponseWriterWrapper.WriteHeader(send)
	}
}

func (w *decidingWriter) begin() error {
	if !w.decided {
		w.WriteHeader(http.StatusOK)
	}
	if w.refused {
		return errRefused
	}
	return nil
}

// Write fails after a refusal, so that copying stops.
func (w *decidingWriter) Write(p []byte) (int, error) {
	if err := w.begin(); err != nil {
		return 0, err
	}
	return w.ResponseWriterWrapper.Write(p)
}

// ReadFrom is Write for what copies.
func (w *decidingWriter) ReadFrom(from io.Reader) (int64, error) {
	if err := w.begin(); err != nil {
		return 0, err
	}
	return w.ResponseWriterWrapper.ReadFrom(from)
}

// FlushError decides before the header leaves.
func (w *decidingWriter) FlushError() error {
	if err := w.begin(); err != nil {
		return err
	}
	return http.NewResponseController(w.ResponseWriterWrapper).Flush()
}

// Hijack gives the connection away only for an answer that is sent: a proxy that switches
// protocols takes it whatever it was told.
func (w *decidingWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !w.decided || w.refused {
		return nil, nil, errRefused
	}
	return http.NewResponseController(w.ResponseWriterWrapper).Hijack()
}

// Unwrap serves http.ResponseController.
func (w *decidingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriterWrapper }

// unlessRefused serves with a handler whose answer may be refused while it writes. Then
// its error is that of a copy that was stopped, which a proxy even makes a panic of.
func unlessRefused(refused func() bool, serve func() error) (err error) {
	defer func() {
		if !refused() {
			return
		}
		err = nil
		if reason := recover(); reason != nil && reason != http.ErrAbortHandler { //nolint:errorlint // it is compared so in net/http
			panic(reason)
		}
	}()
	return serve()
}

// restoreHeader takes back the header of an answer that was refused.
func restoreHeader(header, before http.Header) {
	clear(header)
	maps.Copy(header, before)
}

// writeCheckoutRedirect sends the browser to the checkout. Its address is a secret, and Caddy's access log writes response
// headers after the handler is done, so it replaces the header by then.
func writeCheckoutRedirect(w http.ResponseWriter, target string) {
	noStore(w.Header())
	w.Header().Set("Location", target)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusSeeOther)
	// A few bytes, because `encode` holds the header back until the first one.
	_, _ = io.WriteString(w, "To the checkout.\n")
	left := http.NewResponseController(w).Flush() == nil && !buffered(w)
	if !left {
		return // what has not left yet must keep its address
	}
	scheme, rest, _ := strings.Cut(target, "://")
	host, _, _ := strings.Cut(rest, "/")
	w.Header().Set("Location", scheme+"://"+host+"/")
}

// buffered reports whether a handler around the gate holds the answer back, as
// `intercept` does.
func buffered(w http.ResponseWriter) bool {
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

// goTo sends the browser to a path of the same site.
func goTo(w http.ResponseWriter, target string) {
	noStore(w.Header())
	w.Header().Set("Location", target)
	w.WriteHeader(http.StatusSeeOther)
}

func noStore(header http.Header) {
	header.Set("Cache-Control", "no-store")
	header.Set("Referrer-Policy", "no-referrer")
	addVary(header, "Cookie")
}

// sendJSON answers a program.
func sendJSON(w http.ResponseWriter, r *http.Request, status int, contentType string, body any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return caddyhttp.Error(http.StatusInternalServerError, fmt.Errorf("encoding: %w", err))
	}
	noStore(w.Header())
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Length", strconv.Itoa(len(encoded)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(encoded) // the client may be gone
	}
	return nil
}
