// Package checkout serves visitors who have no access to a gate: offers, checkouts, the return from them, waiting
// pages, receipts and devices; and the same for programs.
package checkout

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/payments"
	"github.com/caddy-axra/paywall/internal/response"
	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/page"
	"github.com/caddy-axra/paywall/session"
)

// Ledger reads purchases and adds devices to them.
type Ledger interface {
	Details(ctx context.Context, purchaseID string) (ledger.Details, error)
	AddDevice(ctx context.Context, purchaseID string, device ledger.Device) error
	Claim(ctx context.Context, purchaseID string, device ledger.Device) error
}

// Axra creates checkout sessions.
type Axra interface {
	// Ready returns the error of Create if it would fail at once.
	Ready() error
	Create(ctx context.Context, order session.Order) (session.Checkout, error)
}

// Metrics counts what happens to visitors.
type Metrics interface {
	CountCheckout(outcome string)
	CountStep(product, step string)
	// CountUsed counts the first use of a purchase.
	CountUsed(purchaseID, product string)
	CountLimit(limit string)
}

// Outcomes of checkouts, steps from a page to its use, and limits that visitors meet beside those of session.Limiter.
const (
	OutcomeCreated  = "created"
	OutcomeReused   = "reused"
	OutcomeRedeemed = "redeemed"
	OutcomeLimited  = "limited"
	OutcomeFailed   = "failed"

	StepShown    = "shown"    // a visitor without access saw what is on sale
	StepCheckout = "checkout" // a checkout session was created
	StepPaid     = "paid"     // the payment was confirmed
	StepUsed     = "used"     // the buyer got in

	LimitConcurrent = "concurrent" // visitors who wait for Axra at the same time
	LimitClaims     = "claims"
	LimitPreview    = "preview"
	LimitDownloads  = "downloads" // of one purchase
	LimitDevices    = "devices"   // of one purchase
)

// Services are what all gates of an app share.
type Services struct {
	Ledger    Ledger
	Tokens    *gate.Tokens
	Axra      Axra
	Checkouts *session.Limiter // how many are started
	Claims    *session.Limiter // attempts to take over a purchase by its session id
	// CanSell returns an error if a payment could not be recorded now. Nothing is sold then.
	CanSell func() error
	// Progress returns what Axra last reported about an unpaid checkout; empty for nothing.
	Progress    func(session.Pending) payments.Stage
	Metrics     Metrics
	FormTargets []string // where forms of pages may lead, for their Content-Security-Policy
	LogLimited  func(message string, fields ...zap.Field)
}

// Config is what the owner has configured for one gate.
type Config struct {
	ID        string // tells gates apart that sell the same
	OfferPage *OfferPage
	Teaser    *Teaser
	Preview   *Preview
	Previews  *session.Limiter // of visitors without a preview cookie
	Receipt   bool             // shown after each payment
	Claim     bool             // another browser may take a purchase, once
	Links     *Links           // nil without private addresses

	// Sent to Axra with each checkout; placeholders are replaced.
	ExpiresIn     time.Duration
	CustomerEmail string
	Metadata      map[string]string
	CancelURL     string
}

// Flow is what visitors of one gate see until they have access.
type Flow struct {
	gate     *gate.Gate
	config   Config
	services Services
	logger   *zap.Logger
}

// New returns the flow of a gate.
func New(g *gate.Gate, config Config, services Services, logger *zap.Logger) *Flow {
	return &Flow{gate: g, config: config, services: services, logger: logger}
}

// ShowPage writes a page that says what happened. A program gets problem details.
func (f *Flow) ShowPage(w http.ResponseWriter, r *http.Request, view page.View) error {
	view.Site, view.Status = cmp.Or(view.Site, gate.HostOf(r.Host)), cmp.Or(view.Status, view.Kind.Status())
	isError := view.Status >= http.StatusBadRequest && view.Status != http.StatusPaymentRequired
	if isError && !acceptsHTML(r) {
		return response.Problem(w, r, view.Status, page.Detail(view), view.RetryAfter)
	}
	view.FormTargets = f.services.FormTargets
	if err := page.Write(w, r, view); err != nil && r.Context().Err() == nil {
		return caddyhttp.Error(http.StatusInternalServerError, err)
	}
	return nil
}

// Visit is one request that the flow may handle.
type Visit struct {
	flow     *Flow
	gate     *gate.Gate
	config   *Config
	services *Services
	tokens   *gate.Tokens

	w       http.ResponseWriter
	r       *http.Request
	next    caddyhttp.Handler // behind the gate
	site    *gate.Site
	address *url.URL // as the browser has it
	params  url.Values
	target  string // the page, without the gate's parameters
}

// Visit returns the visit of a request.
func (f *Flow) Visit(w http.ResponseWriter, r *http.Request, site *gate.Site, next caddyhttp.Handler) *Visit {
	address := gate.OriginalURL(r)
	return &Visit{
		flow: f, gate: f.gate, config: &f.config, services: &f.services, tokens: f.services.Tokens,
		w: w, r: r, next: next, site: site, address: address,
		params: urlpath.Params(address.RawQuery), target: urlpath.OriginalTarget(address),
	}
}

func (v *Visit) now() time.Time          { return v.tokens.Clock.Now() }
func (v *Visit) has(param string) bool   { return v.params.Has(param) }
func (v *Visit) get(param string) string { return v.params.Get(param) }

func (v *Visit) redirectToTarget() error {
	response.Redirect(v.w, v.target)
	return nil
}

// restartURL leads to a new checkout of the page.
func (v *Visit) restartURL() string { return urlpath.WithParams(v.target, urlpath.ParamRestart, "1") }

func (v *Visit) showPage(view page.View) error {
	view.Site = v.site.Host()
	saysPrice := len(view.Quotes) > 0 || view.Price != "" || view.Kind.Status() == http.StatusOK
	if quotes, err := v.gate.Quotes(v.r); !saysPrice && err == nil && len(quotes) == 1 {
		view.Price, view.Description = v.describePrice(quotes[0]), quotes[0].Description
	}
	return v.flow.ShowPage(v.w, v.r, view)
}

// refusal is an error that a page explains to the visitor.
type refusal struct{ page.View }

func (r refusal) Error() string { return "refused: " + string(r.Kind) }

// errHasAccess means that the visitor has access already.
var errHasAccess = errors.New("the visitor has access already")

// showError shows the page that explains an error. An unknown error comes from the ledger: the visitor may have paid.
func (v *Visit) showError(err error) error {
	var refused refusal
	var failed caddyhttp.HandlerError
	switch {
	case errors.As(err, &refused):
		return v.showPage(refused.View)
	case errors.As(err, &failed):
		return err
	case errors.Is(err, errHasAccess):
		return v.redirectToTarget()
	}
	v.services.LogLimited("the ledger cannot be read; no visitor is asked to pay meanwhile", zap.Error(err))
	return v.showSafe()
}

// showSafe tells a visitor who may have paid that the payment is safe, while that cannot be told.
func (v *Visit) showSafe() error {
	checkURL := urlpath.FullTarget(v.address)
	if v.has(urlpath.ParamRestart) {
		checkURL = v.target // to check again must not start another checkout
	}
	return v.showPage(page.View{Kind: page.PaymentSafe, CheckURL: checkURL, RetryAfter: 5 * time.Second})
}

func (v *Visit) showMisconfigured(err error) error {
	v.services.LogLimited("nothing can be sold here: correct the price or the key in the configuration",
		zap.String("path", v.r.URL.Path), zap.Error(err))
	return v.showPage(page.View{Kind: page.Misconfigured})
}

// allow counts an attempt of the visitor against a limit; the refusal says when to try again.
func (v *Visit) allow(limiter *session.Limiter) error {
	if wait, ok := limiter.Allow(clientIP(v.r)); !ok {
		return refusal{page.View{Kind: page.TooMany, NextURL: v.target, RetryAfter: min(wait, time.Hour)}}
	}
	return nil
}

func replacer(r *http.Request) *caddy.Replacer {
	found, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer) // Caddy sets it
	return found
}

func clientIP(r *http.Request) string {
	address, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return address
}

// describePrice says what a product costs, and how long its access is.
func (v *Visit) describePrice(quote gate.Quote) string {
	return quote.Price.String() + " · " + v.describeAccess(quote.Product)
}

func (v *Visit) describeAccess(p *gate.Product) string {
	return page.AccessInWords(v.r.Header.Get("Accept-Language"), p.Access.Length())
}
