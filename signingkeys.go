package paywall

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/token"
)

// provisionAlgorithm settles the algorithm of access tokens.
func (a *App) provisionAlgorithm() error {
	switch a.SigningAlgorithm {
	case token.HS256, token.EdDSA:
	case "":
		a.SigningAlgorithm = token.HS256
	default:
		return fmt.Errorf("axra: signing_algorithm %q is unknown: write %s or %s", a.SigningAlgorithm, token.HS256, token.EdDSA)
	}
	return nil
}

// adminKeys are the signing keys for operators.
type adminKeys struct{ app *App }

// Ready reports whether the keys are loaded.
func (k adminKeys) Ready(ctx context.Context) bool { return k.app.keysReady(ctx) }

// Installation is the id of this installation.
func (k adminKeys) Installation() string { return k.app.keyring.Installation() }

// List describes the keys, without their secrets.
func (k adminKeys) List() []token.KeyInfo { return k.app.keyring.List(k.app.SigningAlgorithm) }

// Rotate adds a key, which takes over in a few minutes. Nobody is logged out.
func (k adminKeys) Rotate(ctx context.Context) (kid string, err error) {
	kid, err = k.app.keyring.Rotate(ctx, keyStore{k.app.ledger}, k.app.SigningAlgorithm)
	if err != nil {
		return "", fmt.Errorf("rotating the signing keys: %w", err)
	}
	k.app.logger.Info("signing key added; it signs once every node has read it", zap.String("kid", kid))
	return kid, nil
}

// Remove takes away a key that has leaked: what it has signed is void. The error wraps
// token.ErrUnknownKey if there is no such key.
func (k adminKeys) Remove(ctx context.Context, kid string) error {
	replacement, err := k.app.keyring.Remove(ctx, keyStore{k.app.ledger}, kid, k.app.SigningAlgorithm)
	if err != nil {
		return fmt.Errorf("removing a signing key: %w", err)
	}
	k.app.logger.Warn("signing key removed; what it has signed is void", zap.String("kid", kid), zap.String("replacement", replacement))
	return nil
}
