package settings

import "github.com/caddy-axra/paywall/webhook"

// Signature says how webhooks are signed: with an HMAC-SHA256, in hex or base64, with or without `sha256=` before it.
// `caddy axra webhook inspect` finds out what to write here from a captured request.
type Signature struct {
	// Header is the name of the header that carries the signature. The default is `X-Axra-Signature`, or
	// `Webhook-Signature` for the scheme `standard_webhooks`.
	Header string `json:"header,omitempty"`

	// Scheme is what is signed, and how the header is written.
	//
	//   - `body` (the default): the raw body.
	//   - `timestamp.body`: the value of the timestamp header, a dot and the raw body.
	//   - `t,v1`: the header is `t=<unix time>,v1=<signature>`; signed are the time, a
	//     dot and the raw body. There may be several `v1`; other fields are ignored.
	//   - `standard_webhooks`: as [Standard Webhooks](https://www.standardwebhooks.com)
	//     define it. The header is `v1,<signature>`, several of them separated by spaces,
	//     and other versions are ignored; signed are the value of the id header, a dot,
	//     that of the timestamp header, a dot and the raw body. A secret that begins
	//     with `whsec_` may be the key as it is written or by what follows in base64.
	Scheme string `json:"scheme,omitempty"`

	// TimestampHeader is the name of the timestamp header for the schemes `timestamp.body` (by default
	// `X-Axra-Timestamp`) and `standard_webhooks` (by default `Webhook-Timestamp`).
	TimestampHeader string `json:"timestamp_header,omitempty"`

	// IDHeader is the name of the header with the message's id, for `standard_webhooks`. The default is `Webhook-Id`.
	IDHeader string `json:"id_header,omitempty"`

	// SecretEncoding is `hex` or `base64` if all webhook secrets must be decoded to get the key. With `base64`, a
	// prefix `whsec_` is removed first. By default the secret is used as written.
	SecretEncoding string `json:"secret_encoding,omitempty"`
}

// Verifier checks signatures under the secrets.
func (c Signature) Verifier(secrets [][]byte) (webhook.Verifier, error) {
	return webhook.Verifier{
		Secrets: secrets, Header: c.Header, Scheme: c.Scheme, TimestampHeader: c.TimestampHeader,
		IDHeader: c.IDHeader, SecretEncoding: c.SecretEncoding,
	}.Prepare()
}
