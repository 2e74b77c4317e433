package webhook

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Schemes of what is signed. Axra's documentation does not say which one it uses;
// these are common among payment providers.
const (
	// SchemeBody: HMAC-SHA256 of the raw body, in hex or base64, an optional
	// "sha256=" before it.
	SchemeBody = "body"
	// SchemeTimestampBody: the same over the timestamp header's value, a dot and the
	// raw body.
	SchemeTimestampBody = "timestamp.body"
	// SchemeTimestampV1: one header `t=<unix>,v1=<mac>` over the time, a dot and the
	// raw body. There may be several v1, and other fields.
	SchemeTimestampV1 = "t,v1"
	// SchemeStandard is that of standardwebhooks.com: a header of one or more
	// `v1,<mac>`, separated by spaces, over the id header's value, a dot, the
	// timestamp header's value, a dot and the raw body.
	SchemeStandard = "standard_webhooks"
)

// Schemes lists the schemes that a Verifier knows, the default first.
var Schemes = []string{SchemeBody, SchemeTimestampBody, SchemeTimestampV1, SchemeStandard}

// Encodings of secrets: the key is what they decode to.
const (
	EncodingHex    = "hex"
	EncodingBase64 = "base64" // either alphabet, padded or not, an optional "whsec_" before it
)

// SecretEncodings lists the encodings that a Verifier knows. By default the secret is
// the key as it is written.
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
