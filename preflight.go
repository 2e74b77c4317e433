package paywall

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/preflight"
	"github.com/caddy-axra/paywall/internal/settings"
)

// checks is what `caddy axra check` needs from this plugin.
var checks = preflight.Plugin{
	Secrets: func(raw json.RawMessage) []preflight.Secret {
		var app App
		if json.Unmarshal(raw, &app) != nil {
			return nil // Caddy reports what is wrong
		}
		return app.configuredSecrets()
	},
	Describe: func(ctx caddy.Context) (*preflight.Config, error) {
		app, err := appFrom(ctx, "axra_paywall")
		if err != nil {
			return nil, err
		}
		config := app.describe()
		config.StartError = app.checkGates()
		return config, nil
	},
}

// configuredSecrets returns the secrets that are placeholders, with their values. Caddy rejects literal ones.
func (a *App) configuredSecrets() []preflight.Secret {
	all := []preflight.Secret{{Name: "api_key", Placeholder: a.APIKey}, {Name: "api_secret", Placeholder: a.APISecret}}
	for _, value := range a.WebhookSecrets {
		all = append(all, preflight.Secret{Name: "webhook_secret", Placeholder: value})
	}
	if settings.NeedsSecrecy(a.Database.URL) {
		all = append(all, preflight.Secret{Name: "database postgres", Placeholder: a.Database.URL})
	}
	all = slices.DeleteFunc(all, func(s preflight.Secret) bool { return settings.CheckPlaceholder(s.Name, s.Placeholder) != nil })
	for i, secret := range all {
		all[i].Value, _ = settings.Secret(secret.Name, secret.Placeholder)
	}
	return all
}

func (a *App) describe() *preflight.Config {
	endpoint, _ := url.Parse(cmp.Or(a.settings.endpoint, "/")) // it was built from a URL
	config := &preflight.Config{
		Secrets: a.configuredSecrets(), SiteURL: a.settings.siteURL, Endpoint: a.settings.endpoint, Now: a.now,
		IsAxra: settings.EndpointMode(endpoint.Hostname()) != "",
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
	known := make(map[caddyhttp.MiddlewareHandler]any)
	return func(handler caddyhttp.MiddlewareHandler) any {
		if known[handler] != nil {
			return known[handler]
		}
		switch h := handler.(type) {
		case *Handler:
			known[h] = &preflight.Gate{Gate: h.gate, Name: h.label(), SiteURL: h.siteURL, Takeover: h.Claim == claimFirst}
		case *Webhook:
			known[h] = new(preflight.Webhook)
		case *JWKS:
			known[h] = new(preflight.KeySet)
		}
		return known[handler]
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
