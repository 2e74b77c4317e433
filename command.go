package paywall

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/cli"
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
		Secrets: a.configuredSecrets(), SiteURL: a.settings.siteURL, Endpoint: a.settings.endpoint, Now: a.now,
		Ledger: preflight.Ledger{
			Named: cmp.Or(a.Database.Path, a.Database.URL) != "",
			Path:  a.shared.node.Ledger.Path(), URL: a.shared.node.Location().URL, Location: a.shared.node.Ledger.Location(),
		},
		Describe: describer(),
	}
	if a.shared.client != nil {
		config.Client = a.shared.client.Client
	}
	for name, offer := range a.Passes {
		config.Pricing = append(config.Pricing, preflight.Pricing{Subject: "pass " + name, Amount: offer.Price.Amount, Currency: offer.Price.Currency})
	}
	for _, h := range a.gates.all {
		config.Pricing = append(config.Pricing, preflight.Pricing{
			Subject: "gate " + h.label(), Amount: h.Price.Amount, Currency: h.Price.Currency,
			Texts: slices.AppendSeq([]string{h.Description, h.Key, h.CustomerEmail, h.CancelURL}, maps.Values(h.Metadata)),
		})
	}
	slices.SortStableFunc(config.Pricing, func(a, b preflight.Pricing) int { return strings.Compare(a.Subject, b.Subject) })
	return config
}

// describer returns a function that describes each of the plugin's handlers once.
func describer() func(caddyhttp.MiddlewareHandler) any {
	known := make(map[any]any) // only of our handlers: those of others may not be hashable
	once := func(handler, description any) any {
		if known[handler] == nil {
			known[handler] = description
		}
		return known[handler]
	}
	return func(handler caddyhttp.MiddlewareHandler) any {
		switch h := handler.(type) {
		case *Handler:
			return once(h, &preflight.Gate{Gate: h.gate, Name: h.label(), SiteURL: h.siteURL, Takeover: h.Claim == claimFirst})
		case *Webhook:
			return once(h, new(preflight.Webhook))
		case *JWKS:
			return once(h, new(preflight.KeySet))
		}
		return nil
	}
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
