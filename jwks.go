package paywall

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/token"
)

// JWKS publishes the public keys of access tokens as a JSON Web Key Set (RFC 7517, RFC
// 8037), so that applications behind the gate can verify tokens. It needs
// `signing_algorithm EdDSA`: HMAC keys are secret and never published. In a Caddyfile it is
// the directive `axra_jwks`.
type JWKS struct{ app *App }

// Provision warns if there will be nothing to publish.
func (h *JWKS) Provision(ctx caddy.Context) error {
	var err error
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
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		header.Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return nil
	}
	keys, err := h.app.shared.node.Keys.PublicKeys()
	if err != nil { // first start, or the ledger is unavailable
		header.Set("Cache-Control", "no-store")
		header.Set("Retry-After", "5")
		w.WriteHeader(http.StatusServiceUnavailable)
		return nil //nolint:nilerr // the status reports it
	}
	body, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		return caddyhttp.Error(http.StatusInternalServerError, err)
	}
	sum := sha256.Sum256(body)
	header.Set("Content-Type", "application/jwk-set+json")
	header.Set("Cache-Control", cacheJWKS)
	header.Set("ETag", `"`+hex.EncodeToString(sum[:16])+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	return nil
}

// UnmarshalCaddyfile reads the directive:
//
//	axra_jwks [<matcher>]
func (h *JWKS) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return readDirective(d, "/.well-known/jwks.json", "; signing_algorithm is set in the global option axra", nil)
}

// Interface guards
var (
	_ caddyfile.Unmarshaler       = (*JWKS)(nil)
	_ caddy.Provisioner           = (*JWKS)(nil)
	_ caddyhttp.MiddlewareHandler = (*JWKS)(nil)
)
