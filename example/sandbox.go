package main

import (
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/sandbox"
)

func init() {
	caddy.RegisterModule(new(Sandbox))
	httpcaddyfile.RegisterHandlerDirective("axra_sandbox", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		handler := new(Sandbox)
		return handler, handler.UnmarshalCaddyfile(h.Dispenser)
	})
	httpcaddyfile.RegisterDirectiveOrder("axra_sandbox", httpcaddyfile.Before, "respond")
}

// Sandbox serves the stand-in for Axra. It is part of the example's build, not of
// the plugin.
type Sandbox struct {
	// BaseURL is the public address of the sandbox.
	BaseURL string `json:"base_url"`
	// WebhookURL is where it sends events.
	WebhookURL string `json:"webhook_url,omitempty"`
	// StateFile keeps its sessions and payments over a restart.
	StateFile string `json:"state_file,omitempty"`

	sandbox *sandbox.Sandbox
}

// CaddyModule returns the Caddy module information.
func (*Sandbox) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.axra_sandbox", New: func() caddy.Module { return new(Sandbox) }}
}

// Provision starts the sandbox.
func (s *Sandbox) Provision(caddy.Context) error {
	started, err := sandbox.New(sandbox.Config{BaseURL: s.BaseURL, WebhookURL: s.WebhookURL, StateFile: s.StateFile})
	if err != nil {
		return fmt.Errorf("axra_sandbox: %w", err)
	}
	s.sandbox = started
	return nil
}

// Cleanup ends its deliveries and writes its state.
func (s *Sandbox) Cleanup() error {
	if s.sandbox == nil {
		return nil
	}
	return s.sandbox.Close()
}

func (s *Sandbox) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	s.sandbox.ServeHTTP(w, r)
	return nil
}

// UnmarshalCaddyfile reads the directive:
//
//	axra_sandbox {
//		base_url    <url>
//		webhook_url <url>
//		state_file  <path>
//	}
func (s *Sandbox) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	options := map[string]*string{"base_url": &s.BaseURL, "webhook_url": &s.WebhookURL, "state_file": &s.StateFile}
	for d.NextBlock(0) {
		option, ok := options[d.Val()]
		if !ok {
			return d.Errf("axra_sandbox has no option %q", d.Val())
		}
		if !d.AllArgs(option) {
			return d.ArgErr()
		}
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Sandbox)(nil)
	_ caddy.CleanerUpper          = (*Sandbox)(nil)
	_ caddyhttp.MiddlewareHandler = (*Sandbox)(nil)
)
