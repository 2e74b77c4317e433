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

	"github.com/caddy-axra/paywall/internal/admission"
	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/response"
	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/page"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/webhook"
)

// sell sends a person to the checkout of the product that they have chosen, or shows what there is to choose from. For
// other requests it creates nothing. A client that accepts a page may be a person after all: it gets one with a button
// that starts a checkout.
func (v *Visit) sell(found lookup) error {
	mayStart := v.mayStartCheckout()
	if acceptsHTML(v.r) && !v.has(urlpath.ParamCheckout) && (!mayStart || !v.restarts()) {
		if done, err := v.serveTeaser(); done {
			return err
		}
	}
	if canonical := v.gate.CanonicalAddress(v.r); canonical != nil && (mayStart || v.r.Method == http.MethodGet) {
		response.Redirect(v.w, urlpath.FullTarget(canonical))
		return nil
	}
	quotes, err := v.gate.Quotes(v.r)
	chosen := v.chosen(quotes)
	switch {
	case err != nil:
		return v.showMisconfigured(err)
	case !acceptsHTML(v.r) && v.has(urlpath.ParamLink):
		return v.paymentRequired(page.Detail(page.View{Kind: page.LinkEnded}))
	case !acceptsHTML(v.r):
		return v.paymentRequired(howToBuy)
	case len(quotes) == 0:
		return v.showPage(page.View{Kind: page.Required})
	case chosen == nil:
		v.countShown(quotes...)
		return v.showOffers(quotes)
	case !mayStart:
		return v.showPage(page.View{
			Kind: page.Required, FormURL: v.checkoutAddress(*chosen), Price: v.describePrice(*chosen), Description: chosen.Description,
		})
	}
	pending, err := v.openCheckout(*chosen, found, false)
	if err != nil {
		return v.showError(err)
	}
	if !v.has(urlpath.ParamCheckout) && !v.has(urlpath.ParamRestart) {
		v.countShown(*chosen)
	}
	response.RedirectToCheckout(v.w, pending.CheckoutURL)
	return nil
}

// countShown counts that a person was shown what is on sale, or was sent to its checkout unasked. A person who asks for
// a checkout has been shown it before.
func (v *Visit) countShown(quotes ...gate.Quote) {
	for _, quote := range quotes {
		if isNavigation(v.r) {
			v.services.Metrics.CountStep(quote.Product.Name, StepShown)
		}
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

// openCheckout returns the checkout that this client has open for a quote, or creates a session at Axra. Who has the
// product already buys more time of it, or more downloads. A program fetches the token itself: the browser that pays
// gets none.
func (v *Visit) openCheckout(quote gate.Quote, found lookup, forProgram bool) (session.Pending, error) {
	pending := session.Pending{
		Scope: session.Scope(v.site.Origin, quote.Product.Name, quote.Resource), Price: quote.Price.String(), Device: rand.Text(),
	}
	var extends ledger.Purchase
	if known := v.openedBy(quote.Product.Name); known != nil {
		var err error
		switch extends, err = v.extendable(known); {
		case err == nil:
			pending.Extends, pending.Device = extends.ID, known.Device
		case !errors.Is(err, errHasAccess) || known.DownloadLimit() == 0:
			return pending, err
		}
	}
	open := find(found.unpaid, func(p session.Pending) bool {
		return p.Scope == pending.Scope && p.Price == pending.Price && p.Extends == pending.Extends && p.Reusable(v.now())
	})
	if open != nil && !v.restarts() {
		v.services.Metrics.CountCheckout(OutcomeReused)
		return *open, nil
	}
	if len(v.target) > urlpath.MaxTarget {
		return pending, refusal{page.View{Kind: page.TooLong}}
	}
	if err := v.services.CanSell(); err != nil {
		return pending, err
	}
	if err := v.services.Axra.Ready(); err != nil {
		return pending, v.unavailable(err) // before it counts against anybody's limit
	}
	if err := v.fitCookieBudget(found.cookies, quote, extends.ID == "" && !forProgram); err != nil {
		return pending, err
	}
	if err := v.allow(v.services.Checkouts); err != nil {
		v.services.Metrics.CountCheckout(OutcomeLimited)
		return pending, err
	}
	created, err := v.services.Axra.Create(v.r.Context(), v.order(quote, extends, forProgram))
	if err == nil {
		pending.Session, pending.CheckoutURL, pending.ExpiresAt = created.Session, created.URL, created.ExpiresAt
		err = v.keepPending(pending) // without the cookie the payment could not be given to this browser
	}
	if err != nil {
		return pending, v.unavailable(err)
	}
	v.services.Metrics.CountCheckout(OutcomeCreated)
	v.services.Metrics.CountStep(quote.Product.Name, StepCheckout)
	v.flow.logger.Debug("checkout session created",
		zap.String("session", webhook.ShortID(pending.Session)), zap.String("pass", quote.Product.Name))
	return pending, nil
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

func (v *Visit) order(quote gate.Quote, extends ledger.Purchase, forProgram bool) session.Order {
	config, product := v.config, quote.Product
	order := session.Order{
		Terms: terms.Terms{
			Installation: v.tokens.Keys.Installation(), Site: v.site.Origin,
			Pass: product.Name, Resource: quote.Resource, Price: quote.Price, Access: product.Access,
			Downloads: product.Config.Downloads, Devices: product.Config.Devices,
			Claim: v.config.Claim && !forProgram,
		},
		SuccessURL: urlpath.ReturnURL(v.site.Origin, v.target, urlpath.ParamSession, "{SESSION_ID}"), // which Axra replaces
		CancelURL: cmp.Or(gate.Replace(v.r, config.CancelURL),
			urlpath.ReturnURL(v.site.Origin, v.target, urlpath.ParamCancelled, "1")),
		Description:   cmp.Or(quote.Description, v.site.Host()+" · "+v.describeAccess(product)),
		CustomerEmail: gate.Replace(v.r, config.CustomerEmail),
		ExpiresIn:     config.ExpiresIn,
		Metadata:      make(map[string]string, len(config.Metadata)),
	}
	if forProgram {
		order.SuccessURL += "&" + urlpath.ParamProgram + "=1"
	}
	if extends.ID != "" {
		order.Terms.Extends, order.Terms.From = extends.ID, extends.EndsAt.UTC().Truncate(time.Second)
	}
	if strings.HasPrefix(order.CancelURL, "/") {
		order.CancelURL = v.site.Origin + urlpath.Local(order.CancelURL)
	}
	for name, value := range config.Metadata {
		order.Metadata[name] = gate.Replace(v.r, value)
	}
	return order
}

// isNavigation reports whether a person's browser says, by Fetch metadata (https://www.w3.org/TR/fetch-metadata/), that it
// is about to show the response as a page. Prefetches, sub-resources, programs and crawlers do not. Old browsers, and
// those that use plain http, do not either: their visitors have to click once.
func isNavigation(r *http.Request) bool {
	dest := r.Header.Get("Sec-Fetch-Dest")
	isPage := dest == "" || dest == "document" || dest == "empty" // a service worker that calls fetch(event.request)
	// Android browsers inside other apps send the app's package name, for every navigation.
	isScript := strings.EqualFold(r.Header.Get("X-Requested-With"), "XMLHttpRequest")
	return r.Method == http.MethodGet && acceptsHTML(r) && r.Header.Get("Upgrade") == "" &&
		r.Header.Get("Sec-Fetch-Mode") == "navigate" && isPage && !isScript && !admission.IsPrefetch(r)
}

// isPurchaseForm reports whether a request submits a checkout button.
func (v *Visit) isPurchaseForm() bool {
	return v.r.Method == http.MethodPost && acceptsHTML(v.r) && v.has(urlpath.ParamCheckout)
}

// isPageRequest reports whether the response may be a page for a person, whatever else the headers say.
func (v *Visit) isPageRequest() bool {
	return v.r.Method == http.MethodGet && acceptsHTML(v.r) || v.isPurchaseForm()
}

// mayStartCheckout reports whether a person asks: by a navigation, or by a form that is not another site's. A person who
// may have paid under a key that was lost or removed is asked first.
func (v *Visit) mayStartCheckout() bool {
	if !v.has(urlpath.ParamCheckout) && !v.restarts() && v.hasTokenOfUnknownKey() {
		return false
	}
	return isNavigation(v.r) || v.isPurchaseForm() && !v.isFromAnotherSite()
}

func (v *Visit) hasTokenOfUnknownKey() bool {
	for raw := range v.gate.RawTokens(v.r, v.site) {
		if v.tokens.Keys.IsOfUnknownKey(raw) {
			return true
		}
	}
	return false
}

// isFromAnotherSite reports whether a browser says that another site sent the request. Browsers without Fetch
// metadata name the origin, or "null" where a page's Referrer-Policy hides it.
func (v *Visit) isFromAnotherSite() bool {
	if from := v.r.Header.Get("Sec-Fetch-Site"); from != "" {
		return from != "same-origin" && from != "none"
	}
	from := v.r.Header.Get("Origin")
	return from != "" && from != "null" && gate.HostOf(from) != gate.HostOf(v.site.Origin)
}

func acceptsHTML(r *http.Request) bool {
	accepted := strings.ToLower(strings.Join(r.Header.Values("Accept"), ","))
	return strings.Contains(accepted, "text/html") || strings.Contains(accepted, "application/xhtml+xml") ||
		strings.Contains(accepted, "*/*") && r.Header.Get("Sec-Fetch-Mode") == "navigate"
}
