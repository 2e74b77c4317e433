package paywall

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/admission"
	"github.com/caddy-axra/paywall/internal/checkout"
	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/gatekeeper"
	"github.com/caddy-axra/paywall/internal/settings"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/terms"
)

// Handler is a gate: it lets requests through to the next handlers only for visitors who have paid, and sends others to
// a checkout session of Axra. In a Caddyfile it is the directive `axra_paywall`.
//
// It sets these placeholders for later handlers:
//
// Placeholder | Description
// ------------|---------------
// `{http.axra.paid}` | `true` for requests that a gate let through, `false` for requests that it does not cover; the other placeholders are then empty.
// `{http.axra.pass}` | The name of the pass that opened the gate.
// `{http.axra.purchase}` | The id of the purchase. `caddy axra show` takes it.
// `{http.axra.until}` | The end of access in RFC 3339; empty for no expiry.
// `{http.axra.preview.left}` | On a free page: how many more the visitor may read.
// `{http.axra.link.<path>}` | With Links, the private address of a path of this site, such as `{http.axra.link./feed/1.mp3}`.
// `{http.axra.user}` | A name for the purchase that may be logged: `axra-` and a hash of its id. `{http.auth.user.id}` is the same, unless an authentication handler has set it.
//
// Responses to requests that a gate lets through get `Cache-Control: private`, and `no-cache` unless they say how long
// they may be kept.
//
// For a teaser it sets for each pass on sale `{http.axra.offer.<pass>.price}` (`5.00 USD`), `.amount`, `.currency`,
// `.description`, `.access` (`30d`, `forever`) and `.checkout`, the address that leads to its checkout; and
// `{http.axra.offer.passes}`, their names. Escape descriptions with placeholders: `{{placeholder "…" | html}}`.
type Handler struct {
	// MatchersRaw says which requests the gate covers; without it, the gate covers every request. Put matchers here
	// rather than on the route: the gate also applies them to the other paths under which a file server or an
	// application might serve the same content.
	MatchersRaw caddyhttp.RawMatcherSets `json:"match,omitempty" caddy:"namespace=http.matchers"`

	// Pass is the name of the gate's own product, which has its own Price. A payment opens every gate of the site
	// with the same pass name. Purchases refer to the name: keep it when a route moves or a price changes. In a
	// Caddyfile the default is the gate's matcher, such as `/premium/*`; in JSON it is `default`.
	Pass string `json:"pass,omitempty"`

	// The gate's own product may be left out if Passes are named.
	gate.ProductConfig

	// Passes are the names of passes of the app that open the gate too, in the order of the offer page.
	Passes []string `json:"passes,omitempty"`

	// OfferPage shows what is on sale before the checkout. A gate that sells several passes has one anyway.
	OfferPage *checkout.OfferPage `json:"offer_page,omitempty"`

	// Teaser is shown to visitors who have not paid, instead of the checkout or the offer page.
	Teaser *checkout.Teaser `json:"teaser,omitempty"`

	// Preview lets visitors read some pages for free.
	Preview *checkout.Preview `json:"preview,omitempty"`

	// RequestHeaders is the prefix of request headers that describe the purchase to an application behind the gate:
	// with `X-Axra-` these are X-Axra-Paid (`true`), X-Axra-Pass, X-Axra-Purchase, X-Axra-Until and X-Axra-User.
	// Headers of these names that a client sends are removed from every request. By default no headers are set.
	RequestHeaders string `json:"request_headers,omitempty"`

	// Receipt shows the receipt after the payment, before the content. Buyers can always open it by adding
	// `?axra_receipt` to the address of a page they have bought.
	Receipt bool `json:"receipt,omitempty"`

	// Claim lets a browser other than the one that started a checkout take over its purchase: on phones, banking apps
	// often return to a different browser. With `first`, the first browser that returns with the session's unguessable
	// id may do so, once. By default none may.
	Claim string `json:"claim,omitempty"`

	// Links gives buyers private addresses that work without cookies.
	Links *checkout.Links `json:"links,omitempty"`

	// ExpiresIn is how long a checkout session stays open, at least 5m. Axra advises 15m or more. The default is 30m.
	ExpiresIn caddy.Duration `json:"expires_in,omitempty"`

	// CustomerEmail pre-fills the e-mail field of the checkout page. Placeholders are replaced for each request.
	CustomerEmail string `json:"customer_email,omitempty"`

	// Metadata is attached to the checkout session and comes back in webhooks and in Axra's dashboard. Placeholders in
	// values are replaced for each request. Keys that begin with `paywall_`, and `sessionId`, are reserved.
	Metadata map[string]string `json:"metadata,omitempty"`

	// CancelURL is where Axra sends a customer who cancels: an absolute address, or a path of this site. Placeholders
	// are replaced for each request. The default is the gated page itself, which offers to try again.
	CancelURL string `json:"cancel_url,omitempty"`

	// SiteURL is the public address of this gate's site, where it differs from the host name in the configuration. The
	// default is that host name, else the app's `site_url`.
	SiteURL string `json:"site_url,omitempty"`

	app        *App
	logger     *zap.Logger
	siteURL    string // resolved
	isNamed    bool   // the owner named the pass
	gate       *gate.Gate
	gatekeeper *gatekeeper.Gatekeeper
}

// Provision reads the gate's configuration.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	covers, _ := json.Marshal(h.MatchersRaw) // cannot fail: it was read from JSON
	matcher, err := h.loadMatcher(ctx)
	if err != nil {
		return err
	}
	h.isNamed = h.Pass != "" || !h.sellsItself()
	if !h.isNamed {
		h.Pass = "default"
	}
	if h.app, err = appFrom(ctx, "axra_paywall"); err != nil {
		return err
	}
	if h.app.shared.client == nil {
		return errors.New("axra_paywall: the global option axra has no api_key: add `api_key {env.AXRA_API_KEY}`")
	}
	h.ExpiresIn = cmp.Or(h.ExpiresIn, caddy.Duration(session.DefaultExpiresIn))
	products, productsErr := h.products()
	siteURL, siteErr := settings.SiteURL(h.SiteURL)
	if err := cmp.Or(productsErr, h.check(len(products)), siteErr); err != nil {
		return fmt.Errorf("axra_paywall: gate %q: %w", h.label(), err)
	}
	h.siteURL = siteURL
	h.build(matcher, products, h.label()+"\n"+string(covers))
	h.app.gates.all = append(h.app.gates.all, h)
	return nil
}

func (h *Handler) loadMatcher(ctx caddy.Context) (*gate.Matcher, error) {
	var sets caddyhttp.MatcherSets
	loaded, err := ctx.LoadModule(h, "MatchersRaw")
	if err == nil {
		err = sets.FromInterface(loaded)
	}
	if err != nil {
		return nil, fmt.Errorf("axra_paywall: loading matchers: %w", err)
	}
	return gate.NewMatcher(sets), nil
}

// check checks the options of a gate with this number of passes; errors name the fix.
func (h *Handler) check(passes int) error {
	checks := []error{
		h.OfferPage.Provision(passes), h.Teaser.Check(), h.Preview.Check(), h.Links.Check(),
		admission.RequestHeaders(h.RequestHeaders).Check(), checkExpiresIn(h.ExpiresIn), checkCancelURL(h.CancelURL),
	}
	if h.Claim != "" && h.Claim != claimFirst {
		checks = append(checks, errors.New("claim is unknown: write `claim first`"))
	}
	for name := range h.Metadata {
		checks = append(checks, checkMetadataKey(name))
	}
	return cmp.Or(checks...)
}

func (h *Handler) logLimited(message string, fields ...zap.Field) {
	h.app.limit.Error(h.logger, message, fields...)
}

// sellsItself reports whether the gate has its own product.
func (h *Handler) sellsItself() bool {
	return h.ProductConfig != (gate.ProductConfig{}) || h.Pass != "" || len(h.Passes) == 0
}

// label names the gate in errors.
func (h *Handler) label() string { return cmp.Or(h.Pass, strings.Join(h.Passes, " ")) }

// products returns the products that open the gate.
func (h *Handler) products() ([]*gate.Product, error) {
	var products []*gate.Product
	if h.sellsItself() {
		if h.app.settings.passes[h.Pass] != nil {
			return nil, fmt.Errorf("pass %q is defined in the global option axra already: write `passes %s` without a price to sell that one, or choose another name", h.Pass, h.Pass)
		}
		own, err := h.ownProduct()
		if err != nil {
			return nil, err
		}
		products = append(products, own)
	}
	for _, name := range h.Passes {
		shared := h.app.settings.passes[name]
		if shared == nil {
			return nil, fmt.Errorf("pass %q is not defined: correct the name, or add `pass %s { price 5.00 usd }` to the global option axra", name, name)
		}
		if slices.Contains(products, shared) {
			return nil, fmt.Errorf("pass %q is named twice: keep one", name)
		}
		products = append(products, shared)
	}
	return products, nil
}

// ownProduct returns the gate's own product.
func (h *Handler) ownProduct() (*gate.Product, error) {
	own, err := gate.NewProduct(h.Pass, h.ProductConfig)
	if errors.Is(err, gate.ErrNoPrice) {
		err = fmt.Errorf("%w, or write `passes NAME` alone to sell a pass of the global option axra", err)
	}
	return own, err
}

// claimFirst is the only value of Handler.Claim.
const claimFirst = "first"

func checkCancelURL(value string) error {
	if value == "" || strings.HasPrefix(value, "{") || strings.HasPrefix(value, "/") && !strings.HasPrefix(value, "//") {
		return nil
	}
	if parsed, err := url.Parse(value); err == nil && parsed.Host != "" && (parsed.Scheme == "https" || parsed.Scheme == "http") {
		return nil
	}
	return errors.New("cancel_url must be an absolute address or a path: write `cancel_url /pricing`")
}

func checkExpiresIn(d caddy.Duration) error {
	if length := time.Duration(d); length < session.MinExpiresIn || length > 24*time.Hour {
		return fmt.Errorf("expires_in %s: it must be from %s to one day: write `expires_in 30m`", length, session.MinExpiresIn)
	}
	return nil
}

func checkMetadataKey(name string) error {
	if name == "" || name == "sessionId" || strings.HasPrefix(name, terms.MetadataPrefix) {
		return fmt.Errorf("metadata %q: the key is reserved: choose another (not sessionId, not %s…)", name, terms.MetadataPrefix)
	}
	return nil
}

// ServeHTTP lets a request through, admits it, or answers it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return h.gatekeeper.ServeHTTP(w, r, next)
}

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
		Receipt: h.Receipt, Claim: h.Claim == claimFirst, Links: h.Links,
		ExpiresIn: time.Duration(h.ExpiresIn), CustomerEmail: h.CustomerEmail, Metadata: h.Metadata, CancelURL: h.CancelURL,
	}
	if h.Preview != nil {
		perClient, total := h.Preview.Rates()
		config.Previews = h.app.limiter(checkout.LimitPreview, perClient, total, config.ID)
	}
	node := h.app.shared.node
	flow := checkout.New(h.gate, config, checkout.Services{
		Ledger: node.Ledger, Tokens: tokens, Axra: h.app.shared.client,
		Checkouts: h.app.shared.checkouts, Claims: h.app.shared.claims,
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
