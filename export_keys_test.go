package paywall

import (
	"context"
	"errors"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-axra/paywall/token"
)

// running is the app of the running configuration.
func running() (*App, error) {
	module, err := caddy.ActiveContext().AppIfConfigured("axra")
	if err != nil {
		return nil, err
	}
	app, ok := module.(*App)
	if !ok {
		return nil, errors.New("not our app")
	}
	return app, nil
}

// RotateKeys rotates the signing keys of the running configuration.
func RotateKeys(ctx context.Context) (string, error) {
	app, err := running()
	if err != nil {
		return "", err
	}
	return app.rotateKeys(ctx)
}

// RemoveKey removes a signing key of the running configuration.
func RemoveKey(ctx context.Context, kid string) error {
	app, err := running()
	if err != nil {
		return err
	}
	return app.removeKey(ctx, kid)
}

// ListKeys lists the signing keys of the running configuration.
func ListKeys() ([]token.KeyInfo, error) {
	app, err := running()
	if err != nil {
		return nil, err
	}
	return app.listKeys(), nil
}
