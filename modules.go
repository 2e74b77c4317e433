package paywall

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// The functions that Caddy calls at start-up are in one file, and so are next to each other in the binary: a Caddy
// without a gate does not load the other 130 kB into memory.
func init() {
	for _, module := range []caddy.Module{
		new(App), new(Handler), new(Webhook), new(JWKS), new(MatchPaid), new(adminAPI),
	} {
		caddy.RegisterModule(module)
	}
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "axra", New: func() caddy.Module { return newApp() }}
}

// newApp returns an app with the system's clock. Tests replace it.
var newApp = func() *App { return new(App) }

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.axra_paywall", New: func() caddy.Module { return new(Handler) }}
}

// CaddyModule returns the Caddy module information.
func (*Webhook) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.axra_webhook", New: func() caddy.Module { return new(Webhook) }}
}

// CaddyModule returns the Caddy module information.
func (*JWKS) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.axra_jwks", New: func() caddy.Module { return new(JWKS) }}
}

// CaddyModule returns the Caddy module information.
func (MatchPaid) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.matchers.axra_paid", New: func() caddy.Module { return new(MatchPaid) }}
}

// CaddyModule returns the Caddy module information.
func (*adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.axra", New: func() caddy.Module { return new(adminAPI) }}
}

// Interface guards
var (
	_ caddy.App                         = (*App)(nil)
	_ caddy.Provisioner                 = (*App)(nil)
	_ caddy.CleanerUpper                = (*App)(nil)
	_ caddy.Provisioner                 = (*Handler)(nil)
	_ caddy.Provisioner                 = (*Webhook)(nil)
	_ caddy.Provisioner                 = (*JWKS)(nil)
	_ caddy.Provisioner                 = (*MatchPaid)(nil)
	_ caddyfile.Unmarshaler             = (*MatchPaid)(nil)
	_ caddyhttp.RequestMatcherWithError = (*MatchPaid)(nil)
	_ caddy.AdminRouter                 = (*adminAPI)(nil)
)
