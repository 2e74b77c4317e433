package admin

import (
	"context"
	"net/http"

	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/token"
	"github.com/caddy-axra/paywall/webhook"
)

// ReplayRequest is an event that Axra sent, or should have sent.
type ReplayRequest struct {
	Body   []byte      `json:"body"`             // base64
	Header http.Header `json:"header,omitempty"` // of the request, if known
	Trust  bool        `json:"trust,omitempty"`  // takes a body without a good signature
}

// Replayed says what became of a replayed event.
type Replayed struct {
	Event   string `json:"event"`
	Outcome string `json:"outcome"`
	Session string `json:"session,omitempty"`
	Signed  bool   `json:"signed"`
}

func (a *API) rejectedWebhooks(context.Context, None) ([]webhook.Captured, error) {
	return a.RejectedWebhooks(), nil
}

// replayWebhook takes an event as if it had come to the webhook.
func (a *API) replayWebhook(ctx context.Context, request ReplayRequest) (Replayed, error) {
	body, unsigned := a.signedBody(request)
	if unsigned != nil && !request.Trust {
		return Replayed{}, refuse(http.StatusForbidden, "%w; if you know that it comes from Axra, add --trust", unsigned)
	}
	event, err := webhook.Decode(body)
	if err != nil {
		return Replayed{}, refuse(http.StatusBadRequest, "%w", err)
	}
	outcome, err := a.RecordEvent(ctx, event)
	if err != nil {
		return Replayed{}, refuse(http.StatusServiceUnavailable, "%w", err)
	}
	if unsigned != nil {
		a.Logger.Warn("the operator had an event taken without a good signature",
			zap.String("event", string(event.Type)), zap.String("session", webhook.ShortID(event.Session)), zap.String("outcome", string(outcome)))
	}
	return Replayed{Event: string(event.Type), Outcome: string(outcome), Session: event.Session, Signed: unsigned == nil}, nil
}

// signedBody returns the reading of the body whose signature is good; without one, the body as it is and the reason.
func (a *API) signedBody(request ReplayRequest) (body []byte, unsigned error) {
	for _, reading := range (webhook.Captured{Header: request.Header, Body: request.Body}).Bodies() {
		err := a.VerifyWebhook(request.Header, reading.Bytes)
		if err == nil {
			return reading.Bytes, nil
		}
		if unsigned == nil {
			unsigned = err
		}
	}
	return request.Body, unsigned
}

// RemoveKeyRequest names a signing key.
type RemoveKeyRequest struct {
	Key string `json:"key"`
}

func (a *API) listKeys(context.Context, None) ([]token.KeyInfo, error) {
	return a.Keys.List(a.SigningAlgorithm), nil
}

func (a *API) rotateKeys(ctx context.Context, _ None) ([]token.KeyInfo, error) {
	kid, err := a.Keys.Rotate(ctx, a.Ledger, a.SigningAlgorithm)
	if err == nil {
		a.Logger.Info("signing key added; it signs once every node has read it", zap.String("kid", kid))
	}
	return a.Keys.List(a.SigningAlgorithm), err
}

func (a *API) removeKey(ctx context.Context, request RemoveKeyRequest) ([]token.KeyInfo, error) {
	replacement, err := a.Keys.Remove(ctx, a.Ledger, request.Key, a.SigningAlgorithm)
	if err == nil {
		a.Logger.Warn("signing key removed; the tokens that it signed are now invalid",
			zap.String("kid", request.Key), zap.String("replacement", replacement))
	}
	return a.Keys.List(a.SigningAlgorithm), err
}
