package paywall

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/internal/access"
)

// admissionVar holds the purchase by which a gate has last admitted a request: a *access.Token, nil
// where the request came by gates without having to pay.
const admissionVar = "axra.admission"

// admission is nil where no gate has admitted the request to what is paid.
func admission(r *http.Request) *access.Token {
	by, _ := caddyhttp.GetVar(r.Context(), admissionVar).(*access.Token)
	return by
}

// setAdmission makes the placeholders speak of a purchase. With nil they keep speaking of the one
// that admitted the request at a gate before; without one they say that nothing was paid, which
// keeps a literal `{http.axra.paid}` out of what later handlers pass on.
func setAdmission(r *http.Request, by *access.Token) {
	vars, ok := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	if !ok {
		return
	}
	_, isSet := vars[admissionVar].(*access.Token)
	if isSet && by == nil {
		return
	}
	vars[admissionVar] = by
	if isSet {
		return
	}
	if replacer, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		replacer.Map(func(key string) (any, bool) {
			by, _ := vars[admissionVar].(*access.Token)
			return placeholder(by, key)
		})
	}
}
