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
	"net/textproto"
	"slices"
	"strings"
	"time"
)

// ErrCapture means that the bytes are not a captured request.
var ErrCapture = errors.New("not a captured request")

// Captured is a webhook as received. Credentials are masked, but the event is complete.
type Captured struct {
	At     time.Time   `json:"at,omitzero"`
	Reason string      `json:"reason,omitempty"` // why it was rejected
	Header http.Header `json:"headers"`
	Body   []byte      `json:"body_base64"`
	// Signed says that a header could carry a signature.
	Signed bool `json:"could_be_signed"`
}

const (
	masked         = "***" // instead of the value of a header that must not be kept
	maskedSecret   = "*** the webhook secret itself ***"
	maxKeptHeader  = 4 << 10 // bytes
	maxKeptHeaders = 64
)

// credentialNames are parts of the names of headers that carry credentials.
var credentialNames = []string{"auth", "cookie", "-key", "apikey", "api_key", "token", "passw", "secret", "credential", "session", "jwt"}

// urlHeaders hold a URL, whose query could hold a secret.
var urlHeaders = []string{"Referer", "X-Forwarded-Uri", "X-Original-Uri", "X-Original-Url", "X-Rewrite-Url"}

// Capture copies a rejected request. It masks headers that carry credentials and values that hold one of the secrets,
// except for the headers that the verifier reads.
func (v Verifier) Capture(r *http.Request, body []byte, secrets [][]byte) Captured {
	captured := Captured{
		Header: make(http.Header), Body: bytes.Clone(body), Signed: holdsMAC(r.Header.Get(v.Header)) || couldBeSigned(r.Header),
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
	isRead := slices.ContainsFunc([]string{v.Header, v.TimestampHeader, v.IDHeader}, func(read string) bool { return strings.EqualFold(read, name) })
	switch {
	case len(value) > maxKeptHeader, isCredential(name) && !isRead:
		return masked
	case slices.Contains(urlHeaders, http.CanonicalHeaderKey(name)):
		value, _, _ = strings.Cut(value, "?")
	}
	return value
}

// isCredential reports whether a header carries credentials, by its name.
func isCredential(name string) bool {
	name = strings.ToLower(name)
	return !strings.Contains(name, "signature") &&
		slices.ContainsFunc(credentialNames, func(part string) bool { return strings.Contains(name, part) })
}

// ReadCaptured reads the first of a JSON list of captured requests, or a request as HTTP/1.1 sends it. Its lines may end
// in LF alone, and the request line may be missing. The error wraps ErrCapture.
func ReadCaptured(raw []byte) (Captured, error) {
	var kept []Captured
	if json.Unmarshal(raw, &kept) == nil && len(kept) > 0 {
		return kept[0], nil
	}
	raw = bytes.TrimPrefix(raw, []byte("\ufeff")) // an editor's
	first, rest, _ := bytes.Cut(raw, []byte("\n"))
	if fields := strings.Fields(string(first)); len(fields) > 1 && !strings.Contains(fields[0], ":") {
		raw = rest // after the request line
	}
	reader := bufio.NewReader(bytes.NewReader(raw))
	header, err := textproto.NewReader(reader).ReadMIMEHeader()
	if err != nil || len(header) == 0 {
		return Captured{}, fmt.Errorf("%w: headers, an empty line and the body are needed", ErrCapture)
	}
	body, err := io.ReadAll(reader)
	return Captured{Header: http.Header(header), Body: body, Signed: couldBeSigned(http.Header(header))}, err
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
