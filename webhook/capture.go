package webhook

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrCapture means that the bytes are not a captured request.
var ErrCapture = errors.New("not a captured request")

// Captured is a webhook as received. Credentials are masked, but the event is complete.
type Captured struct {
	At     time.Time   `json:"at,omitzero"`
	Reason string      `json:"reason,omitempty"` // why it was rejected
	Method string      `json:"method"`
	Path   string      `json:"path"` // without the query, which could hold a secret
	Host   string      `json:"host,omitempty"`
	Header http.Header `json:"headers"`
	Body   []byte      `json:"body_base64"`
	// Signed says that a header could carry a signature.
	Signed bool `json:"could_be_signed"`
}

// These replace the value of a header that must not be kept.
const (
	masked       = "***"
	maskedSecret = "*** the webhook secret itself ***"
)

// Bounds of the headers that are kept, in bytes and in number.
const (
	maxKeptHeader  = 4 << 10
	maxKeptHeaders = 64
)

// credentialNames are parts of the names of headers that carry credentials.
var credentialNames = []string{
	"auth", "cookie", "-key", "api-key", "apikey", "api_key", "token", "password", "passwd", "secret", "credential", "session", "jwt",
}

// urlHeaders hold a URL, whose query could hold a secret.
var urlHeaders = []string{"Referer", "X-Forwarded-Uri", "X-Original-Uri", "X-Original-Url", "X-Rewrite-Url"}

// Capture copies a rejected request. It masks headers that carry credentials and values that hold one of the secrets,
// except for the headers that the verifier reads.
func (v Verifier) Capture(r *http.Request, body []byte, secrets [][]byte) Captured {
	captured := Captured{
		Method: r.Method, Path: r.URL.EscapedPath(), Host: r.Host, Header: make(http.Header), Body: bytes.Clone(body),
		Signed: holdsMAC(r.Header.Get(v.Header)) || couldBeSigned(r.Header),
	}
	names := slices.Sorted(maps.Keys(r.Header))
	for _, name := range names[:min(len(names), maxKeptHeaders)] {
		for _, value := range r.Header[name][:min(len(r.Header[name]), maxCandidates)] {
			captured.Header.Add(name, v.mask(name, value, secrets))
		}
	}
	return captured
}

func (v Verifier) mask(name, value string, secrets [][]byte) string {
	for _, secret := range secrets {
		if len(secret) > 0 && strings.Contains(value, string(secret)) {
			return maskedSecret
		}
	}
	if slices.Contains(urlHeaders, http.CanonicalHeaderKey(name)) {
		value, _, _ = strings.Cut(value, "?")
	}
	if len(value) > maxKeptHeader || isCredential(name) && !v.reads(name) {
		return masked
	}
	return value
}

// reads reports whether the scheme needs the header.
func (v Verifier) reads(name string) bool {
	return strings.EqualFold(name, v.Header) ||
		strings.EqualFold(name, v.TimestampHeader) && (v.Scheme == SchemeTimestampBody || v.Scheme == SchemeStandard) ||
		strings.EqualFold(name, v.IDHeader) && v.Scheme == SchemeStandard
}

// isCredential reports whether a header carries credentials, by its name.
func isCredential(name string) bool {
	name = strings.ToLower(name)
	return !strings.Contains(name, "signature") &&
		slices.ContainsFunc(credentialNames, func(part string) bool { return strings.Contains(name, part) })
}

// WriteTo writes the request as HTTP/1.1 sends it.
func (c Captured) WriteTo(w io.Writer) (int64, error) {
	header := make(http.Header)
	maps.Copy(header, c.Header)
	if c.Host != "" {
		header.Set("Host", c.Host)
	}
	header.Del("Transfer-Encoding") // the body is written as a whole
	header.Set("Content-Length", strconv.Itoa(len(c.Body)))
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s %s HTTP/1.1\r\n", c.Method, c.Path)
	_ = header.Write(&out) // a Buffer takes everything
	out.WriteString("\r\n")
	out.Write(c.Body)
	return out.WriteTo(w)
}

// ReadCaptured reads a request as HTTP/1.1 sends it. Lines may end in LF alone, and the request line may be missing.
// The error wraps ErrCapture.
func ReadCaptured(raw []byte) (Captured, error) {
	var request Captured
	raw = bytes.TrimPrefix(raw, []byte("\ufeff")) // an editor's
	first, rest, _ := bytes.Cut(raw, []byte("\n"))
	if fields := strings.Fields(string(first)); len(fields) > 1 && !strings.Contains(fields[0], ":") {
		request.Method, request.Path, raw = fields[0], fields[1], rest
	}
	reader := bufio.NewReader(bytes.NewReader(raw))
	header, err := textproto.NewReader(reader).ReadMIMEHeader()
	switch {
	case err != nil:
		return Captured{}, fmt.Errorf("%w: headers, an empty line and the body are needed: %w", ErrCapture, err)
	case len(header) == 0:
		return Captured{}, fmt.Errorf("%w: it has no headers", ErrCapture)
	}
	request.Header = http.Header(header)
	request.Host, request.Signed = request.Header.Get("Host"), couldBeSigned(request.Header)
	request.Body, err = io.ReadAll(reader)
	return request, err
}

// Body is a captured body as it may have been sent.
type Body struct {
	Bytes []byte
	Note  string // how it differs from what was captured; empty for the captured one
}

// Bodies returns the captured body, and the original if an editor has changed the line break at its end.
func (c Captured) Bodies() []Body {
	other := Body{append(bytes.Clone(c.Body), '\n'), "with a line break at its end, which an editor may have removed"}
	if trimmed := bytes.TrimRight(c.Body, "\r\n"); len(trimmed) < len(c.Body) {
		other = Body{trimmed, "without the line break at its end, which an editor may have added"}
	}
	return []Body{{Bytes: c.Body}, other}
}
