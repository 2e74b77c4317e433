package paywall

import (
	"time"

	"github.com/caddy-axra/paywall/internal/admission"
	"github.com/caddy-axra/paywall/internal/checkout"
	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/gatekeeper"
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
		Receipt: h.Receipt, Takeover: h.Claim == claimFirst, Links: h.Links,
		ExpiresIn: time.Duration(h.ExpiresIn), CustomerEmail: h.CustomerEmail, Metadata: h.Metadata, CancelURL: h.CancelURL,
	}
	if h.Preview != nil {
		perClient, total := h.Preview.Rates()
		config.Previews = h.app.limiter(checkout.LimitPreview, perClient, total, config.ID)
	}
	node := h.app.shared.node
	flow := checkout.New(h.gate, config, checkout.Services{
		Ledger: node.Ledger, Tokens: tokens, Axra: h.app.shared.client,
		Checkouts: h.app.shared.checkouts, Takeovers: h.app.shared.takeovers,
		CanSell:  func() error { return node.CanSell(h.app.settings.bounds) },
		Progress: h.app.shared.progress.Of,
		Metrics:  h.app.shared.metrics, FormTargets: h.app.settings.formTargets, LogLimited: h.logLimited,
	}, h.logger)
	admitted := &admission.Admission{
		Tokens: tokens, Ledger: node.Ledger, RequestHeaders: admission.RequestHeaders(h.RequestHeaders),
		DownloadWindow: time.Duration(h.app.DownloadWindow), LogLimited: h.logLimited,
	}
	if h.Links != nil {
		admitted.PrivateAddress = flow.PrivateAddress
	}
	h.gatekeeper = &gatekeeper.Gatekeeper{
		Gate: h.gate, Admission: admitted, Flow: flow, KeysReady: node.KeysReady, LogLimited: h.logLimited,
	}
}

// tokens returns how gates issue and judge access tokens.
func (a *App) tokens() *gate.Tokens {
	return &gate.Tokens{
		Cache: a.shared.node.Access, Keys: a.shared.node.Keys, Algorithm: a.SigningAlgorithm, Bounds: a.settings.bounds,
		Clock: a.clock, OnGrace: a.shared.metrics.CountGrace,
	}
}
