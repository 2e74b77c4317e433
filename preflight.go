package paywall

import (
	"cmp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/preflight"
	"github.com/caddy-axra/paywall/internal/settings"
)

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

// configuredSecrets returns the secrets that are configured, with their values.
func (a *App) configuredSecrets() []preflight.Secret {
	all := []preflight.Secret{{Name: "api_key", Placeholder: a.APIKey}, {Name: "api_secret", Placeholder: a.APISecret}}
	for _, value := range a.WebhookSecrets {
		all = append(all, preflight.Secret{Name: "webhook_secret", Placeholder: value})
	}
	if settings.NeedsSecrecy(a.Database.URL) {
		all = append(all, preflight.Secret{Name: "database postgres", Placeholder: a.Database.URL})
	}
	all = slices.DeleteFunc(all, func(s preflight.Secret) bool { return s.Placeholder == "" })
	for i, secret := range all {
		all[i].Value, _ = settings.Secret(secret.Name, secret.Placeholder) // which was resolved before
	}
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
		gate, _ := config.Describe(h).(*preflight.Gate)
		texts := []string{h.Description, h.Key, h.CustomerEmail, h.CancelURL}
		for _, value := range h.Metadata {
			texts = append(texts, value)
		}
		config.Pricing = append(config.Pricing, preflight.Pricing{
			Subject: "gate " + gate.Name, Amount: h.Price.Amount, Currency: h.Price.Currency, Texts: texts,
		})
	}
	slices.SortStableFunc(config.Pricing, func(a, b preflight.Pricing) int { return strings.Compare(a.Subject, b.Subject) })
	return config
}

// describer returns a function that describes each of the plugin's handlers once.
func describer() func(caddyhttp.MiddlewareHandler) any {
	known := make(map[caddyhttp.MiddlewareHandler]any)
	once := func(handler caddyhttp.MiddlewareHandler, description any) any {
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
