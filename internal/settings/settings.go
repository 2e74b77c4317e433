// Package settings checks and resolves the secrets, addresses and database of a configuration. Errors name the fix, and
// quote nothing that could be a secret.
package settings

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/webhook"
)

// Secret resolves the placeholder of a secret; empty if none is configured. It rejects a literal, which Caddy's admin
// API would show and its autosaved configuration would contain.
func Secret(name, value string) (string, error) {
	if value == "" {
		return "", nil
	}
	if err := CheckPlaceholder(name, value); err != nil {
		return "", err
	}
	resolved := strings.TrimSpace(resolve(value))
	if resolved == "" {
		return "", fmt.Errorf("%s %s is empty in the running Caddy: set that variable and restart, or use {file./path}", name, value)
	}
	return resolved, nil
}

// resolve replaces the placeholders of a value; empty: one of them is unknown or empty.
func resolve(value string) string {
	resolved, err := caddy.NewReplacer().ReplaceOrErr(value, true, true)
	if err != nil {
		return ""
	}
	return resolved
}

// CheckPlaceholder returns an error if the value of a secret is not a placeholder.
func CheckPlaceholder(name, value string) error {
	content, isOpened := strings.CutPrefix(value, "{")
	content, isClosed := strings.CutSuffix(content, "}")
	isKnown := strings.HasPrefix(content, "env.") || strings.HasPrefix(content, "file.")
	if isOpened && isClosed && isKnown && !strings.ContainsAny(content, "{}") {
		return nil
	}
	return fmt.Errorf("%s must be a placeholder, so that the secret stays out of the configuration: "+
		"write {env.NAME} or {file./path} (not {$NAME}, which Caddy expands into the configuration)", name)
}

// Secrets are those of an Axra business.
type Secrets struct {
	Key, Secret string   // of the API
	Webhook     [][]byte // which may sign webhooks
}

// ResolveSecrets resolves the placeholders of all secrets. Without webhook secrets, the API secret verifies webhooks.
func ResolveSecrets(key, secret string, webhooks []string) (s Secrets, err error) {
	if s.Key, err = Secret("api_key", key); err != nil {
		return s, err
	}
	if s.Secret, err = Secret("api_secret", secret); err != nil {
		return s, err
	}
	if s.Secret != "" && s.Key == "" {
		return s, errors.New("api_secret is set without api_key: add `api_key {env.AXRA_API_KEY}`")
	}
	for _, webhook := range webhooks {
		resolved, err := Secret("webhook_secret", webhook)
		if err != nil {
			return s, err
		}
		if resolved == "" {
			return s, errors.New("webhook_secret is empty: anyone could sign with it; remove it or give it a value")
		}
		s.Webhook = append(s.Webhook, []byte(resolved))
	}
	if len(s.Webhook) == 0 && s.Secret != "" {
		s.Webhook = [][]byte{[]byte(s.Secret)}
	}
	return s, nil
}

// Limits bounds how many checkout sessions are started. Others see a page that says when to try again.
type Limits struct {
	// PerClient bounds one client, by Caddy's client IP (so `trusted_proxies` applies); an IPv6 client is its /64
	// network. The default is 30 per 10m.
	PerClient Rate `json:"per_client,omitzero"`

	// Total bounds all clients together. The default is 600 per 1m.
	Total Rate `json:"total,omitzero"`
}

// Rate is a number of events within a time.
type Rate struct {
	// Events is the number of events allowed.
	Events int `json:"events"`

	// Per is the time to which the number applies.
	Per caddy.Duration `json:"per"`
}

// Rates are the configured limits, or their defaults.
func (l Limits) Rates() (perClient, total session.Rate, err error) {
	for name, rate := range map[string]Rate{"per_client": l.PerClient, "total": l.Total} {
		if rate != (Rate{}) && (rate.Events < 1 || rate.Per <= 0) {
			return perClient, total, fmt.Errorf("limit %s must allow at least one session within a time greater than zero", name)
		}
	}
	perClient = session.Rate{Events: l.PerClient.Events, Per: time.Duration(l.PerClient.Per)}
	total = session.Rate{Events: l.Total.Events, Per: time.Duration(l.Total.Per)}
	return cmp.Or(perClient, session.DefaultPerClient), cmp.Or(total, session.DefaultTotal), nil
}

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
