package paywall

import (
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/money"
	"github.com/caddy-axra/paywall/page"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/terms"
)

// offered is a pass on sale, as it is for one request.
type offered struct {
	*sale
	price       money.Price
	resource    string
	description string
}

// onSale lists what the gate sells for this request. A price or a key that is
// missing or wrong is an error for all of it: nothing is sold by guess.
func (v *visit) onSale() ([]offered, error) {
	found := make([]offered, 0, len(v.sales))
	for _, sale := range v.sales {
		if sale.Retired {
			continue
		}
		price, err := sale.priceFor(v.r)
		if err != nil {
			return nil, err
		}
		resource, err := sale.resource(v.r)
		if err != nil {
			return nil, err
		}
		found = append(found, offered{sale, price, resource, replaced(v.r, sale.Description)})
	}
	return found, nil
}

func (v *visit) misconfigured(err error) error {
	v.app.complainPrice.Do(func() {
		v.logger.Error("nothing can be sold here: mend the price or the key in the configuration",
			zap.String("path", v.r.URL.Path), zap.Error(err))
	})
	return v.showView(page.View{Kind: page.Misconfigured})
}

// canonicalAddress is the address under which a path is sold, nil if that is the one of the request.
func (v *visit) canonicalAddress() *url.URL {
	path := v.address.Path
	switch {
	case v.looksUpPaths:
		path = urlpath.File(path)
	case v.sellsPaths:
		path = urlpath.Clean(path)
	}
	if path == v.address.Path {
		path = v.pricierPath(path)
	}
	if path == v.address.Path {
		return nil
	}
	return urlpath.WithPath(v.address, path)
}

// pricierPath is the spelling of a folder's path under which something on sale costs more, else the path itself.
func (v *visit) pricierPath(path string) string {
	for _, sale := range v.sales {
		if pricier := sale.pricierPath(v.r); pricier != "" && !sale.Retired {
			return strings.TrimSuffix(path, v.r.URL.Path) + pricier
		}
	}
	return path
}

// redirectToCanonicalPath answers a request for another spelling of a path, before anything is sold.
func (v *visit) redirectToCanonicalPath() (done bool) {
	address := v.canonicalAddress()
	if address != nil {
		goTo(v.w, urlpath.FullTarget(address))
	}
	return address != nil
}

// mode says whether an open checkout of this browser is gone on with.
type mode bool

const (
	again mode = false
	anew  mode = true // the visitor has asked for a new one
)

// sell sends the browser to the checkout of the pass that it has chosen, or shows
// what there is to choose from.
func (v *visit) sell(how mode) error {
	if !v.mayStartCheckout() {
		return v.refuse()
	}
	if v.redirectToCanonicalPath() {
		return nil
	}
	offers, err := v.onSale()
	if err != nil {
		return v.misconfigured(err)
	}
	chosen := v.chosen(offers)
	switch {
	case len(offers) == 0:
		return v.showView(page.View{Kind: page.Required})
	case chosen == nil:
		v.countShown(offers...)
		return v.showOffers(offers, how)
	}
	if how == again {
		if entry := v.reusable(*chosen); entry != nil {
			countCheckout(outcomeReused)
			v.rememberReturnTo(*entry)
			return v.redirectToCheckout(*entry, *chosen)
		}
	}
	entry, refusal, err := v.start(*chosen)
	if err != nil {
		return err
	}
	if refusal != nil {
		return v.showView(*refusal)
	}
	return v.redirectToCheckout(entry, *chosen)
}

// redirectToCheckout sends the browser to its checkout.
func (v *visit) redirectToCheckout(entry session.Pending, chosen offered) error {
	if !v.params.Has(urlpath.ParamCheckout) && !v.params.Has(urlpath.ParamRestart) {
		v.countShown(chosen)
	}
	writeCheckoutRedirect(v.w, entry.CheckoutURL)
	return nil
}

// chosen is the offer that the address names, or the only one where no page is to
// be shown first.
func (v *visit) chosen(offers []offered) *offered {
	if v.params.Has(urlpath.ParamCheckout) {
		name := v.params.Get(urlpath.ParamCheckout)
		for i := range offers {
			if offers[i].pass == name || name == "" && len(offers) == 1 {
				return &offers[i]
			}
		}
		if name != "" {
			return nil // another than is on sale: nobody is charged by guess
		}
	}
	if v.choosing(offers) || len(offers) == 0 {
		return nil
	}
	return &offers[0]
}

// reusable is the checkout that this browser has open for the offer.
func (v *visit) reusable(o offered) *session.Pending {
	scope := session.Scope(v.site.origin, o.pass, o.resource)
	for i := range v.pending.here {
		entry := &v.pending.here[i]
		if entry.Scope == scope && entry.Price == o.price.String() && entry.Extends == v.extendedPurchase() && entry.Reusable(now()) {
			return entry
		}
	}
	return nil
}

// start opens a session at Axra. Where it does not, it says what to show instead.
func (v *visit) start(o offered) (session.Pending, *page.View, error) {
	none := session.Pending{}
	if len(v.target) > urlpath.MaxTarget {
		return none, &page.View{Kind: page.TooLong}, nil
	}
	if err := v.app.store.sells(v.app.bounds); err != nil {
		v.complainUnreadable(err)
		return none, &page.View{Kind: page.PaymentSafe, RetryAfter: 5 * time.Second}, nil
	}
	if err := v.app.client.Ready(); err != nil {
		return v.unavailable(err) // before it costs anybody's budget
	}
	if refusal := v.makeRoom(o); refusal != nil {
		return none, refusal, nil
	}
	if wait, ok := v.app.limiter.Allow(v.clientIP()); !ok {
		countCheckout(outcomeLimited)
		return none, &page.View{Kind: page.TooMany, NextURL: v.target, RetryAfter: min(wait, time.Hour)}, nil
	}
	opened, err := v.app.client.Create(v.r.Context(), v.order(o))
	if err != nil {
		return v.unavailable(err)
	}
	entry := session.Pending{
		Session: opened.Session, CheckoutURL: opened.URL, ExpiresAt: opened.ExpiresAt,
		Scope: session.Scope(v.site.origin, o.pass, o.resource), Price: o.price.String(),
		Extends: v.extendedPurchase(), Device: v.device,
	}
	if entry.Device == "" {
		entry.Device = newDeviceID()
	}
	if err := v.keepPending(v.w, v.site, entry); err != nil {
		// Without the cookie the payment could not be given to this browser.
		return v.unavailable(err)
	}
	countCheckout(outcomeCreated)
	countStep(o.pass, stepCheckout)
	v.logger.Debug("checkout session created", zap.String("session", shorten(opened.Session)), zap.String("pass", o.pass))
	return entry, nil, nil
}

func (v *visit) unavailable(err error) (session.Pending, *page.View, error) {
	if v.r.Context().Err() != nil {
		return session.Pending{}, nil, caddyhttp.Error(499, errors.New("axra_paywall: the visitor left"))
	}
	countCheckout(outcomeFailed)
	if errors.Is(err, session.ErrBusy) {
		countLimit(limitConcurrent)
	}
	v.app.complain(v.logger, "no checkout session could be created", zap.Error(err))
	return session.Pending{}, &page.View{Kind: page.Unavailable, NextURL: v.target, RetryAfter: session.RetryAfter(err)}, nil
}

// sessionPlaceholder is replaced by Axra in the success URL [payments/checkout-sessions].
const sessionPlaceholder = "{SESSION_ID}"

func (v *visit) order(o offered) session.Order {
	order := session.Order{
		Terms: terms.Terms{
			Installation: v.app.keyring.Installation(), Site: v.site.origin,
			Pass: o.pass, Resource: o.resource, Price: o.price, Access: o.access,
			Downloads: o.Downloads, Devices: o.Devices, Claim: v.Claim == claimFirst && !v.forProgram,
		},
		SuccessURL:    urlpath.ReturnURL(v.site.origin, v.target, urlpath.ParamSession, sessionPlaceholder),
		CancelURL:     urlpath.ReturnURL(v.site.origin, v.target, urlpath.ParamCancelled, "1"),
		Description:   v.describeOrder(o),
		CustomerEmail: replaced(v.r, v.CustomerEmail),
		ExpiresIn:     time.Duration(v.ExpiresIn),
		Metadata:      make(map[string]string, len(v.Metadata)),
	}
	if v.forProgram {
		order.SuccessURL += "&" + urlpath.ParamProgram + "=1"
	}
	if v.extends != nil {
		order.Terms.Extends, order.Terms.From = v.extends.ID, v.extends.EndsAt.UTC().Truncate(time.Second)
	}
	if own := replaced(v.r, v.CancelURL); own != "" {
		order.CancelURL = own
		if strings.HasPrefix(own, "/") {
			order.CancelURL = v.site.origin + urlpath.Local(own)
		}
	}
	for name, value := range v.Metadata {
		order.Metadata[name] = replaced(v.r, value)
	}
	return order
}

// describeOrder is what the checkout page says is sold: without words of the owner's,
// where and for how long.
func (v *visit) describeOrder(o offered) string {
	if o.description != "" {
		return o.description
	}
	return v.site.host() + " · " + page.AccessInWords(v.r.Header.Get("Accept-Language"), o.access.Length())
}
