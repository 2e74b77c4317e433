package paywall

import (
	"errors"
	"net/http"
	"strings"

	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/session"
)

// isPoll reports whether the waiting page's script asks about a session.
func (v *visit) isPoll() bool {
	return v.r.Method == http.MethodGet && v.params.Has(urlpath.ParamSession) && !acceptsHTML(v.r) &&
		strings.Contains(v.r.Header.Get("Accept"), "application/json")
}

// answerPoll tells the waiting page's script how things stand with a session that
// this browser started.
func (v *visit) answerPoll() error {
	return sendJSON(v.w, v.r, http.StatusOK, "application/json", map[string]string{"state": v.pollState()})
}

func (v *visit) pollState() string {
	entry := v.pendingFor(v.params.Get(urlpath.ParamSession))
	if entry == nil {
		return "unknown"
	}
	purchase, err := v.app.access.OfSession(v.r.Context(), entry.Session)
	switch {
	case err == nil && purchase.StatusAt(now()) == ledger.Active:
		return "paid"
	case err == nil && purchase.Status == ledger.Mismatched:
		return "mismatch"
	case err == nil:
		return "closed"
	case !errors.Is(err, ledger.ErrNotFound):
		return "waiting"
	}
	if stage := v.app.stageOf(*entry); stage != "" {
		return string(stage)
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
