package paywall

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
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
	"github.com/caddy-axra/paywall/internal/settings"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/terms"
)

// Handler is a gate: it lets requests through to the next handlers only for
// visitors who have paid, and sends others to a checkout session of Axra. In a
// Caddyfile it is the directive `axra_paywall`.
//
// It sets these placeholders for later handlers:
//
// Placeholder | Description
// ------------|---------------
// `{http.axra.paid}` | `true` for requests that a gate let through, `false` for those that it does not cover. The others are then empty.
// `{http.axra.pass}` | The name of the pass that opened the gate.
// `{http.axra.purchase}` | The id of the purchase. `caddy axra show` takes it.
// `{http.axra.until}` | The end of access in RFC 3339; empty for access without an end.
// `{http.axra.preview.left}` | How many free samples a visitor who reads one has left.
// `{http.axra.link.<path>}` | With Links, the private address of a path of this site, such as `{http.axra.link./feed/1.mp3}`.
// `{http.axra.user}` | A name for the purchase that may be logged: `axra-` and a hash of its id. `{http.auth.user.id}` is the same, unless an authentication handler has set it.
//
// Answers to requests that a gate lets through leave as `Cache-Control: private`.
//
// For a teaser it sets for each pass on sale `{http.axra.offer.<pass>.price}` (`5.00 USD`),
// `.amount`, `.currency`, `.description`, `.access` (`30d`, `forever`) and `.checkout`, the
// address that leads to its checkout; and `{http.axra.offer.passes}`, their names. Escape
// descriptions that hold placeholders of the request: `{{placeholder "…" | html}}`.
type Handler struct {
	// MatchersRaw says which requests the gate covers; without it, every request
	// that reaches the handler. Put matchers here rather than on the route: the
	// gate also applies them to the other paths under which a file server or an
	// application might serve the same content.
	MatchersRaw caddyhttp.RawMatcherSets `json:"match,omitempty" caddy:"namespace=http.matchers"`

	// Pass is the name of what the gate itself sells, by its own Price. A payment
	// opens every gate of the site with the same pass name. The name stays with
	// those who have paid: keep it when a route moves or a price changes. In a
	// Caddyfile the default is the gate's matcher, such as `/premium/*`; in JSON it is
	// `default`.
	Pass string `json:"pass,omitempty"`

	// What the gate itself sells may be left out if Passes are named.
	gate.ProductConfig

	// Passes are the names of passes of the app that open the gate too, in the order
	// in which they are offered.
	Passes []string `json:"passes,omitempty"`

	// OfferPage shows what is on sale before the checkout. A gate that sells several
	// passes has one anyway.
	OfferPage *checkout.OfferPage `json:"offer_page,omitempty"`

	// Teaser is what visitors who have not paid get in place of the checkout or the
	// offer page.
	Teaser *checkout.Teaser `json:"teaser,omitempty"`

	// Preview lets visitors read some pages for free.
	Preview *checkout.Preview `json:"preview,omitempty"`

	// RequestHeaders begins the names of request headers that tell an application
	// behind the gate who has paid: with `X-Axra-` these are X-Axra-Paid (`true`),
	// X-Axra-Pass, X-Axra-Purchase, X-Axra-Until and X-Axra-User. What
	// a client sends under such names is removed from every request that comes by the
	// gate. Without it no headers are set.
	RequestHeaders string `json:"request_headers,omitempty"`

	// Receipt shows the receipt after the payment, before the content. It is always to
	// be had by adding `?axra_receipt` to the address of a page that was bought.
	Receipt bool `json:"receipt,omitempty"`

	// Claim lets another browser than the one that started a checkout take its purchase,
	// as phones need whose banking app opens a browser of its own. With `first`, the
	// first browser that comes with the session's unguessable id may do so, once.
	// Without it, none may.
	Claim string `json:"claim,omitempty"`

	// Links gives who has paid private addresses that work without cookies.
	Links *checkout.Links `json:"links,omitempty"`

	// ExpiresIn is how long a checkout session stays open, at least 5m. Axra
	// advises 15m or more. The default is 30m.
	ExpiresIn caddy.Duration `json:"expires_in,omitempty"`

	// CustomerEmail pre-fills the e-mail field of the checkout page. Placeholders
	// are replaced for each request.
	CustomerEmail string `json:"customer_email,omitempty"`

	// Metadata is attached to the checkout session and comes back in webhooks and in
	// Axra's dashboard. Placeholders in values are replaced for each request. Keys
	// that begin with `paywall_`, and `sessionId`, are reserved.
	Metadata map[string]string `json:"metadata,omitempty"`

	// CancelURL is where Axra sends a customer who cancels or lets the session
	// expire: an absolute address, or a path of this site. The default is the gated
	// page itself, which then says that nothing was charged and offers to try again.
	// Placeholders are replaced for each request.
	CancelURL string `json:"cancel_url,omitempty"`

	// SiteURL is the public address of this gate's site, where it differs from the
	// host name in the configuration. The default is that host name, else the app's
	// `site_url`.
	SiteURL string `json:"site_url,omitempty"`

	app       *App
	logger    *zap.Logger
	siteURL   string // resolved
	isNamed   bool   // the owner has chosen the name of the pass
	gate      *gate.Gate
	admission *admission.Admission
	flow      *checkout.Flow
}

// DefaultPass names the pass of a gate that says nothing else.
const DefaultPass = "default"

// Provision reads the gate's configuration.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	covers, _ := json.Marshal(h.MatchersRaw) // it was read from JSON
	matcher, err := h.loadMatcher(ctx)
	if err != nil {
		return err
	}
	h.isNamed = h.Pass != "" || !h.sellsItself()
	if !h.isNamed {
		h.Pass = DefaultPass
	}
	if err := h.Teaser.Provision(ctx); err != nil {
		return fmt.Errorf("axra_paywall: gate %q: %w", h.label(), err)
	}
	if h.app, err = appFrom(ctx, "axra_paywall"); err != nil {
		return err
	}
	if h.app.shared.client == nil {
		return errors.New("axra_paywall: the global option axra has no api_key: add `api_key {env.AXRA_API_KEY}`")
	}
	if h.ExpiresIn == 0 {
		h.ExpiresIn = caddy.Duration(session.DefaultExpiresIn)
	}
	products, productsErr := h.products()
	siteURL, siteErr := settings.SiteURL(h.SiteURL)
	if err := cmp.Or(productsErr, h.check(len(products)), siteErr); err != nil {
		return fmt.Errorf("axra_paywall: gate %q: %w", h.label(), err)
	}
	h.siteURL = siteURL
	h.build(matcher, products, h.label()+"\n"+string(covers))
	h.app.register(h)
	return nil
}

func (h *Handler) loadMatcher(ctx caddy.Context) (*gate.Matcher, error) {
	var sets caddyhttp.MatcherSets
	if len(h.MatchersRaw) > 0 {
		loaded, err := ctx.LoadModule(h, "MatchersRaw")
		if err != nil {
			return nil, fmt.Errorf("axra_paywall: loading matchers: %w", err)
		}
		if err := sets.FromInterface(loaded); err != nil {
			return nil, fmt.Errorf("axra_paywall: loading matchers: %w", err)
		}
	}
	return gate.NewMatcher(sets), nil
}

// check checks the options of a gate that sells so many passes; errors name the fix.
func (h *Handler) check(passes int) error {
	checks := []error{
		h.OfferPage.Provision(passes), h.Preview.Check(), h.Links.Check(), checkClaim(cmp.Or(h.Claim, claimFirst)),
		admission.RequestHeaders(h.RequestHeaders).Check(), checkExpiresIn(h.ExpiresIn), checkCancelURL(h.CancelURL),
	}
	for name := range h.Metadata {
		checks = append(checks, checkMetadataKey(name))
	}
	return cmp.Or(checks...)
}

func (h *Handler) logLimited(message string, fields ...zap.Field) {
	h.app.limit.Error(h.logger, message, fields...)
}

// sellsItself reports whether the gate has a product of its own.
func (h *Handler) sellsItself() bool {
	return h.ProductConfig != (gate.ProductConfig{}) || len(h.Passes) == 0
}

// label names the gate in errors.
func (h *Handler) label() string {
	if h.Pass != "" {
		return h.Pass
	}
	return strings.Join(h.Passes, " ")
}

// products collects what opens the gate.
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
			return nil, fmt.Errorf("pass %q is not defined%s: correct the name, or add `pass %s { price 5.00 usd }` to the global option axra",
				name, h.app.definedPasses(), name)
		}
		if slices.Contains(products, shared) {
			return nil, fmt.Errorf("pass %q is named twice: keep one", name)
		}
		products = append(products, shared)
	}
	return products, nil
}

// errOptionsOfPass is about options of a product beside passes that have their own.
var errOptionsOfPass = errors.New("description, access, per_path, downloads and devices belong to what has a price: " +
	"write them into the pass in the global option axra, or add a `price` to sell something of this gate's own")

// ownProduct is what the gate itself sells.
func (h *Handler) ownProduct() (*gate.Product, error) {
	own, err := gate.NewProduct(h.Pass, h.ProductConfig)
	if errors.Is(err, gate.ErrNoPrice) && len(h.Passes) > 0 {
		err = errOptionsOfPass
	}
	return own, err
}

// claimFirst is the one value of Handler.Claim.
const claimFirst = "first"

func checkClaim(value string) error {
	if value != claimFirst {
		return errors.New("claim takes one word: write `claim first`")
	}
	return nil
}

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
		return fmt.Errorf("expires_in %s: Axra wants at least %s, and more than a day is no checkout: write `expires_in 30m`", length, session.MinExpiresIn)
	}
	return nil
}

func checkMetadataKey(name string) error {
	if name == "" || name == "sessionId" || strings.HasPrefix(name, terms.MetadataPrefix) {
		return fmt.Errorf("metadata %q: the key is reserved: choose another (not sessionId, not %s…)", name, terms.MetadataPrefix)
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
