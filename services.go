package paywall

import (
	"time"

	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/admission"
	"github.com/caddy-axra/paywall/internal/checkout"
	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/session"
)

// Offer is the configuration of what a pass sells.
type Offer = gate.ProductConfig

// tokens returns how gates issue and judge access tokens.
func (a *App) tokens() *gate.Tokens {
	return &gate.Tokens{
		Cache: a.access, Keys: a.keyring, Algorithm: a.SigningAlgorithm, Bounds: a.bounds,
		Clock: gateClock(), OnGrace: graceVerdicts.Inc,
	}
}

// gateClock is nil for the system's clock.
func gateClock() gate.Clock {
	if clock.Load() == nil {
		return nil
	}
	return now
}

// checkoutServices returns what the gates' flows share.
func (a *App) checkoutServices(tokens *gate.Tokens) checkout.Services {
	return checkout.Services{
		Ledger: a.ledger, Tokens: tokens, Axra: a.client, Checkouts: a.checkouts, Takeovers: a.claims,
		CanSell: func() error { return a.store.sells(a.bounds) }, Progress: func(entry session.Pending) string { return string(a.stageOf(entry)) },
		Metrics: checkoutMetrics{a}, FormTargets: a.formTargets,
		LogLimited: func(message string, fields ...zap.Field) { a.complain(a.logger, message, fields...) },
	}
}

func (a *App) downloadWindow() time.Duration {
	if a.DownloadWindow > 0 {
		return time.Duration(a.DownloadWindow)
	}
	return admission.DefaultDownloadWindow
}
