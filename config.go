package paywall

import (
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/webhook"
)

// SignatureConfig says how webhooks are signed: with an HMAC-SHA256, in hex or base64,
// with or without `sha256=` before it. `caddy axra webhook inspect` finds out what to
// write here from a captured request.
type SignatureConfig struct {
	// Header is the name of the header that carries the signature. The default is
	// `X-Axra-Signature`, for the scheme `standard_webhooks` it is
	// `Webhook-Signature`.
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

	// TimestampHeader is the name of the timestamp header for the schemes
	// `timestamp.body` (by default `X-Axra-Timestamp`) and `standard_webhooks` (by
	// default `Webhook-Timestamp`).
	TimestampHeader string `json:"timestamp_header,omitempty"`

	// IDHeader is the name of the header with the message's id, for the scheme
	// `standard_webhooks`. The default is `Webhook-Id`.
	IDHeader string `json:"id_header,omitempty"`

	// SecretEncoding is `hex` or `base64` if the key is what the secret decodes to, for all webhook
	// secrets. With `base64` a `whsec_` before it is left out. By default the secret as it is written
	// is the key.
	SecretEncoding string `json:"secret_encoding,omitempty"`
}

// LimitsConfig bounds how many checkout sessions are started. A visitor beyond a
// limit sees a page that says when to try again.
type LimitsConfig struct {
	// PerClient bounds one client, by Caddy's client IP (so `trusted_proxies`
	// applies); an IPv6 client is its /64 network. The default is 30 per 10m.
	PerClient *Rate `json:"per_client,omitempty"`

	// Total bounds all clients together. The default is 600 per 1m.
	Total *Rate `json:"total,omitempty"`
}

// Rate is a number of events within a time.
type Rate struct {
	// Events is how many there may be.
	Events int `json:"events"`

	// Per is the time within which there may be so many.
	Per caddy.Duration `json:"per"`
}

// verifier checks signatures under the secrets.
func (c *SignatureConfig) verifier(secrets [][]byte) (webhook.Verifier, error) {
	if c == nil {
		c = new(SignatureConfig)
	}
	return webhook.Verifier{
		Secrets: secrets, Header: c.Header, Scheme: c.Scheme, TimestampHeader: c.TimestampHeader,
		IDHeader: c.IDHeader, SecretEncoding: c.SecretEncoding,
	}.Prepare()
}

// rates are the configured limits, or their defaults.
func (l *LimitsConfig) rates() (perClient, total session.Rate, err error) {
	if l == nil {
		l = new(LimitsConfig)
	}
	perClient, perClientErr := l.PerClient.or(session.DefaultPerClient, "per_client")
	total, totalErr := l.Total.or(session.DefaultTotal, "total")
	return perClient, total, errors.Join(perClientErr, totalErr)
}

func (r *Rate) or(byDefault session.Rate, name string) (session.Rate, error) {
	switch {
	case r == nil:
		return byDefault, nil
	case r.Events < 1 || r.Per <= 0:
		return byDefault, fmt.Errorf("limit %s must allow at least one session within a time greater than zero", name)
	}
	return session.Rate{Events: r.Events, Per: time.Duration(r.Per)}, nil
}
