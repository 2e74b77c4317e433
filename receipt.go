package paywall

import (
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/page"
	"github.com/caddy-axra/paywall/session"
)

// receipt shows what the visitor has bought and the ways to use it.
func (v *visit) receipt(known *access.Token) error {
	v.pending.without(known)
	if paid, purchase := v.lookUp(); paid != nil {
		return v.redeem(*paid, purchase) // an extension whose tab was closed
	}
	if chosen := v.openBy(v.params.Get(urlpath.ParamReceipt)); chosen != nil {
		known = chosen
	}
	bought, err := v.app.ledger.Details(v.r.Context(), known.Purchase)
	if err != nil {
		return v.unreadable(err)
	}
	view := page.View{
		Kind: page.Receipt, NextURL: v.target, Description: v.describe(bought.Product), Reference: reference(bought.ID),
		Price: pricesOf(bought.Payments),
		Purchase: page.Purchase{
			Bought: bought.CreatedAt, Until: bought.EndsAt, Forever: bought.EndsAt.IsZero(),
			Downloads: bought.DownloadsUsed, DownloadsLimit: bought.DownloadLimit,
		},
	}
	if view.Price == "" {
		view.Kind, view.Bought = page.Given, time.Time{}
	}
	if view.DownloadsLimit > 0 && view.Downloads >= view.DownloadsLimit && !now().Before(bought.DownloadWindowEndsAt) {
		return v.showView(view) // no other device gets more, and no program
	}
	if err := v.tellDevices(&view, bought); err != nil {
		return v.unreadable(err)
	}
	v.tellExtension(&view, known)
	v.tellLink(&view, known)
	return v.showView(view)
}

// pricesOf is what was paid, in the order of payment; "" where nothing was.
func pricesOf(payments []ledger.Payment) string {
	prices := make([]string, 0, len(payments))
	for _, payment := range payments {
		if payment.Source == ledger.FromAxra && !payment.Mismatch {
			prices = append(prices, payment.Paid.String())
		}
	}
	return strings.Join(prices, " + ")
}

// tellExtension offers more time.
func (v *visit) tellExtension(view *page.View, known *access.Token) {
	extendable, err := v.extendable(known)
	if err != nil || extendable == nil {
		return
	}
	sale := v.saleOf(known.Pass)
	price, err := sale.priceFor(v.r)
	if err != nil {
		return
	}
	view.ExtendURL = urlpath.WithParams(v.target, urlpath.ParamCheckout, known.Pass, urlpath.ParamExtend, "1")
	view.ExtendFor = price.String() + " · " + page.AccessInWords(v.r.Header.Get("Accept-Language"), sale.access.Length())
}

// tellLink shows the private address of the page.
func (v *visit) tellLink(view *page.View, known *access.Token) {
	if v.Links == nil {
		return
	}
	address, err := v.linkAddress(v.site, known, v.target)
	if err != nil {
		v.app.complain(v.logger, "a private address could not be signed", zap.Error(err))
		return
	}
	view.LinkURL = address
	if v.Links.For > 0 {
		view.LinkUntil = now().Add(time.Duration(v.Links.For))
	}
}

// openBy is the token that opens the gate by a pass, nil if there is none.
func (v *visit) openBy(pass string) *access.Token {
	if verdict, known := v.decide(v.r, v.site, []string{pass}); verdict == access.Open && known.Link == "" {
		return known
	}
	return nil
}

func (v *visit) describe(pass string) string {
	if sale := v.saleOf(pass); sale != nil && sale.Description != "" {
		return replaced(v.r, sale.Description)
	}
	return pass
}

func (v *visit) tellDevices(view *page.View, bought ledger.Details) (err error) {
	inUse := 0
	for _, device := range bought.Devices {
		if device.RemovedAt.IsZero() {
			inUse++
		}
	}
	view.Devices, view.DevicesLimit = inUse, bought.DeviceLimit
	if inUse < view.DevicesLimit {
		view.DeviceURL, err = v.app.deviceAddress(v.site, bought.Purchase, v.target, now().Add(deviceLife))
		view.DeviceUntil = now().Add(deviceLife)
	}
	return err
}

// referenceDigits is how much of a purchase's id people see. caddy axra show takes it.
const referenceDigits = 10

// reference names a purchase to people.
func reference(purchaseID string) string { return purchaseID[:min(referenceDigits, len(purchaseID))] }

// referenceOf names the purchase that a checkout makes, once it is paid. The session's id itself is a credential.
func referenceOf(entry session.Pending) string {
	if entry.Extends != "" {
		return reference(entry.Extends)
	}
	return reference(ledger.PurchaseID(entry.Session))
}
