package paywall

import (
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/admission"
	"github.com/caddy-axra/paywall/internal/gate"
)

// MatchPaid matches requests of visitors who have paid: a gate of the site would open for them. Use it for teasers,
// banners and other logic. The response then differs between visitors, so keep it out of shared caches:
// write `header Cache-Control private` beside it.
type MatchPaid struct {
	// Passes are names of passes, one of which must have been bought. Without names, any pass counts.
	Passes []string `json:"passes,omitempty"`

	app *App
}

// Provision finds the app.
func (m *MatchPaid) Provision(ctx caddy.Context) (err error) {
	if m.app, err = appFrom(ctx, "axra_paid"); err != nil {
		return err
	}
	m.app.gates.expected = append(m.app.gates.expected, m.Passes...)
	return nil
}

// MatchWithError reports whether the visitor has paid. If this is unknown, it does not match.
func (m MatchPaid) MatchWithError(r *http.Request) (bool, error) {
	// Behind a gate, the request's address no longer has the parameters of a private address.
	if token := admission.TokenOf(r); token != nil && (len(m.Passes) == 0 || slices.Contains(m.Passes, token.Pass)) {
		return true, nil
	}
	for _, h := range m.app.gates.all {
		if len(m.Passes) > 0 && !slices.ContainsFunc(m.Passes, func(name string) bool { return h.gate.Product(name) != nil }) ||
			h.gate.SellsPaths && !gate.IsUnambiguous(r) {
			continue
		}
		site := h.gate.Site(r)
		if site == nil {
			continue // the gate belongs to another site
		}
		if decision, _ := h.gate.FindToken(r, site, m.Passes...); decision == access.Open {
			return true, nil
		}
	}
	return false, nil
}
