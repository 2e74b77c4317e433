package checkout

import (
	"crypto/rand"
	"errors"
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
	pending    pendingCookies
	unpaid     []session.Pending // of pending, those of this gate without a purchase: one may be used again
	restart    bool              // the visitor asks for a new one
	extends    *ledger.Holding   // the purchase that gets more time; nil for a new one
	device     string            // the buyer's, among those of extends
	forProgram bool              // a program starts it and fetches the token; the browser that pays gets none
}

func (q checkoutRequest) extendedID() string {
	if q.extends == nil {
		return ""
	}
	return q.extends.ID
}

// sell sends the browser to the checkout of the product that it has chosen, or shows what there is to choose from.
func (v *Visit) sell(req checkoutRequest) error {
	if !v.mayStartCheckout() {
		return v.refuse(req)
	}
	if v.redirectToCanonicalPath() {
		return nil
	}
	quotes, err := v.flow.gate.Quotes(v.r)
	if err != nil {
		return v.showMisconfigured(err)
	}
	chosen := v.chosen(quotes)
	switch {
	case len(quotes) == 0:
		return v.showPage(page.View{Kind: page.Required})
	case chosen == nil:
		v.countShown(quotes...)
		return v.showOffers(quotes, req)
	}
	if entry := v.reusable(*chosen, req); entry != nil && !req.restart {
		v.flow.services.Metrics.CountCheckout(OutcomeReused)
		v.rememberReturnTo(*entry)
		return v.redirectToCheckout(*entry, *chosen)
	}
	entry, refusal, err := v.start(*chosen, req)
	switch {
	case err != nil:
		return err
	case refusal != nil:
		return v.showPage(*refusal)
	}
	return v.redirectToCheckout(entry, *chosen)
}

// redirectToCanonicalPath answers a request for another spelling of a path, before anything is sold.
func (v *Visit) redirectToCanonicalPath() (done bool) {
	address := v.flow.gate.CanonicalAddress(v.r)
	if address != nil {
		response.Redirect(v.w, urlpath.FullTarget(address))
	}
	return address != nil
}

func (v *Visit) redirectToCheckout(entry session.Pending, chosen gate.Quote) error {
	if !v.has(urlpath.ParamCheckout) && !v.has(urlpath.ParamRestart) {
		v.countShown(chosen)
	}
	response.RedirectToCheckout(v.w, entry.CheckoutURL)
	return nil
}

// countShown counts that a person was shown what is on sale, or was sent to its checkout unasked. Whoever asks for a
// checkout has been shown it before.
func (v *Visit) countShown(quotes ...gate.Quote) {
	if !isNavigation(v.r) {
		return
	}
	for _, quote := range quotes {
		v.flow.services.Metrics.CountStep(quote.Product.Name, StepShown)
	}
}

// chosen returns the quote that the address names, or the only one if no offer page is to be shown first.
func (v *Visit) chosen(quotes []gate.Quote) *gate.Quote {
	if v.has(urlpath.ParamCheckout) {
		name := v.get(urlpath.ParamCheckout)
		for i := range quotes {
			if quotes[i].Product.Name == name || name == "" && len(quotes) == 1 {
				return &quotes[i]
			}
		}
		if name != "" {
			return nil // not on sale: the visitor must choose
		}
	}
	if len(quotes) != 1 || v.flow.config.OfferPage != nil {
		return nil
	}
	return &quotes[0]
}

// reusable returns the checkout that this browser has open for a quote; nil if there is none.
func (v *Visit) reusable(quote gate.Quote, req checkoutRequest) *session.Pending {
	scope := session.Scope(v.site.Origin, quote.Product.Name, quote.Resource)
	for i, entry := range req.unpaid {
		if entry.Scope == scope && entry.Price == quote.Price.String() && entry.Extends == req.extendedID() && entry.Reusable(v.flow.now()) {
			return &req.unpaid[i]
		}
	}
	return nil
}

// start creates a checkout session at Axra. If it does not, it returns what to show instead.
func (v *Visit) start(quote gate.Quote, req checkoutRequest) (session.Pending, *page.View, error) {
	if refusal, err := v.mayStart(quote, req); refusal != nil || err != nil {
		return session.Pending{}, refusal, err
	}
	created, err := v.flow.services.Axra.Create(v.r.Context(), v.order(quote, req))
	if err != nil {
		refusal, err := v.unavailable(err)
		return session.Pending{}, refusal, err
	}
	entry := session.Pending{
		Session: created.Session, CheckoutURL: created.URL, ExpiresAt: created.ExpiresAt,
		Scope: session.Scope(v.site.Origin, quote.Product.Name, quote.Resource), Price: quote.Price.String(),
		Extends: req.extendedID(), Device: req.device,
	}
	if entry.Device == "" {
		entry.Device = rand.Text()
	}
	if err := v.keepPending(entry); err != nil {
		refusal, err := v.unavailable(err) // without the cookie the payment could not be given to this browser
		return session.Pending{}, refusal, err
	}
	v.flow.services.Metrics.CountCheckout(OutcomeCreated)
	v.flow.services.Metrics.CountStep(quote.Product.Name, StepCheckout)
	v.flow.logger.Debug("checkout session created",
		zap.String("session", webhook.ShortID(created.Session)), zap.String("pass", quote.Product.Name))
	return entry, nil, nil
}

// mayStart returns what to show if no checkout may be started now.
func (v *Visit) mayStart(quote gate.Quote, req checkoutRequest) (refusal *page.View, err error) {
	if len(v.target) > urlpath.MaxTarget {
		return &page.View{Kind: page.TooLong}, nil
	}
	if err := v.flow.services.CanSell(); err != nil {
		v.logUnreadable(err)
		return &page.View{Kind: page.PaymentSafe, RetryAfter: 5 * time.Second}, nil
	}
	if err := v.flow.services.Axra.Ready(); err != nil {
		return v.unavailable(err) // before it counts against a limit
	}
	if refusal := v.fitCookieBudget(quote, req); refusal != nil {
		return refusal, nil
	}
	if wait, ok := v.flow.services.Checkouts.Allow(clientIP(v.r)); !ok {
		v.flow.services.Metrics.CountCheckout(OutcomeLimited)
		return &page.View{Kind: page.TooMany, NextURL: v.target, RetryAfter: min(wait, time.Hour)}, nil
	}
	return nil, nil //nolint:nilnil // the checkout may start
}

func (v *Visit) unavailable(err error) (refusal *page.View, _ error) {
	if v.r.Context().Err() != nil {
		return nil, caddyhttp.Error(499, errors.New("axra_paywall: the visitor left"))
	}
	v.flow.services.Metrics.CountCheckout(OutcomeFailed)
	if errors.Is(err, session.ErrBusy) {
		v.flow.services.Metrics.CountLimit(LimitConcurrent)
	}
	v.flow.services.LogLimited("no checkout session could be created", zap.Error(err))
	return &page.View{Kind: page.Unavailable, NextURL: v.target, RetryAfter: session.RetryAfter(err)}, nil
}

// sessionPlaceholder is replaced by Axra in the success URL [payments/checkout-sessions].
const sessionPlaceholder = "{SESSION_ID}"

func (v *Visit) order(quote gate.Quote, req checkoutRequest) session.Order {
	config, product := v.flow.config.Order, quote.Product
	order := session.Order{
		Terms: terms.Terms{
			Installation: v.flow.services.Tokens.Keys.Installation(), Site: v.site.Origin,
			Pass: product.Name, Resource: quote.Resource, Price: quote.Price, Access: product.Access,
			Downloads: product.Config.Downloads, Devices: product.Config.Devices,
			Claim: v.flow.config.Takeover && !req.forProgram,
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
