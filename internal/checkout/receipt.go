package checkout

import (
	"cmp"
	"errors"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/page"
	"github.com/caddy-axra/paywall/token"
)

// Links gives buyers private addresses, which open one page, file or feed each without a
// cookie: for download managers, feed readers and podcast players. Anyone who has such a
// link uses the purchase until it ends or is refunded.
type Links struct {
	// For is how long a link works, such as `1h` for downloads. The default is as
	// long as access lasts, as feeds need it; ten years are the most.
	For caddy.Duration `json:"for,omitempty"`
}

// ErrLinksSyntax says how links are written.
var ErrLinksSyntax = errors.New("links is written once, with a length of time up to ten years or without: " +
	"write `links 1h`, or `links` for as long as access lasts")

// Check reports whether links can last that long; the error names the fix.
func (l *Links) Check() error {
	if l != nil && (l.For < 0 || time.Duration(l.For) > token.LongestLife) {
		return ErrLinksSyntax
	}
	return nil
}

// PrivateAddress returns the private address to a target of the site.
func (f *Flow) PrivateAddress(site *gate.Site, known *access.Token, target string) (string, error) {
	life := cmp.Or(time.Duration(f.config.Links.For), token.LongestLife) // the ledger knows when access ends before that
	return f.services.Tokens.PrivateAddress(site, known.Access, target, f.services.Tokens.Clock.Now().Add(life))
}

// showReceipt shows what the visitor has bought and the ways to use it.
func (v *Visit) showReceipt(known *access.Token) error {
	if found := v.findPayments(known); found.paid != nil {
		return v.redeem(*found.paid) // an extension whose tab was closed
	}
	if chosen := v.openedBy(v.get(urlpath.ParamReceipt)); chosen != nil {
		known = chosen
	}
	details, err := v.services.Ledger.Details(v.r.Context(), known.Purchase)
	if err != nil {
		return v.showError(err)
	}
	view := page.View{
		Kind: page.Receipt, NextURL: v.target, Description: details.Product, Reference: ledger.Reference(details.ID),
		Price: pricesPaid(details.Payments),
		Purchase: page.Purchase{
			Bought: details.CreatedAt, Until: details.EndsAt, Forever: details.EndsAt.IsZero(),
			Downloads: details.DownloadsUsed, DownloadsLimit: details.DownloadLimit,
		},
	}
	if product := v.gate.Product(details.Product); product != nil && product.Config.Description != "" {
		view.Description = gate.Replace(v.r, product.Config.Description)
	}
	if view.Price == "" {
		view.Kind, view.Bought = page.Given, time.Time{}
	}
	if v.hasNoDownloadLeft(details.Purchase) {
		return v.showPage(view) // nothing is left for other devices or programs
	}
	if err := v.describeWays(&view, known, details); err != nil {
		return v.showError(err)
	}
	return v.showPage(view)
}

// describeWays adds the ways to use a purchase: for longer, on another device, and without cookies.
func (v *Visit) describeWays(view *page.View, known *access.Token, details ledger.Details) (err error) {
	if _, err := v.extendable(known); err == nil {
		if quote, err := v.gate.Product(known.Pass).Quote(v.r); err == nil {
			view.ExtendURL = urlpath.WithParams(v.target, urlpath.ParamCheckout, known.Pass, urlpath.ParamExtend, "1")
			view.ExtendFor = v.describePrice(quote)
		}
	}
	view.Devices, view.DevicesLimit = devicesInUse(details.Devices), details.DeviceLimit
	if view.Devices < view.DevicesLimit {
		view.DeviceUntil = v.now().Add(24 * time.Hour) // the receipt gives fresh ones
		if view.DeviceURL, err = DeviceLink(v.tokens, v.site, details.Purchase, v.target, view.DeviceUntil); err != nil {
			return err
		}
	}
	if links := v.config.Links; links != nil {
		view.LinkURL, err = v.flow.PrivateAddress(v.site, known, v.target)
		if links.For > 0 {
			view.LinkUntil = v.now().Add(time.Duration(links.For))
		}
	}
	return err
}

// pricesPaid lists what was paid, in the order of payment; empty if nothing was.
func pricesPaid(payments []ledger.Payment) string {
	var prices []string
	for _, payment := range payments {
		if payment.Source == ledger.FromAxra && !payment.Mismatch {
			prices = append(prices, payment.Paid.String())
		}
	}
	return strings.Join(prices, " + ")
}

// extendable returns the purchase of a token if what is on sale now gives it more time; errHasAccess if not.
func (v *Visit) extendable(known *access.Token) (ledger.Purchase, error) {
	bought, err := v.tokens.Cache.Of(v.r.Context(), known.Purchase)
	if err != nil {
		return ledger.Purchase{}, err
	}
	product := v.gate.Product(known.Pass)
	resource, err := product.Resource(v.r)
	switch {
	case err != nil || resource != bought.Resource || bought.StatusAt(v.now()) != ledger.Active,
		product.Config.Retired || product.Config.Downloads > 0,
		bought.EndsAt.IsZero() || bought.DownloadLimit > 0,
		bought.EndsAt.Add(product.Access.Length()).Year() > 9999: // which terms cannot say
		return ledger.Purchase{}, errHasAccess
	}
	return bought.Purchase, nil
}
