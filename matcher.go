package paywall

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types/ref"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/admission"
	"github.com/caddy-axra/paywall/internal/gate"
)

// MatchPaid matches requests of visitors who have paid: a gate of the site would
// open for them. Use it for teasers, banners and other logic. The response then
// differs between visitors, so keep it out of shared caches: write
// `header Cache-Control private` beside it.
//
// In an expression it is the function `axra_paid('month')`.
type MatchPaid struct {
	// Passes are names of passes, one of which must have been bought. Without
	// names, any pass counts.
	Passes []string `json:"passes,omitempty"`

	app *App
}

// Provision finds the app.
func (m *MatchPaid) Provision(ctx caddy.Context) error {
	var err error
	if m.app, err = appFrom(ctx, "axra_paid"); err != nil {
		return err
	}
	m.app.expect(m.Passes)
	return nil
}

// Match reports whether the visitor has paid.
func (m MatchPaid) Match(r *http.Request) bool {
	match, _ := m.MatchWithError(r)
	return match
}

// MatchWithError reports whether the visitor has paid. If this is unknown, it does
// not match.
func (m MatchPaid) MatchWithError(r *http.Request) (bool, error) {
	// Behind a gate, the request's address no longer has the parameters of a private address.
	if token := admission.TokenOf(r); token != nil && m.wants(token.Pass) {
		return true, nil
	}
	for _, h := range m.app.allGates() {
		if len(m.Passes) > 0 && !slices.ContainsFunc(m.Passes, func(name string) bool { return h.gate.Product(name) != nil }) ||
			h.gate.SellsPaths && !gate.IsUnambiguous(r) {
			continue
		}
		site, err := h.gate.Sites.Of(r)
		if err != nil {
			continue // the gate belongs to another site
		}
		if decision, _ := h.gate.FindToken(r, site, m.Passes...); decision == access.Open {
			return true, nil
		}
	}
	return false, nil
}

func (m MatchPaid) wants(pass string) bool {
	return len(m.Passes) == 0 || slices.Contains(m.Passes, pass)
}

// CELLibrary makes the matcher a function of expressions:
//
//	expression axra_paid('day', 'month')
func (MatchPaid) CELLibrary(ctx caddy.Context) (cel.Library, error) {
	return caddyhttp.CELMatcherImpl("axra_paid", "axra_paid_request", []*cel.Type{cel.ListType(cel.StringType)},
		func(data ref.Val) (caddyhttp.RequestMatcherWithError, error) {
			list, err := data.ConvertToNative(stringList)
			if err != nil {
				return nil, fmt.Errorf("axra_paid: %w", err)
			}
			names, ok := list.([]string)
			if !ok {
				return nil, fmt.Errorf("axra_paid: %T is not a list of names", list)
			}
			matcher := &MatchPaid{Passes: names}
			return matcher, matcher.Provision(ctx)
		})
}

var stringList = reflect.TypeFor[[]string]()

// Interface guards
var (
	_ caddy.Provisioner                 = (*MatchPaid)(nil)
	_ caddyhttp.RequestMatcherWithError = (*MatchPaid)(nil)
	_ caddyhttp.CELLibraryProducer      = (*MatchPaid)(nil)
)
