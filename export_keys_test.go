package paywall

import (
	"context"

	"github.com/caddy-axra/paywall/token"
)

// RotateKeys rotates the signing keys of the running configuration.
func RotateKeys(ctx context.Context) (string, error) {
	app, err := runningApp()
	if err != nil {
		return "", err
	}
	return app.shared.node.Keys.Rotate(ctx, app.shared.node.Ledger, app.SigningAlgorithm)
}

// RemoveKey removes a signing key of the running configuration.
func RemoveKey(ctx context.Context, kid string) error {
	app, err := runningApp()
	if err != nil {
		return err
	}
	return app.shared.node.Keys.Remove(ctx, app.shared.node.Ledger, kid, app.SigningAlgorithm)
}

// ListKeys lists the signing keys of the running configuration.
func ListKeys() ([]token.KeyInfo, error) {
	app, err := runningApp()
	if err != nil {
		return nil, err
	}
	return app.shared.node.Keys.List(app.SigningAlgorithm), nil
}
