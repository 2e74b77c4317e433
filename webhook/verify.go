// Package webhook checks that an event comes from Axra and says what it means.
package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// ErrSignature: the event does not prove that it comes from Axra. The reason
// within is for the operator's log, not for the sender.
var ErrSignature = errors.New("webhook signature")

// Schemes of what is signed. Axra's documentation leaves it open, so it is
// configuration.
const (
	// SchemeBody: HMAC-SHA256 of the raw body.
	SchemeBody = "body"
	// SchemeTimestampBody: HMAC-SHA256 of the timestamp header's value, a dot
	// and the raw body.
	SchemeTimestampBody = "timestamp.body"
)

// Defaults of a Verifier.
const (
	DefaultHeader          = "X-Axra-Signature"
	DefaultTimestampHeader = "X-Axra-Timestamp"
)

// maxTimestamp bounds the timestamp header in bytes; a Unix time in
// nanoseconds or an ISO 8601 time fits.
const maxTimestamp = 64

// Verifier checks signatures over the raw bytes of a body.
type Verifier struct {
	Secrets         [][]byte // any of them may have signed; several during a rotation
	Header          string   // carries the hex HMAC-SHA256, an optional "sha256=" before it
	Scheme          string   // SchemeBody or SchemeTimestampBody
	TimestampHeader string   // for SchemeTimestampBody
}

// Verify returns nil if one of the secrets signed the body, else an error that
// wraps ErrSignature. There is no limit to an event's age: a genuine retry can
// come late, and facts are idempotent, so a replay changes nothing.
func (v Verifier) Verify(header http.Header, body []byte) error {
	given, err := v.signature(header)
	if err != nil {
		return err
	}
	prefix, err := v.signedPrefix(header)
	if err != nil {
		return err
	}
	match := 0
	for _, secret := range v.Secrets {
		if len(secret) == 0 {
			continue // anybody can sign with an empty secret
		}
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(prefix))
		mac.Write(body)
		// No early return: the time taken must not tell which secret matched.
		if hmac.Equal(mac.Sum(nil), given) {
			match++
		}
	}
	if match == 0 {
		return fmt.Errorf("%w: no configured secret produces the value in %s", ErrSignature, v.Header)
	}
	return nil
}

func (v Verifier) signature(header http.Header) ([]byte, error) {
	values := header.Values(v.Header)
	switch {
	case len(values) == 0:
		return nil, fmt.Errorf("%w: header %s is missing", ErrSignature, v.Header)
	case len(values) > 1:
		return nil, fmt.Errorf("%w: header %s is repeated", ErrSignature, v.Header)
	}
	value := strings.TrimPrefix(strings.TrimSpace(values[0]), "sha256=")
	if len(value) != hex.EncodedLen(sha256.Size) {
		return nil, fmt.Errorf("%w: header %s does not hold 64 hex digits", ErrSignature, v.Header)
	}
	given, err := hex.DecodeString(value)
	if err != nil {
		return nil, fmt.Errorf("%w: header %s is not hex", ErrSignature, v.Header)
	}
	return given, nil
}

func (v Verifier) signedPrefix(header http.Header) (string, error) {
	if v.Scheme != SchemeTimestampBody {
		return "", nil
	}
	values := header.Values(v.TimestampHeader)
	if len(values) != 1 || values[0] == "" || len(values[0]) > maxTimestamp {
		return "", fmt.Errorf("%w: header %s is missing, repeated or too long", ErrSignature, v.TimestampHeader)
	}
	return values[0] + ".", nil
}
