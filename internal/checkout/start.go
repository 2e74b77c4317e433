package checkout

import (
	"cmp"
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/response"
	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/page"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/webhook"
)

// checkoutRequest is what is known of a checkout that is to be started.
type checkoutRequest struct {
	pending      pendingCookies
	unpaid       []session.Pending // of pending, those of this gate without a purchase: one may be used again
	restart      bool              // the visitor asks for a new one
	extends      *ledger.Holding   // the purchase that gets more time; nil for a new one
	device       string            // the buyer's, among those of extends
	forProgram   bool              // a program starts it and fetches the token; the browser that pays gets none
	onlyByButton bool              // a navigation alone does not start it
}

func (q checkoutRequest) extendedID() string {
	if q.extends == nil {
		return ""
	}
	return q.extends.ID
}

// sell sends a person to the checkout of the product that they have chosen, or shows what there is to choose from. For
// other requests it creates nothing. A client that accepts a page may be a person after all: it gets one with a button
// that starts a checkout.
func (v *Visit) sell(req checkoutRequest) error {
	mayStart := !req.onlyByButton && v.mayStartCheckout()
	if !mayStart && acceptsHTML(v.r) && !v.has(urlpath.ParamCheckout) {
		if done, err := v.serveTeaser(); done {
			return err
		}
	}
	if (mayStart || v.r.Method == http.MethodGet) && v.redirectToCanonicalPath() {
		return nil
	}
	quotes, err := v.gate.Quotes(v.r)
	chosen := v.chosen(quotes)
	switch {
	case err != nil:
		return v.showMisconfigured(err)
	case !acceptsHTML(v.r):
		return v.paymentRequired(quotes, v.howToPay())
	case len(quotes) == 0:
		return v.showPage(page.View{Kind: page.Required})
	case chosen == nil:
		v.countShown(quotes...)
		return v.showOffers(quotes, req)
	case !mayStart:
		return v.showPage(page.View{
			Kind: page.Required, FormURL: v.checkoutAddress(*chosen, req), Price: v.describePrice(*chosen), Description: chosen.Description,
		})
	}
	entry, isReused, err := v.openCheckout(*chosen, req)
	if err != nil {
		return v.showError(err)
	}
	if isReused {
		v.services.Metrics.CountCheckout(OutcomeReused)
	}
	if !v.has(urlpath.ParamCheckout) && !v.has(urlpath.ParamRestart) {
		v.countShown(*chosen)
	}
	response.RedirectToCheckout(v.w, entry.CheckoutURL)
	return nil
}

// redirectToCanonicalPath redirects a request for another spelling of a path, before anything is sold.
func (v *Visit) redirectToCanonicalPath() (done bool) {
	address := v.gate.CanonicalAddress(v.r)
	if address != nil {
		response.Redirect(v.w, urlpath.FullTarget(address))
	}
	return address != nil
}

// countShown counts that a person was shown what is on sale, or was sent to its checkout unasked. A person who asks for
// a checkout has been shown it before.
func (v *Visit) countShown(quotes ...gate.Quote) {
	if !isNavigation(v.r) {
		return
	}
	for _, quote := range quotes {
		v.services.Metrics.CountStep(quote.Product.Name, StepShown)
	}
}

// chosen returns the quote that the address names, or the only one if no offer page is to be shown first.
func (v *Visit) chosen(quotes []gate.Quote) *gate.Quote {
	name := v.get(urlpath.ParamCheckout)
	if name == "" && len(quotes) == 1 && (v.has(urlpath.ParamCheckout) || v.config.OfferPage == nil) {
		return &quotes[0]
	}
	// What is not on sale is not replaced by anything, so that no visitor is charged by guess.
	return find(quotes, func(quote gate.Quote) bool { return quote.Product.Name == name })
}

// openCheckout returns the checkout that this browser has open for a quote, or a new one.
func (v *Visit) openCheckout(quote gate.Quote, req checkoutRequest) (entry session.Pending, isReused bool, err error) {
	scope := session.Scope(v.site.Origin, quote.Product.Name, quote.Resource)
	open := find(req.unpaid, func(entry session.Pending) bool {
		return entry.Scope == scope && entry.Price == quote.Price.String() && entry.Extends == req.extendedID() && entry.Reusable(v.now())
	})
	if open != nil && !req.restart {
		return *open, true, nil
	}
	entry, err = v.start(quote, req)
	return entry, false, err
}

// start creates a checkout session at Axra.
func (v *Visit) start(quote gate.Quote, req checkoutRequest) (session.Pending, error) {
	if err := v.mayStart(quote, req); err != nil {
		return session.Pending{}, err
	}
	created, err := v.services.Axra.Create(v.r.Context(), v.order(quote, req))
	if err != nil {
		return session.Pending{}, v.unavailable(err)
	}
	entry := session.Pending{
		Session: created.Session, CheckoutURL: created.URL, ExpiresAt: created.ExpiresAt,
		Scope: session.Scope(v.site.Origin, quote.Product.Name, quote.Resource), Price: quote.Price.String(),
		Extends: req.extendedID(), Device: cmp.Or(req.device, rand.Text()),
	}
	if err := v.keepPending(entry); err != nil {
		return entry, v.unavailable(err) // without the cookie the payment could not be given to this browser
	}
	v.services.Metrics.CountCheckout(OutcomeCreated)
	v.services.Metrics.CountStep(quote.Product.Name, StepCheckout)
	v.flow.logger.Debug("checkout session created",
		zap.String("session", webhook.ShortID(created.Session)), zap.String("pass", quote.Product.Name))
	return entry, nil
}

// mayStart returns why no checkout may be started now.
func (v *Visit) mayStart(quote gate.Quote, req checkoutRequest) error {
	if len(v.target) > urlpath.MaxTarget {
		return refusal{page.View{Kind: page.TooLong}}
	}
	if err := v.services.CanSell(); err != nil {
		return err
	}
	if err := v.services.Axra.Ready(); err != nil {
		return v.unavailable(err) // before it counts against anybody's limit
	}
	if err := v.fitCookieBudget(quote, req); err != nil {
		return err
	}
	err := v.allow(v.services.Checkouts)
	if err != nil {
		v.services.Metrics.CountCheckout(OutcomeLimited)
	}
	return err
}

// unavailable turns an error of Axra's into the page that explains it.
func (v *Visit) unavailable(err error) error {
	if v.r.Context().Err() != nil {
		return caddyhttp.Error(499, errors.New("axra_paywall: the visitor left"))
	}
	v.services.Metrics.CountCheckout(OutcomeFailed)
	if errors.Is(err, session.ErrBusy) {
		v.services.Metrics.CountLimit(LimitConcurrent)
	}
	v.services.LogLimited("no checkout session could be created", zap.Error(err))
	return refusal{page.View{Kind: page.Unavailable, NextURL: v.target, RetryAfter: session.RetryAfter(err)}}
}

// sessionPlaceholder is replaced by Axra in the success URL [payments/checkout-sessions].
const sessionPlaceholder = "{SESSION_ID}"

func (v *Visit) order(quote gate.Quote, req checkoutRequest) session.Order {
	config, product := v.config.Order, quote.Product
	order := session.Order{
		Terms: terms.Terms{
			Installation: v.tokens.Keys.Installation(), Site: v.site.Origin,
			Pass: product.Name, Resource: quote.Resource, Price: quote.Price, Access: product.Access,
			Downloads: product.Config.Downloads, Devices: product.Config.Devices,
			Claim: v.config.Takeover && !req.forProgram,
		},
		SuccessURL:    urlpath.ReturnURL(v.site.Origin, v.target, urlpath.ParamSession, sessionPlaceholder),
		CancelURL:     urlpath.ReturnURL(v.site.Origin, v.target, urlpath.ParamCancelled, "1"),
		Description:   quote.Description,
		CustomerEmail: gate.Replace(v.r, config.CustomerEmail),
		ExpiresIn:     config.ExpiresIn,
		Metadata:      make(map[string]string, len(config.Metadata)),
	}
	if order.Description == "" {
		order.Description = v.site.Host() + " · " + v.describeAccess(product)
	}
	if req.forProgram {
		order.SuccessURL += "&" + urlpath.ParamProgram + "=1"
	}
	if req.extends != nil {
		order.Terms.Extends, order.Terms.From = req.extends.ID, req.extends.EndsAt.UTC().Truncate(time.Second)
	}
	if own := gate.Replace(v.r, config.CancelURL); own != "" {
		order.CancelURL = own
		if strings.HasPrefix(own, "/") {
			order.CancelURL = v.site.Origin + urlpath.Local(own)
		}
	}
	for name, value := range config.Metadata {
		order.Metadata[name] = gate.Replace(v.r, value)
	}
	return order
}
