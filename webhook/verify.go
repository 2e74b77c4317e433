// Package webhook verifies that an event comes from Axra, and decodes it.
package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// ErrSignature means that an event does not prove that it comes from Axra. The
// wrapped reason is for the operator's log, not for the sender.
var ErrSignature = errors.New("webhook signature")

// Bounds of what is read of an unauthenticated request, in bytes. A Unix time in
// nanoseconds and an ISO 8601 time fit into maxTimestamp.
const (
	maxTimestamp  = 64
	maxMessageID  = 256
	maxSignature  = 2048
	maxCandidates = 8 // signatures in one header: two secrets during a rotation, of a few versions
)

// Verifier checks signatures over the raw bytes of a body. Call Prepare before use.
type Verifier struct {
	Secrets         [][]byte // any of them may have signed; several during a rotation
	Header          string   // carries the HMAC-SHA256
	Scheme          string   // what is signed; one of Schemes
	TimestampHeader string   // for SchemeTimestampBody and SchemeStandard
	IDHeader        string   // for SchemeStandard
	SecretEncoding  string   // how the secrets are written; one of SecretEncodings, or as they are
}

// signature is the signature of a request.
type signature struct {
	prefix string   // signed before the body
	macs   [][]byte // one of them must match
}

// Verify returns nil if one of the secrets signed the body, else an error that
// wraps ErrSignature. There is no limit to an event's age: a genuine retry can
// come late, and events are idempotent, so a replay changes nothing.
func (v Verifier) Verify(header http.Header, body []byte) error {
	given, err := v.read(header)
	if err != nil {
		return err
	}
	match := 0
	for _, secret := range v.Secrets {
		if len(secret) == 0 {
			continue // anyone can sign with an empty secret
		}
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(given.prefix))
		mac.Write(body)
		sum := mac.Sum(nil)
		// No early return: the time taken must not tell which secret matched.
		for _, candidate := range given.macs {
			match |= subtle.ConstantTimeCompare(sum, candidate)
		}
	}
	if match != 1 {
		return fmt.Errorf("%w: no configured secret produces the value in %s", ErrSignature, v.Header)
	}
	return nil
}

// read reads the headers that the scheme needs.
func (v Verifier) read(header http.Header) (signature, error) {
	value, err := single(header, v.Header, maxSignature)
	if err != nil {
		return signature{}, err
	}
	switch v.Scheme {
	case SchemeTimestampV1:
		return v.readPairs(value)
	case SchemeStandard:
		return v.readStandard(header, value)
	}
	mac, ok := readMAC(value)
	if !ok {
		return signature{}, fmt.Errorf("%w: header %s does not hold 32 bytes in hex or base64", ErrSignature, v.Header)
	}
	read := signature{macs: [][]byte{mac}}
	if v.Scheme == SchemeTimestampBody {
		timestamp, err := signedText(header, v.TimestampHeader, maxTimestamp)
		if err != nil {
			return signature{}, err
		}
		read.prefix = timestamp + "."
	}
	return read, nil
}

// readPairs reads `t=<unix>,v1=<mac>,…` and skips other versions.
func (v Verifier) readPairs(value string) (signature, error) {
	var read signature
	timestamps := 0
	for part := range strings.SplitSeq(value, ",") {
		switch name, given, _ := strings.Cut(strings.TrimSpace(part), "="); name {
		case "t":
			timestamps++
			read.prefix = given + "."
			if !isDigits(given) || len(given) > maxTimestamp {
				return signature{}, fmt.Errorf("%w: t in header %s is not a Unix time", ErrSignature, v.Header)
			}
		case "v1":
			read.add(given)
		}
	}
	if timestamps != 1 {
		return signature{}, fmt.Errorf("%w: header %s does not hold t=<unix> exactly once", ErrSignature, v.Header)
	}
	return read, v.bounded(read)
}

// readStandard reads `v1,<mac> v1,<mac> …`, the scheme of standardwebhooks.com.
func (v Verifier) readStandard(header http.Header, value string) (signature, error) {
	id, err := signedText(header, v.IDHeader, maxMessageID)
	if err != nil {
		return signature{}, err
	}
	timestamp, err := signedText(header, v.TimestampHeader, maxTimestamp)
	if err != nil {
		return signature{}, err
	}
	read := signature{prefix: id + "." + timestamp + "."}
	for part := range strings.FieldsSeq(value) {
		if version, given, _ := strings.Cut(part, ","); version == "v1" {
			read.add(given)
		}
	}
	return read, v.bounded(read)
}

// add keeps a candidate, unless it cannot be an HMAC-SHA256.
func (s *signature) add(given string) {
	if mac, ok := decodeMAC(given); ok {
		s.macs = append(s.macs, mac)
	}
}

func (v Verifier) bounded(read signature) error {
	switch {
	case len(read.macs) == 0:
		return fmt.Errorf("%w: header %s holds no v1 signature of 32 bytes in hex or base64", ErrSignature, v.Header)
	case len(read.macs) > maxCandidates:
		return fmt.Errorf("%w: header %s holds more than %d signatures", ErrSignature, v.Header, maxCandidates)
	}
	return nil
}

// single returns the value of a header that occurs once.
func single(header http.Header, name string, limit int) (string, error) {
	values := header.Values(name)
	switch {
	case len(values) == 0:
		return "", fmt.Errorf("%w: header %s is missing", ErrSignature, name)
	case len(values) > 1:
		return "", fmt.Errorf("%w: header %s is repeated", ErrSignature, name)
	case len(values[0]) > limit:
		return "", fmt.Errorf("%w: header %s is longer than %d bytes", ErrSignature, name, limit)
	}
	return values[0], nil
}

// signedText returns a header that is signed before the body. It rejects braces and
// quotation marks, with which the beginning of a signed body could be moved into the header.
func signedText(header http.Header, name string, limit int) (string, error) {
	value, err := single(header, name, limit)
	if err != nil {
		return "", err
	}
	if value == "" || !isPlain(value) {
		return "", fmt.Errorf("%w: header %s is empty or holds characters other than letters, digits, spaces and -_.:+,", ErrSignature, name)
	}
	return value, nil
}

func isPlain(value string) bool {
	for _, c := range []byte(value) {
		if !isDigit(c) && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && !strings.ContainsRune("-_.:+, ", rune(c)) {
			return false
		}
	}
	return true
}

func isDigits(value string) bool {
	for _, c := range []byte(value) {
		if !isDigit(c) {
			return false
		}
	}
	return value != ""
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
