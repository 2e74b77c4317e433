package admin

import (
	"context"
	"net/http"

	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/payments"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/webhook"
)

// ReplayRequest is an event that Axra sent, or should have sent.
type ReplayRequest struct {
	File  []byte `json:"file"` // a captured request, or a body alone; in base64
	Trust bool   `json:"trust,omitempty" help:"Accept it without a valid signature"`
}

// Replayed says what became of a replayed event.
type Replayed struct {
	Event   string           `json:"event"`
	Outcome payments.Outcome `json:"outcome"`
	Session string           `json:"session,omitempty"`
	Signed  bool             `json:"signed"`
}

// withoutEffect explains the outcomes of events that should have given or closed access and did not.
var withoutEffect = map[payments.Outcome]string{
	payments.Stale:     "it is older than `keep`, so its purchase may have been swept: give access with caddy axra give",
	payments.Foreign:   "it lacks the metadata of this installation (" + terms.MetadataPrefix + "…): use the event as Axra sent it, or caddy axra give",
	payments.Unknown:   "Axra documents no such event: compare its name with the one in Axra's dashboard",
	payments.Malformed: "its metadata cannot be read, or it names no session: use the event as Axra sent it, or caddy axra give",
	payments.Unmatched: "it names neither a session nor a payment: use the event as Axra sent it",
	payments.Mismatch:  "amount or currency are missing or not what was asked: it is recorded; see caddy axra list --status mismatched",
}

func (a *API) rejectedWebhooks(context.Context, struct{}) ([]webhook.Captured, error) {
	kept := a.RejectedWebhooks()
	if len(kept) == 0 {
		return nil, refuse(http.StatusNotFound, "no rejected webhook is kept: write `keep_rejected` into axra_webhook, reload, and have Axra send one again")
	}
	return kept, nil
}

// InspectRequest holds a captured webhook.
type InspectRequest struct {
	File []byte `json:"file"` // in base64
}

func (a *API) inspectWebhook(_ context.Context, request InspectRequest) (webhook.Report, error) {
	captured, err := webhook.ReadCaptured(request.File)
	if err != nil {
		return webhook.Report{}, refuse(http.StatusBadRequest, "%w", err)
	}
	return a.InspectWebhook(captured), nil
}

// replayWebhook takes an event as if it had come to the webhook.
func (a *API) replayWebhook(ctx context.Context, request ReplayRequest) (Replayed, error) {
	captured, err := webhook.ReadCaptured(request.File)
	if err != nil {
		captured = webhook.Captured{Body: request.File}
	}
	unsigned := a.VerifyWebhook(captured.Header, captured.Body)
	if unsigned != nil && !request.Trust {
		return Replayed{}, refuse(http.StatusForbidden, "%w; if you know that it comes from Axra, add --trust", unsigned)
	}
	event, err := webhook.Decode(captured.Body)
	if err != nil {
		return Replayed{}, refuse(http.StatusBadRequest, "%w", err)
	}
	outcome, err := a.RecordEvent(ctx, event)
	if err != nil {
		return Replayed{}, refuse(http.StatusServiceUnavailable, "%w", err)
	}
	if unsigned != nil {
		a.Logger.Warn("an event without a valid signature was accepted with --trust",
			zap.String("event", string(event.Type)), zap.String("session", webhook.ShortID(event.Session)), zap.String("outcome", string(outcome)))
	}
	if why := withoutEffect[outcome]; why != "" {
		return Replayed{}, refuse(http.StatusConflict, "no visitor gains or loses access: the event is %s: %s", outcome, why)
	}
	return Replayed{Event: string(event.Type), Outcome: outcome, Session: event.Session, Signed: unsigned == nil}, nil
}
