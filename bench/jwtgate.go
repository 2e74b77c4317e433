package main

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/golang-jwt/jwt/v5"
)

func init() {
	caddy.RegisterModule(new(jwtGate))
	httpcaddyfile.RegisterHandlerDirective("bench_jwt", parseJWTGate)
	httpcaddyfile.RegisterDirectiveOrder("bench_jwt", httpcaddyfile.Before, "basic_auth")
}

// jwtCookie is the name of the cookie that the comparison reads.
const jwtCookie = "bench_jwt"

// jwtGate is what is compared with: golang-jwt parses the token of each request.
type jwtGate struct {
	Algorithm string `json:"algorithm,omitempty"`
	Key       string `json:"key,omitempty"` // in hex

	parser *jwt.Parser
	key    any
}

type benchClaims struct {
	jwt.RegisteredClaims
	Pass     string `json:"pass"`
	Resource string `json:"resource"`
	Session  string `json:"session"`
	Payment  string `json:"payment,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*jwtGate) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.bench_jwt", New: func() caddy.Module { return new(jwtGate) }}
}

func parseJWTGate(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	g := new(jwtGate)
	h.Next()
	if !h.Args(&g.Algorithm, &g.Key) {
		return nil, h.ArgErr()
	}
	return g, nil
}

// Provision reads the key.
func (g *jwtGate) Provision(caddy.Context) error {
	key, err := hex.DecodeString(g.Key)
	if err != nil {
		return fmt.Errorf("bench_jwt: %w", err)
	}
	g.key = key
	if g.Algorithm == "EdDSA" {
		g.key = ed25519.PublicKey(key)
	}
	g.parser = jwt.NewParser(jwt.WithValidMethods([]string{g.Algorithm}), jwt.WithExpirationRequired())
	return nil
}

func (g *jwtGate) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	cookie, err := r.Cookie(jwtCookie)
	if err != nil {
		return caddyhttp.Error(http.StatusUnauthorized, err)
	}
	var claims benchClaims
	if _, err := g.parser.ParseWithClaims(cookie.Value, &claims, func(*jwt.Token) (any, error) { return g.key, nil }); err != nil {
		return caddyhttp.Error(http.StatusUnauthorized, err)
	}
	setPass(r.Context(), claims.Pass)
	return next.ServeHTTP(w, r)
}

func setPass(ctx context.Context, pass string) {
	if replacer, ok := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		replacer.Set("http.bench.pass", pass)
	}
}
