package paywall

import (
	"time"

	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/admission"
	"github.com/caddy-axra/paywall/internal/checkout"
	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/gatekeeper"
	"github.com/caddy-axra/paywall/session"
)

// build makes the gate from its checked configuration; the id tells apart gates that sell the same.
func (h *Handler) build(matcher *gate.Matcher, products []*gate.Product, id string) {
	tokens := h.app.tokens()
	h.gate = &gate.Gate{
		Matcher: matcher, Products: products, Tokens: tokens, HasLinks: h.Links != nil,
		Handler: h, SiteURL: h.siteURL, AppURL: h.app.settings.siteURL,
	}
	h.gate.Provision()
	config := checkout.Config{
		ID: id, OfferPage: h.OfferPage, Teaser: h.Teaser, Preview: h.Preview,
		Receipt: h.Receipt, Takeover: h.Claim == claimFirst, Links: h.Links, SiteURL: h.siteURL, AppURL: h.app.settings.siteURL,
		Order: checkout.OrderConfig{
			ExpiresIn: time.Duration(h.ExpiresIn), CustomerEmail: h.CustomerEmail, Metadata: h.Metadata, CancelURL: h.CancelURL,
		},
	}
	if h.Preview != nil {
		perClient, total := h.Preview.Rates()
		config.Previews = h.app.limiter(checkout.LimitPreview, perClient, total, config.ID)
	}
	flow := checkout.New(h.gate, config, h.app.checkoutServices(tokens), h.logger)
	admitted := &admission.Admission{
		Tokens: tokens, Ledger: h.app.shared.node.Ledger, RequestHeaders: admission.RequestHeaders(h.RequestHeaders),
		DownloadWindow: time.Duration(h.app.DownloadWindow), LogLimited: h.logLimited,
	}
	if h.Links != nil {
		admitted.PrivateAddress = flow.PrivateAddress
	}
	h.gatekeeper = &gatekeeper.Gatekeeper{
		Gate: h.gate, Admission: admitted, Flow: flow, KeysReady: h.app.shared.node.KeysReady, LogLimited: h.logLimited,
	}
}

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
		CanSell:  func() error { return a.shared.node.CanSell(a.settings.bounds) },
		Progress: func(entry session.Pending) string { return string(a.shared.progress.Of(entry)) },
		Metrics:  a.shared.metrics, FormTargets: a.settings.formTargets,
		LogLimited: func(message string, fields ...zap.Field) { a.limit.Error(a.logger, message, fields...) },
	}
}
