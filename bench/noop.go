package main

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(noOp{})
	httpcaddyfile.RegisterHandlerDirective("bench_noop", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) { return noOp{}, nil })
	httpcaddyfile.RegisterDirectiveOrder("bench_noop", httpcaddyfile.Before, "basic_auth")
}

// noOp lets everybody in.
type noOp struct{}

// CaddyModule returns the Caddy module information.
func (noOp) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.bench_noop", New: func() caddy.Module { return new(noOp) }}
}

func (noOp) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	setPass(r.Context(), passName)
	return next.ServeHTTP(w, r)
}
