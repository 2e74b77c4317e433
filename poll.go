package paywall

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/session"
)

// answerPoll tells the waiting page's script how things stand with a session that
// this browser started.
func (v *visit) answerPoll() error {
	return sendJSON(v.w, v.r, http.StatusOK, "application/json", map[string]string{"state": v.pollState()})
}

func (v *visit) pollState() string {
	entry := v.pendingFor(v.params.Get(paramSession))
	if entry == nil {
		return "unknown"
	}
	grant, err := v.app.ledger.Grant(v.r.Context(), entry.Session)
	switch {
	case err == nil && grant.Open(now()):
		return "paid"
	case err == nil:
		return "closed"
	case !errors.Is(err, ledger.ErrNotPaid):
		return "waiting"
	}
	if stage := v.app.stageOf(*entry); stage != "" {
		return string(stage)
	}
	if _, err := v.app.ledger.Mismatched(v.r.Context(), entry.Session); err == nil {
		return "mismatch"
	}
	return "waiting"
}

func (v *visit) pendingFor(id string) *session.Pending {
	for _, entry := range v.readPending(v.r, v.site).here {
		if entry.Session == id {
			return &entry
		}
	}
	return nil
}

func sendJSON(w http.ResponseWriter, r *http.Request, status int, contentType string, body any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return caddyhttp.Error(http.StatusInternalServerError, fmt.Errorf("encoding: %w", err))
	}
	noStore(w.Header())
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Length", strconv.Itoa(len(encoded)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(encoded) // the client may be gone
	}
	return nil
}
