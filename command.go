package paywall

import (
	"encoding/json"
	"errors"
	"fmt"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/caddy-axra/paywall/internal/cli"
	"github.com/caddy-axra/paywall/internal/preflight"
	"github.com/caddy-axra/paywall/internal/settings"
	"github.com/caddy-axra/paywall/webhook"
)

func init() { caddycmd.RegisterCommand(commands.Command()) }

// commands are `caddy axra`.
var commands = cli.Plugin{Check: preflight.Describe(describeConfig).Check, WebhookSecrets: configuredSecrets}

// configuredSecrets reads the webhook secrets of a configuration without loading it.
func configuredSecrets(config, adapter string) ([][]byte, *webhook.Verifier, error) {
	raw, _, _, err := caddycmd.LoadConfig(config, adapter)
	if err != nil || len(raw) == 0 {
		return nil, nil, err
	}
	var loaded struct {
		Apps struct {
			Axra *App `json:"axra"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(raw, &loaded); err != nil {
		return nil, nil, err
	}
	app := loaded.Apps.Axra
	if app == nil {
		return nil, nil, errors.New("the configuration has no global option axra: use --secret-file")
	}
	// Other secrets may be missing, as the command may run outside Caddy's environment.
	signing := &App{WebhookSecrets: app.WebhookSecrets}
	if len(app.WebhookSecrets) == 0 {
		signing.APIKey, signing.APISecret = app.APIKey, app.APISecret
	}
	for _, secret := range signing.configuredSecrets() {
		if secret.Value == "" {
			return nil, nil, fmt.Errorf("%s %s is empty or cannot be read by this command, whose environment may differ from that of the service: "+
				"add --envfile FILE, or run it as the user of the service; or use --secret-file", secret.Name, secret.Placeholder)
		}
	}
	secrets, err := settings.ResolveSecrets(signing.APIKey, signing.APISecret, signing.WebhookSecrets)
	if err != nil {
		return nil, nil, fmt.Errorf("%w; or use --secret-file", err)
	}
	var signature settings.Signature
	if app.Signature != nil {
		signature = *app.Signature
	}
	verifier, err := signature.Verifier(secrets.Webhook)
	if err != nil {
		return secrets.Webhook, nil, nil //nolint:nilerr // the secrets are tried all the same
	}
	return secrets.Webhook, &verifier, nil
}
