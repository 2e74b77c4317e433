package paywall

import (
	"cmp"
	"encoding/json"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/cli"
	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/preflight"
	"github.com/caddy-axra/paywall/internal/settings"
)

func init() { caddycmd.RegisterCommand(commands.Command()) }

// commands are `caddy axra`.
var commands = cli.Plugin{Check: preflight.Describe(describeConfig).Check}

// describeConfig is what `caddy axra check` needs from this plugin.
func describeConfig(ctx caddy.Context) (*preflight.Config, error) {
	app, err := appFrom(ctx, "axra_paywall")
	if err != nil {
		return nil, err
	}
	config := app.describe()
	config.StartError = app.checkGates()
	return config, nil
}

// configuredSecrets returns the secrets that are placeholders, with their values. Caddy rejects literal ones.
func (a *App) configuredSecrets() []preflight.Secret {
	var all []preflight.Secret
	add := func(name, placeholder string) {
		if settings.CheckPlaceholder(name, placeholder) == nil {
			value, _ := settings.Secret(name, placeholder)
			all = append(all, preflight.Secret{Name: name, Placeholder: placeholder, Value: value})
		}
	}
	add("api_key", a.APIKey)
	add("api_secret", a.APISecret)
	for _, value := range a.WebhookSecrets {
		add("webhook_secret", value)
	}
	add("database postgres", a.Database.URL)
	return all
}

func (a *App) describe() *preflight.Config {
	config := &preflight.Config{
		Secrets: a.configuredSecrets(), KeyMode: settings.KeyMode(string(a.settings.credentials[0]), "bk_"),
		SiteURL: a.settings.siteURL, Endpoint: a.settings.endpoint, Now: a.now, Options: make(map[string]string),
		Ledger: preflight.Ledger{
			Named: cmp.Or(a.Database.Path, a.Database.URL) != "",
			URL:   a.shared.node.Location().URL, Location: a.shared.node.Ledger.Location(),
		},
		GateOf: gateOf, Close: func() { _ = a.Cleanup() }, // which cannot fail
	}
	if a.shared.client != nil {
		config.Client = a.shared.client.Client
	}
	add := func(subject string, options any) {
		raw, _ := json.Marshal(options) // cannot fail: it was read from JSON
		config.Options[subject] = string(raw)
	}
	for name, pass := range a.Passes {
		add("pass "+name, pass)
	}
	for _, h := range a.gates.all {
		add("gate "+h.label(), h)
	}
	return config
}

func gateOf(handler caddyhttp.MiddlewareHandler) *gate.Gate {
	if h, ok := handler.(*Handler); ok {
		return h.gate
	}
	return nil
}

// warnAboutRoutes logs what `caddy axra check` would find wrong with the routes.
func (a *App) warnAboutRoutes() {
	if len(a.gates.all) == 0 {
		return
	}
	for _, found := range preflight.CheckRoutes(a.describe(), a.httpServers()) {
		a.logger.Warn("check: "+found.Check+": "+found.Message, zap.String("subject", found.Subject), zap.String("fix", found.Fix))
	}
}
