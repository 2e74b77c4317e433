package paywall

import (
	"time"

	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/admission"
	"github.com/caddy-axra/paywall/internal/checkout"
	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/session"
)

// tokens returns how gates issue and judge access tokens.
func (a *App) tokens() *gate.Tokens {
	return &gate.Tokens{
		Cache: a.shared.node.Access, Keys: a.shared.node.Keys, Algorithm: a.SigningAlgorithm, Bounds: a.settings.bounds,
		Clock: a.clock, OnGrace: a.shared.metrics.CountGrace,
	}
}

// checkoutServices returns what the checkout flows of all gates share.
func (a *App) checkoutServices(tokens *gate.Tokens) checkout.Services {
	return checkout.Services{
		Ledger: a.shared.node.Ledger, Tokens: tokens, Axra: a.shared.client,
		Checkouts: a.shared.checkouts, Takeovers: a.shared.takeovers,
		CanSell: func() error { return a.shared.node.CanSell(a.settings.bounds) }, Progress: func(entry session.Pending) string { return string(a.shared.progress.Of(entry)) },
		Metrics: a.shared.metrics, FormTargets: a.settings.formTargets,
		LogLimited: func(message string, fields ...zap.Field) { a.limit.Error(a.logger, message, fields...) },
	}
}

func (a *App) downloadWindow() time.Duration {
	if a.DownloadWindow > 0 {
		return time.Duration(a.DownloadWindow)
	}
	return admission.DefaultDownloadWindow
}
