// Package webhook verifies that an event comes from Axra, and decodes it.
package webhook

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// ErrSignature means that an event does not prove that it comes from Axra. The
// wrapped reason is for the operator's log, not for the sender.
var ErrSignature = errors.New("webhook signature")

// Bounds of what is read of an unauthenticated request, in bytes.
const (
	maxText       = 256 // of an id or a time
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

// Verify returns nil if one of the secrets signed the body, else an error that wraps ErrSignature. There is no limit to
// an event's age: a genuine retry can come late, and events are idempotent, so a replay changes nothing.
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
	var read signature
	var candidates []string
	switch v.Scheme {
	case SchemeTimestampV1:
		read.prefix, candidates, err = v.readPairs(value)
	case SchemeStandard:
		read.prefix, err = v.signedTexts(header, v.IDHeader, v.TimestampHeader)
		for part := range strings.FieldsSeq(value) { // `v1,<mac> v1,<mac> …`
			if given, ok := strings.CutPrefix(part, "v1,"); ok {
				candidates = append(candidates, given)
			}
		}
	case SchemeTimestampBody:
		read.prefix, err = v.signedTexts(header, v.TimestampHeader)
		fallthrough
	default:
		candidates = []string{strings.TrimPrefix(strings.TrimSpace(value), "sha256=")}
	}
	for _, given := range candidates {
		if mac, ok := decodeMAC(given); ok {
			read.macs = append(read.macs, mac)
		}
	}
	switch {
	case err != nil:
		return signature{}, err
	case len(read.macs) == 0 || len(read.macs) > maxCandidates:
		return signature{}, fmt.Errorf("%w: header %s must hold 1 to %d signatures of 32 bytes in hex or base64",
			ErrSignature, v.Header, maxCandidates)
	}
	return read, nil
}

// readPairs reads `t=<unix>,v1=<mac>,…` and skips other versions.
func (v Verifier) readPairs(value string) (prefix string, candidates []string, err error) {
	timestamps := 0
	for part := range strings.SplitSeq(value, ",") {
		switch name, given, _ := strings.Cut(strings.TrimSpace(part), "="); name {
		case "t":
			timestamps++
			prefix = given + "."
			if !isDigits(given) || len(given) > maxText {
				timestamps = 2
			}
		case "v1":
			candidates = append(candidates, given)
		}
	}
	if timestamps != 1 {
		err = fmt.Errorf("%w: header %s does not hold t=<unix> exactly once", ErrSignature, v.Header)
	}
	return prefix, candidates, err
}

// single returns the value of a header that occurs once.
func single(header http.Header, name string, limit int) (string, error) {
	values := header.Values(name)
	switch {
	case len(values) == 0:
		return "", fmt.Errorf("%w: header %s is missing", ErrSignature, name)
	case len(values) > 1 || len(values[0]) > limit:
		return "", fmt.Errorf("%w: header %s is repeated or longer than %d bytes", ErrSignature, name, limit)
	}
	return values[0], nil
}

// signedTexts returns headers that are signed before the body, each with a dot after it. It rejects braces and
// quotation marks, with which the beginning of a signed body could be moved into the header.
func (v Verifier) signedTexts(header http.Header, names ...string) (prefix string, err error) {
	for _, name := range names {
		value, err := single(header, name, maxText)
		if err != nil {
			return "", err
		}
		if value == "" || !isPlain(value) {
			return "", fmt.Errorf("%w: header %s is empty or holds characters other than letters, digits, spaces and -_.:+,", ErrSignature, name)
		}
		prefix += value + "."
	}
	return prefix, nil
}

const (
	digits  = "0123456789"
	letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

func isPlain(value string) bool  { return strings.Trim(value, digits+letters+"-_.:+, ") == "" }
func isDigits(value string) bool { return value != "" && strings.Trim(value, digits) == "" }

// decodeMAC reads 32 bytes in hex or base64; the length tells which.
func decodeMAC(value string) ([]byte, bool) {
	var mac []byte
	var err error
	if len(value) == hex.EncodedLen(sha256.Size) {
		mac, err = hex.DecodeString(value)
	} else {
		mac, err = decodeBase64(value)
	}
	return mac, err == nil && len(mac) == sha256.Size
}

// decodeBase64 reads both alphabets, padded or not. It accepts only the canonical spelling of the bytes.
func decodeBase64(value string) ([]byte, error) {
	encoding := base64.StdEncoding
	if strings.ContainsAny(value, "-_") {
		encoding = base64.URLEncoding
	}
	if at := strings.IndexAny(value, "\r\n"); at >= 0 { // which the decoder would skip
		return nil, base64.CorruptInputError(at)
	}
	if !strings.HasSuffix(value, "=") {
		encoding = encoding.WithPadding(base64.NoPadding)
	}
	return encoding.Strict().DecodeString(value)
}

// Schemes of what is signed. Axra's documentation does not say which one it uses;
// these are common among payment providers.
const (
	// SchemeBody: HMAC-SHA256 of the raw body, in hex or base64, an optional "sha256=" before it.
	SchemeBody = "body"
	// SchemeTimestampBody: the same over the timestamp header's value, a dot and the raw body.
	SchemeTimestampBody = "timestamp.body"
	// SchemeTimestampV1: one header `t=<unix>,v1=<mac>` over the time, a dot and the
	// raw body. There may be several v1, and other fields.
	SchemeTimestampV1 = "t,v1"
	// SchemeStandard is that of standardwebhooks.com: a header of one or more `v1,<mac>`, separated by spaces, over the
	// id header's value, a dot, the timestamp header's value, a dot and the raw body.
	SchemeStandard = "standard_webhooks"
)

// Schemes lists the schemes that a Verifier knows, the default first.
var Schemes = []string{SchemeBody, SchemeTimestampBody, SchemeTimestampV1, SchemeStandard}

// Encodings of secrets: the key is what they decode to.
const (
	EncodingHex    = "hex"
	EncodingBase64 = "base64" // either alphabet, padded or not, an optional "whsec_" before it
)

// SecretEncodings lists the encodings that a Verifier knows. By default the secret is the key as it is written.
var SecretEncodings = []string{EncodingHex, EncodingBase64}

// Defaults of a Verifier.
const (
	DefaultHeader          = "X-Axra-Signature"
	DefaultTimestampHeader = "X-Axra-Timestamp"
	// With SchemeStandard.
	StandardHeader          = "Webhook-Signature"
	StandardTimestampHeader = "Webhook-Timestamp"
	StandardIDHeader        = "Webhook-Id"
)

// standardPrefix marks a base64 secret of standardwebhooks.com.
const standardPrefix = "whsec_"

// Errors of a Verifier's configuration.
var (
	ErrScheme         = errors.New("unknown signature scheme")
	ErrSecretEncoding = errors.New("secret encoding")
)

// Prepare fills in the defaults and decodes the secrets. The error wraps ErrScheme or
// ErrSecretEncoding, and quotes no secret.
func (v Verifier) Prepare() (Verifier, error) {
	v.Scheme = cmp.Or(v.Scheme, SchemeBody)
	if !slices.Contains(Schemes, v.Scheme) {
		return v, fmt.Errorf("%w %q: write one of %q", ErrScheme, v.Scheme, Schemes)
	}
	header, timestamp := DefaultHeader, DefaultTimestampHeader
	if v.Scheme == SchemeStandard {
		header, timestamp = StandardHeader, StandardTimestampHeader
	}
	v.Header = cmp.Or(v.Header, header)
	v.TimestampHeader = cmp.Or(v.TimestampHeader, timestamp)
	v.IDHeader = cmp.Or(v.IDHeader, StandardIDHeader)
	if v.SecretEncoding != "" && !slices.Contains(SecretEncodings, v.SecretEncoding) {
		return v, fmt.Errorf("%w %q is unknown: write one of %q", ErrSecretEncoding, v.SecretEncoding, SecretEncodings)
	}
	keys, err := v.keys()
	v.Secrets = keys
	return v, err
}

// keys decodes the secrets.
func (v Verifier) keys() ([][]byte, error) {
	keys := make([][]byte, 0, len(v.Secrets))
	for i, secret := range v.Secrets {
		key, ok := decodeSecret(string(secret), v.SecretEncoding)
		if !ok {
			return nil, fmt.Errorf("%w: secret %d is not %s: correct it, or leave out secret_encoding",
				ErrSecretEncoding, i+1, cmp.Or(v.SecretEncoding, "complete"))
		}
		keys = append(keys, key)
		if v.Scheme == SchemeStandard && v.SecretEncoding == "" && strings.HasPrefix(string(secret), standardPrefix) {
			if key, ok := decodeSecret(string(secret), EncodingBase64); ok {
				keys = append(keys, key)
			}
		}
	}
	return keys, nil
}

// decodeSecret returns the key of a secret. It rejects an empty key and one of zeros, which
// are the same to an HMAC: anyone could sign with them.
func decodeSecret(secret, encoding string) (key []byte, ok bool) {
	var err error
	switch encoding {
	case EncodingHex:
		key, err = hex.DecodeString(secret)
	case EncodingBase64:
		key, err = decodeBase64(strings.TrimPrefix(secret, standardPrefix))
	default:
		return []byte(secret), secret != standardPrefix
	}
	return key, err == nil && strings.Trim(string(key), "\x00") != ""
}
