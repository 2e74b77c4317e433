package webhook

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrCapture: the bytes are no captured request.
var ErrCapture = errors.New("no captured request")

// Captured is a webhook as it came, for finding out how it is signed. It holds no
// credentials, but whatever the event says.
type Captured struct {
	At     time.Time   `json:"at,omitzero"`
	Reason string      `json:"reason,omitempty"` // why it was refused
	Method string      `json:"method"`
	Path   string      `json:"path"` // without its query, which could hold a secret
	Host   string      `json:"host,omitempty"`
	Header http.Header `json:"headers"`
	Body   []byte      `json:"body_base64"`
	// Signed says that a header could carry a signature.
	Signed bool `json:"could_be_signed"`
}

// What stands in place of a header's value that is not kept.
const (
	masked       = "***"
	maskedSecret = "*** the webhook secret itself ***"
)

// Bounds of the headers that are kept, in bytes and in number.
const (
	maxKeptHeader  = 4 << 10
	maxKeptHeaders = 64
)

// private are parts of the names of headers that carry credentials.
var private = []string{
	"auth", "cookie", "-key", "api-key", "apikey", "api_key", "token", "password", "passwd", "secret", "credential", "session", "jwt",
}

// Capture keeps a request that the verifier has refused. Credentials in headers are
// masked, and so is each value that holds one of the secrets, which are given as they
// are written. What the verifier reads is kept.
func (v Verifier) Capture(r *http.Request, body []byte, secrets [][]byte) Captured {
	captured := Captured{
		Method: r.Method, Path: r.URL.EscapedPath(), Host: r.Host,
		Header: make(http.Header), Body: bytes.Clone(body), Signed: v.couldBeSigned(r.Header),
	}
	// Those that could carry a signature first, for there is room for so many.
	names := slices.Sorted(maps.Keys(r.Header))
	slices.SortStableFunc(names, func(a, b string) int {
		return strings.Compare(rank(a, r.Header), rank(b, r.Header))
	})
	for _, name := range names[:min(len(names), maxKeptHeaders)] {
		for _, value := range r.Header[name][:min(len(r.Header[name]), maxCandidates)] {
			captured.Header.Add(name, v.mask(name, value, secrets))
		}
	}
	return captured
}

func rank(name string, header http.Header) string {
	if couldSign(name, header[name]) || couldBeTimestamp(header[name]) {
		return "a"
	}
	return "b"
}

// isAddress lists headers that hold an address.
var isAddress = map[string]bool{
	"Referer": true, "X-Forwarded-Uri": true, "X-Original-Uri": true, "X-Original-Url": true, "X-Rewrite-Url": true,
}

func (v Verifier) mask(name, value string, secrets [][]byte) string {
	for _, secret := range secrets {
		if len(secret) > 0 && strings.Contains(value, string(secret)) {
			return maskedSecret
		}
	}
	if isAddress[http.CanonicalHeaderKey(name)] {
		value, _, _ = strings.Cut(value, "?") // its query could hold a secret
	}
	if len(value) > maxKeptHeader || isPrivate(name) && !v.reads(name) {
		return masked
	}
	return value
}

// reads reports whether the scheme needs the header.
func (v Verifier) reads(name string) bool {
	switch {
	case strings.EqualFold(name, v.Header):
		return true
	case strings.EqualFold(name, v.TimestampHeader):
		return v.Scheme == SchemeTimestampBody || v.Scheme == SchemeStandard
	}
	return strings.EqualFold(name, v.IDHeader) && v.Scheme == SchemeStandard
}

// isPrivate reports whether a header carries credentials, by its name.
func isPrivate(name string) bool {
	name = strings.ToLower(name)
	return !strings.Contains(name, "signature") &&
		slices.ContainsFunc(private, func(part string) bool { return strings.Contains(name, part) })
}

// Masked are the headers whose values were not kept.
func (c Captured) Masked() []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(c.Header)) {
		if slices.Contains(c.Header[name], masked) && isHeaderName(name) {
			names = append(names, name)
		}
	}
	return names
}

// WriteTo writes the request as HTTP/1.1 sends it.
func (c Captured) WriteTo(w io.Writer) (int64, error) {
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s %s HTTP/1.1\r\n", c.Method, c.Path)
	header := c.Header.Clone()
	if header == nil {
		header = make(http.Header)
	}
	if c.Host != "" {
		header.Set("Host", c.Host)
	}
	header.Del("Transfer-Encoding") // the body is written as a whole
	header.Set("Content-Length", strconv.Itoa(len(c.Body)))
	if err := header.Write(&out); err != nil {
		return 0, err
	}
	out.WriteString("\r\n")
	out.Write(c.Body)
	return out.WriteTo(w)
}

// ReadCaptured reads requests that Caddy has kept, as JSON, or one as HTTP/1.1 sends
// it: the lines may end in LF alone, the request line may be missing. The error
// wraps ErrCapture.
func ReadCaptured(raw []byte) ([]Captured, error) {
	raw = bytes.TrimPrefix(raw, []byte("\ufeff")) // of an editor
	switch trimmed := bytes.TrimLeft(raw, " \t\r\n"); {
	case len(trimmed) == 0:
		return nil, fmt.Errorf("%w: it is empty", ErrCapture)
	case trimmed[0] == '[' || trimmed[0] == '{':
		return readJSON(trimmed)
	}
	one, err := readHTTP(raw)
	if err != nil {
		return nil, err
	}
	return []Captured{one}, nil
}

// readJSON reads one request or a list of them.
func readJSON(raw []byte) ([]Captured, error) {
	if raw[0] == '{' {
		raw = slices.Concat([]byte("["), raw, []byte("]"))
	}
	var requests []Captured
	if err := json.Unmarshal(raw, &requests); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCapture, err)
	}
	for i, request := range requests {
		if len(request.Header) == 0 {
			return nil, fmt.Errorf("%w: it has no headers; a body alone does not tell how it is signed", ErrCapture)
		}
		canonical := make(http.Header, len(request.Header))
		for _, name := range slices.Sorted(maps.Keys(request.Header)) {
			for _, value := range request.Header[name] {
				canonical.Add(name, value)
			}
		}
		requests[i].Header = canonical
	}
	return requests, nil
}

func readHTTP(raw []byte) (Captured, error) {
	head, body, ok := splitHead(raw)
	if !ok {
		return Captured{}, fmt.Errorf("%w: there is no empty line between the headers and the body", ErrCapture)
	}
	captured := Captured{Body: body}
	line, rest, _ := bytes.Cut(head, []byte("\n"))
	if fields := strings.Fields(string(line)); len(fields) > 1 && !strings.Contains(fields[0], ":") {
		captured.Method, captured.Path, head = fields[0], fields[1], rest
	}
	reader := textproto.NewReader(bufio.NewReader(io.MultiReader(bytes.NewReader(head), strings.NewReader("\r\n\r\n"))))
	header, err := reader.ReadMIMEHeader()
	if err != nil {
		return Captured{}, fmt.Errorf("%w: reading the headers: %w", ErrCapture, err)
	}
	captured.Header = http.Header(header)
	captured.Host = captured.Header.Get("Host")
	captured.Signed = couldBeSigned(captured.Header)
	return captured, nil
}

// splitHead splits a request at its first empty line.
func splitHead(raw []byte) (head, body []byte, ok bool) {
	for at := 0; ; {
		end := bytes.IndexByte(raw[at:], '\n')
		if end < 0 {
			return nil, nil, false
		}
		if len(bytes.TrimRight(raw[at:at+end], "\r")) == 0 && at > 0 {
			return raw[:at], raw[at+end+1:], true
		}
		at += end + 1
	}
}

// Body is one reading of a captured body.
type Body struct {
	Bytes []byte
	Note  string // how it differs from what was captured; empty where it does not
}

// Bodies returns the body, and what it may have been before it was saved: a tool may
// keep the chunks in which it came, an editor adds a line break or changes those that
// there are.
func (c Captured) Bodies() []Body {
	bodies := []Body{{Bytes: c.Body}}
	add := func(raw []byte, note string) {
		if !slices.ContainsFunc(bodies, func(b Body) bool { return bytes.Equal(b.Bytes, raw) }) {
			bodies = append(bodies, Body{raw, note})
		}
	}
	if strings.EqualFold(c.Header.Get("Transfer-Encoding"), "chunked") {
		if raw, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(c.Body))); err == nil {
			add(raw, "without the sizes of its chunks")
		}
	}
	length, err := strconv.Atoi(c.Header.Get("Content-Length"))
	if err == nil && length >= 0 && length < len(c.Body) {
		add(c.Body[:length], "cut to its Content-Length")
	}
	if trimmed := bytes.TrimSuffix(bytes.TrimSuffix(c.Body, []byte("\n")), []byte("\r")); len(trimmed) < len(c.Body) {
		add(trimmed, "without the line break at its end, which an editor may have added")
	}
	if err == nil && length == len(c.Body)+1 {
		add(append(bytes.Clone(c.Body), '\n'), "with a line break at its end, which an editor may have removed")
	}
	if unix := bytes.ReplaceAll(c.Body, []byte("\r\n"), []byte("\n")); len(unix) < len(c.Body) {
		add(unix, "with LF in place of CRLF")
		add(bytes.TrimSuffix(unix, []byte("\n")), "with LF in place of CRLF, and without that at its end")
	}
	return bodies
}
