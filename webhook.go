package paywall

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/node"
	"github.com/caddy-axra/paywall/internal/option"
	"github.com/caddy-axra/paywall/internal/payments"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/webhook"
)

// Webhook receives Axra's events. It verifies the signature over the raw body, stores the event, and only then answers
// 200; otherwise 5xx, so that Axra sends it again. In a Caddyfile it is the directive `axra_webhook`.
type Webhook struct {
	// KeepRejected keeps the last requests that were rejected for their signature, for `caddy axra webhook rejected`:
	// one that could be signed and one that could not, each with at most 64 KB of body. They stay in memory until newer
	// ones replace them, Caddy stops, or a configuration without this option is loaded. Of the headers, only those that
	// could take part in a signature are kept; customer data in an event is kept. By default nothing is kept.
	KeepRejected bool `json:"keep_rejected,omitempty"`

	app    *App
	logger *zap.Logger
}

// Limits of a webhook.
const (
	maxBody      = 64 << 10
	bodyTimeout  = 10 * time.Second
	storeTimeout = 20 * time.Second
)

// Provision reads the webhook's configuration. It needs a secret to verify events with.
func (h *Webhook) Provision(ctx caddy.Context) (err error) {
	h.logger = ctx.Logger()
	if h.app, err = appFrom(ctx, "axra_webhook"); err != nil {
		return err
	}
	if len(h.app.settings.verifier.Secrets) == 0 {
		return errors.New("axra_webhook: the global option axra has no webhook_secret, so no event could be verified: " +
			"add `webhook_secret {env.AXRA_WEBHOOK_SECRET}`")
	}
	if h.KeepRejected {
		h.app.shared.rejected = acquire(h.app, "rejected", func() *webhook.Rejected { return new(webhook.Rejected) })
	}
	return nil
}

func (h *Webhook) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	w.Header().Set("Cache-Control", "no-store")
	if !isAllowed(w, r, http.MethodPost) {
		return nil
	}
	status, outcome, event := h.receive(w, r)
	h.app.shared.metrics.CountEvent(event, outcome)
	if status >= 500 {
		w.Header().Set("Retry-After", "10")
	}
	w.WriteHeader(status)
	return nil
}

// receive handles a delivery. It returns the status to answer with, and the outcome and event to count.
func (h *Webhook) receive(w http.ResponseWriter, r *http.Request) (status int, outcome string, event webhook.Type) {
	body, status := readBody(w, r)
	if status != http.StatusOK {
		return status, outcomeUnreadable, ""
	}
	if err := h.app.settings.verifier.Verify(r.Header, body); err != nil {
		h.reject(r, body, err)
		return http.StatusUnauthorized, outcomeUnsigned, ""
	}
	decoded, err := webhook.Decode(body)
	if err != nil {
		h.warn(outcomeMalformed, err)
		return http.StatusBadRequest, outcomeMalformed, ""
	}
	// A verified event is stored even if the sender hangs up or the configuration is reloaded.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), storeTimeout)
	defer cancel()
	recorded, err := h.app.recorder.Record(ctx, decoded)
	if err != nil {
		h.app.shared.metrics.CountLedgerError(node.OperationWrite)
		h.app.limit.Error(h.logger, "a verified event could not be stored; Axra is asked to send it again",
			zap.String("event", string(decoded.Type)), zap.String("session", webhook.ShortID(decoded.Session)),
			zap.String("payment", webhook.ShortID(decoded.Payment)), zap.Error(err))
		return http.StatusServiceUnavailable, outcomeNotStored, decoded.Type
	}
	return http.StatusOK, string(recorded), decoded.Type
}

// reject logs, publishes and, if configured, keeps a webhook whose signature does not verify.
func (h *Webhook) reject(r *http.Request, body []byte, err error) {
	reason := payments.ReasonSignature
	if r.Header.Get(h.app.settings.verifier.Header) == "" {
		reason = payments.ReasonUnsigned
	}
	if h.warn(reason, err) {
		h.app.recorder.Reject(ledger.Payment{}, reason)
	}
	if h.KeepRejected {
		captured := h.app.settings.verifier.Capture(r, body, h.app.settings.credentials)
		captured.At, captured.Reason = h.app.now().UTC(), err.Error()
		h.app.shared.rejected.Keep(captured)
	}
}

// warn logs a rejected webhook, once a minute per reason: junk, which anyone can send, must not hide a wrong secret.
func (h *Webhook) warn(reason string, err error) (logged bool) {
	logged = h.app.limit.IsDue("webhook rejected: " + reason)
	if logged {
		h.logger.Warn("a webhook was rejected", zap.Error(err))
	}
	return logged
}

// readBody reads at most maxBody within bodyTimeout.
func readBody(w http.ResponseWriter, r *http.Request) (body []byte, status int) {
	controller := http.NewResponseController(w)
	limited := controller.SetReadDeadline(time.Now().Add(bodyTimeout)) == nil
	if r.ContentLength > maxBody {
		if r.ProtoMajor == 1 {
			w.Header().Set("Connection", "close") // otherwise the server reads on before it responds
		}
		return nil, http.StatusRequestEntityTooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, http.StatusRequestEntityTooLarge
	case err != nil:
		if r.ProtoMajor == 1 {
			w.Header().Set("Connection", "close")
		}
		return nil, http.StatusRequestTimeout
	}
	if limited {
		_ = controller.SetReadDeadline(time.Time{})
	}
	return body, http.StatusOK
}

// UnmarshalCaddyfile reads the directive axra_webhook. docs/reference.md has its syntax.
func (h *Webhook) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return readDirective(d, "/webhooks/axra", "; secrets and signature are set in the global option axra", h.options())
}

func (h *Webhook) options() []option.Option {
	return []option.Option{option.Flag("keep_rejected", &h.KeepRejected)}
}
