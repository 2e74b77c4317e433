package paywall

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/token"
)

// JWKS publishes the public keys of access tokens as a JSON Web Key Set (RFC 7517, RFC 8037), so that applications
// behind the gate can verify tokens. It needs `signing_algorithm EdDSA`: HMAC keys are secret and never published. In a
// Caddyfile it is the directive `axra_jwks`.
type JWKS struct{ app *App }

// Provision warns if there will be nothing to publish.
func (h *JWKS) Provision(ctx caddy.Context) (err error) {
	if h.app, err = appFrom(ctx, "axra_jwks"); err != nil {
		return err
	}
	if h.app.SigningAlgorithm != token.EdDSA {
		ctx.Logger().Warn("access tokens are signed with HS256, whose keys are secret, so that axra_jwks cannot publish them: " +
			"write `signing_algorithm EdDSA` in the global option axra")
	}
	return nil
}

// cacheJWKS lets clients keep the set for a minute. A new key signs only after three, so clients know it in time.
const cacheJWKS = "public, max-age=60"

func (h *JWKS) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	if !isAllowed(w, r, http.MethodGet, http.MethodHead) {
		return nil
	}
	keys, err := h.app.shared.node.Keys.PublicKeys()
	if err != nil { // first start, or the ledger is unavailable
		header.Set("Retry-After", "5")
		w.WriteHeader(http.StatusServiceUnavailable)
		return nil //nolint:nilerr // the status reports it
	}
	header.Set("Content-Type", "application/jwk-set+json")
	header.Set("Cache-Control", cacheJWKS)
	return json.NewEncoder(w).Encode(map[string]any{"keys": keys})
}

// isAllowed answers requests with methods that a handler does not have.
func isAllowed(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	if slices.Contains(methods, r.Method) {
		return true
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	w.WriteHeader(http.StatusMethodNotAllowed)
	return false
}

// UnmarshalCaddyfile reads the directive axra_jwks, which has no options.
func (h *JWKS) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return readDirective(d, "/.well-known/jwks.json", "; signing_algorithm is set in the global option axra", nil)
}
