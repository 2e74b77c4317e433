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

// rotateKeys adds a signing key, which takes over in a few minutes,
// and returns its id. Nobody is logged out.
func (a *App) rotateKeys(ctx context.Context) (kid string, err error) {
	kid, err = a.keyring.Rotate(ctx, keyStore{a.ledger}, a.SigningAlgorithm)
	if err != nil {
		return "", fmt.Errorf("rotating the signing keys: %w", err)
	}
	a.logger.Info("signing key added; it signs once every node has read it", zap.String("kid", kid))
	return kid, nil
}

// removeKey takes a signing key away that has leaked: what it has signed is void. The
// error wraps token.ErrUnknownKey where there is none of this id.
func (a *App) removeKey(ctx context.Context, kid string) error {
	replacement, err := a.keyring.Remove(ctx, keyStore{a.ledger}, kid, a.SigningAlgorithm)
	if err != nil {
		return fmt.Errorf("removing a signing key: %w", err)
	}
	a.logger.Warn("signing key removed; what it has signed is void", zap.String("kid", kid), zap.String("replacement", replacement))
	return nil
}

// listKeys describes the signing keys, without their secrets.
func (a *App) listKeys() []token.KeyInfo { return a.keyring.List(a.SigningAlgorithm) }
