package webhook

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"time"
)

// ErrCapture means that the bytes are not a captured request.
var ErrCapture = errors.New("not a captured request")

// Captured is a webhook as received, with its complete event, but only the headers that could prove its sender.
type Captured struct {
	At     time.Time   `json:"at,omitzero"`
	Reason string      `json:"reason,omitempty"` // why it was rejected
	Header http.Header `json:"headers"`
	Body   []byte      `json:"body_base64"`
	// Signed says that a header could carry a signature.
	Signed bool `json:"could_be_signed"`
}

// credentialNames are parts of the names of headers that carry credentials.
var credentialNames = []string{"auth", "cookie", "-key", "apikey", "api_key", "token", "passw", "secret", "credential", "session", "jwt"}

// Capture copies a rejected request. Of the headers, it takes those that the verifier reads, and those that could be a
// signature, a timestamp or an id and carry no credentials. It takes no value that holds one of the secrets.
func (v Verifier) Capture(r *http.Request, body []byte, secrets [][]byte) Captured {
	captured := Captured{Header: make(http.Header), Body: bytes.Clone(body), Signed: couldBeSigned(r.Header)}
	for name, values := range r.Header {
		isRead := slices.ContainsFunc([]string{v.Header, v.TimestampHeader, v.IDHeader}, func(read string) bool {
			return strings.EqualFold(read, name)
		})
		for _, value := range values {
			holdsSecret := slices.ContainsFunc(secrets, func(secret []byte) bool {
				return len(secret) > 0 && strings.Contains(value, string(secret))
			})
			if !holdsSecret && (isRead || couldProve(name, value) && !isCredential(name)) {
				captured.Header.Add(name, value)
			}
		}
	}
	return captured
}

// couldProve reports whether a header could take part in a signature.
func couldProve(name, value string) bool {
	isNamed := strings.Contains(strings.ToLower(name), "signature") || strings.HasSuffix(name, "-Id")
	return isNamed || couldSign(name, value) || couldBeTimestamp(value)
}

// isCredential reports whether a header carries credentials, by its name.
func isCredential(name string) bool {
	name = strings.ToLower(name)
	return !strings.Contains(name, "signature") &&
		slices.ContainsFunc(credentialNames, func(part string) bool { return strings.Contains(name, part) })
}

// ReadCaptured reads the first of a JSON list of captured requests, or a request as HTTP/1.1 sends it. Its lines may end
// in LF alone, and the request line may be missing. A line break at the end is not part of the body: editors add it, and
// Axra sends none. The error wraps ErrCapture.
func ReadCaptured(raw []byte) (Captured, error) {
	var kept []Captured
	if json.Unmarshal(raw, &kept) == nil && len(kept) > 0 {
		return kept[0], nil
	}
	first, rest, _ := bytes.Cut(raw, []byte("\n"))
	if fields := strings.Fields(string(first)); len(fields) > 1 && !strings.Contains(fields[0], ":") {
		raw = rest // after the request line
	}
	reader := bufio.NewReader(bytes.NewReader(raw))
	read, err := textproto.NewReader(reader).ReadMIMEHeader()
	if err != nil || len(read) == 0 {
		return Captured{}, fmt.Errorf("%w: headers, an empty line and the body are needed", ErrCapture)
	}
	header := http.Header(read)
	body, err := io.ReadAll(reader)
	return Captured{Header: header, Body: bytes.TrimRight(body, "\r\n"), Signed: couldBeSigned(header)}, err
}

// Rejected keeps the last two requests that were rejected for their signature: one that could be signed, and one that
// could not. Junk, which anyone can send, does not replace the first.
type Rejected struct {
	mu               sync.Mutex
	signed, unsigned []Captured // at most one each
}

// Keep replaces the request of the same kind.
func (r *Rejected) Keep(request Captured) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if request.Signed {
		r.signed = []Captured{request}
	} else {
		r.unsigned = []Captured{request}
	}
}

// All returns the kept requests, the one that could be signed first.
func (r *Rejected) All() []Captured {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Concat(r.signed, r.unsigned)
}
