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
	secrets, err := settings.ResolveSecrets(signing.APIKey, signing.APISecret, signing.WebhookSecrets)
	if err != nil {
		return nil, nil, fmt.Errorf("%w; this command may have another environment than the service: "+
			"add --envfile FILE, run it as the user of the service, or use --secret-file", err)
	}
	verifier, err := app.Signature.Verifier(secrets.Webhook)
	if err != nil {
		return secrets.Webhook, nil, nil //nolint:nilerr // the secrets are tried all the same
	}
	return secrets.Webhook, &verifier, nil
}
