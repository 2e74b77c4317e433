package paywall

import (
	"cmp"
	"encoding/json"
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
		return app.describe(), nil
	},
}

// configuredSecrets returns the secrets that are placeholders, with their values. Caddy rejects literal ones.
func (a *App) configuredSecrets() []preflight.Secret {
	all := []preflight.Secret{{Name: "api_key", Placeholder: a.APIKey}, {Name: "api_secret", Placeholder: a.APISecret}}
	for _, value := range a.WebhookSecrets {
		all = append(all, preflight.Secret{Name: "webhook_secret", Placeholder: value})
	}
	if a.Database != nil && settings.NeedsSecrecy(a.Database.URL) {
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
			Named: a.Database != nil && cmp.Or(a.Database.Path, a.Database.URL) != "",
			Path:  a.shared.node.Ledger.Path(), URL: a.shared.node.Location().URL, Location: a.shared.node.Ledger.Location(),
		},
		StartError: a.checkGates(),
		Describe:   describer(),
	}
	if a.shared.client != nil {
		config.Client = a.shared.client.Client
	}
	for name, offer := range a.Passes {
		config.Pricing = append(config.Pricing, preflight.Pricing{Subject: "pass " + name, Amount: offer.Price.Amount, Currency: offer.Price.Currency})
	}
	for _, h := range a.allGates() {
		gate, _ := config.Describe(h).(*preflight.Gate)
		config.Gates = append(config.Gates, gate)
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
	gates, webhooks := make(map[*Handler]*preflight.Gate), make(map[*Webhook]*preflight.Webhook)
	return func(handler caddyhttp.MiddlewareHandler) any {
		switch h := handler.(type) {
		case *Handler:
			if gates[h] == nil {
				gates[h] = &preflight.Gate{Gate: h.gate, Name: h.label(), SiteURL: h.siteURL, Takeover: h.Claim == claimFirst}
			}
			return gates[h]
		case *Webhook:
			if webhooks[h] == nil {
				webhooks[h] = &preflight.Webhook{Matchers: h.matchers}
			}
			return webhooks[h]
		case *JWKS:
			return new(preflight.KeySet)
		}
		return nil
	}
}

// warnNested warns of two gates that cover one request.
func (a *App) warnNested(servers map[string]*caddyhttp.Server) {
	if len(a.allGates()) < 2 {
		return
	}
	for _, two := range preflight.Overlaps(servers, describer()) {
		a.logger.Warn("two gates cover one request, so visitors pay twice, which is probably a mistake: "+
			"exempt the path in the matcher of one of them with `not path`",
			zap.Strings("gates", []string{two.Outer.Name, two.Nested.Name}), zap.String("host", two.Host), zap.String("path", two.Path))
	}
}
