package checkout_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/admission"
	"github.com/caddy-axra/paywall/internal/checkout"
	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/gatekeeper"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/token"
)

// gateConfig is the configuration of one gate.
type gateConfig struct {
	path     string
	products []product
	flow     checkout.Config
}

type product struct {
	name   string
	config gate.ProductConfig
}

// sold is a product for thirty days.
func sold(name, amount string) product {
	return product{name, gate.ProductConfig{Price: gate.Price{Amount: amount, Currency: "usd"}, Access: "30d"}}
}

// option changes the configuration of a gate.
type option func(*gateConfig)

// member is a gate at /premium/* that sells the product "member" for 5.00 USD.
func member(options ...option) gateConfig {
	return newGateConfig("/premium/*", []product{sold("member", "5.00")}, options...)
}

func newGateConfig(path string, products []product, options ...option) gateConfig {
	config := gateConfig{path: path, products: products}
	config.flow.ID = path
	config.flow.ExpiresIn = session.DefaultExpiresIn
	for _, change := range options {
		change(&config)
	}
	return config
}

func receipt(c *gateConfig) { c.flow.Receipt = true }
func claim(c *gateConfig)   { c.flow.Claim = true }

func links(life time.Duration) option {
	return func(c *gateConfig) { c.flow.Links = &checkout.Links{For: caddy.Duration(life)} }
}

func preview(pages int) option {
	return func(c *gateConfig) { c.flow.Preview = &checkout.Preview{Pages: pages, Per: caddy.Duration(30 * day)} }
}

func teaser(page string) option {
	return func(c *gateConfig) { c.flow.Teaser = &checkout.Teaser{URI: page} }
}

func offerPage(title string) option {
	return func(c *gateConfig) { c.flow.OfferPage = &checkout.OfferPage{Title: title} }
}

// with changes what the gate sells.
func with(change func(*gate.ProductConfig)) option {
	return func(c *gateConfig) {
		c.products = slices.Clone(c.products)
		for i := range c.products {
			change(&c.products[i].config)
		}
	}
}

func devices(n int) option { return with(func(p *gate.ProductConfig) { p.Devices = n }) }

func accessFor(length string) option {
	return with(func(p *gate.ProductConfig) { p.Access = length })
}

func downloads(n int) option {
	return with(func(p *gate.ProductConfig) { p.PerPath, p.Downloads = true, n })
}

// keyed sells what the first folder below /premium is.
func keyed(c *gateConfig) {
	with(func(p *gate.ProductConfig) { p.PerPath, p.Key = true, "{http.request.uri.path.1}" })(c)
}

func (s *shop) newGate(config gateConfig) *gatekeeper.Gatekeeper {
	s.t.Helper()
	must := func(err error) {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
	}
	path := caddyhttp.MatchPath{config.path}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: s.t.Context()})
	s.t.Cleanup(cancel)
	must(path.Provision(ctx))
	must(config.flow.OfferPage.Provision(len(config.products)))
	var products []*gate.Product
	for _, p := range config.products {
		made, err := gate.NewProduct(p.name, p.config)
		must(err)
		products = append(products, made)
	}
	tokens := &gate.Tokens{Cache: s.cache, Keys: s.keys, Algorithm: token.HS256, Bounds: bounds, Clock: s.now, OnGrace: func() {}}
	sold := &gate.Gate{
		Matcher: gate.NewMatcher(caddyhttp.MatcherSets{{path}}), Products: products, Tokens: tokens, HasLinks: config.flow.Links != nil, SiteURL: origin,
	}
	sold.Provision()
	if config.flow.Preview != nil {
		perClient, total := config.flow.Preview.Rates()
		config.flow.Previews = session.NewLimiter(perClient, total, s.now)
	}
	logLimited := func(message string, fields ...zap.Field) {}
	flow := checkout.New(sold, config.flow, checkout.Services{
		Ledger: racingLedger{s.ledger, s}, Tokens: tokens, Axra: s.axra, Checkouts: s.checkouts, Claims: s.claims, CanSell: s.canSell,
		Progress: s.progressOf, Metrics: uncounted{}, FormTargets: []string{checkouts}, LogLimited: logLimited,
	}, zap.NewNop())
	admitted := &admission.Admission{Tokens: tokens, Ledger: s.ledger, DownloadWindow: admission.DefaultDownloadWindow, LogLimited: logLimited}
	if config.flow.Links != nil {
		admitted.PrivateAddress = flow.PrivateAddress
	}
	return &gatekeeper.Gatekeeper{
		Gate: sold, Admission: admitted, Flow: flow, KeysReady: func(context.Context) bool { return true }, LogLimited: logLimited,
	}
}

// ServeHTTP sends a request through the gates to the content.
func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	next := caddyhttp.Handler(s.content)
	for _, g := range slices.Backward(s.gates) {
		behind := next
		next = caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error { return g.ServeHTTP(w, r, behind) })
	}
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, s.server)
	var failed caddyhttp.HandlerError
	switch err := next.ServeHTTP(w, r); {
	case errors.As(err, &failed):
		w.WriteHeader(failed.StatusCode)
	case err != nil:
		w.WriteHeader(http.StatusInternalServerError)
	}
}
