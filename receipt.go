package paywall

import (
	"errors"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/page"
)

// receipt shows what the visitor has bought and the ways to use it.
func (v *visit) receipt(known *verified) error {
	v.pending.without(known)
	if paid, grant := v.lookUp(); paid != nil {
		return v.redeem(*paid, grant) // an extension whose tab was closed
	}
	if chosen := v.openBy(v.params.Get(paramReceipt)); chosen != nil {
		known = chosen
	}
	grant, err := v.app.grants.of(v.r.Context(), known.Session)
	if err != nil {
		return v.unreadable(err)
	}
	view := page.View{
		Kind: page.Receipt, NextURL: v.target, Description: v.describe(grant.Terms.Pass),
		Bought: grant.At, Until: grant.Until, Forever: grant.Until.IsZero(),
	}
	if ledger.IsGiven(grant.Session) {
		view.Kind, view.Bought = page.Given, time.Time{}
	}
	err = errors.Join(v.tellPayments(&view, grant), v.tellDownloads(&view, grant))
	if err != nil {
		return v.unreadable(err)
	}
	if view.DownloadsLimit > 0 && view.Downloads >= view.DownloadsLimit {
		return v.showView(view) // no other device gets more, and no program
	}
	if err := v.tellDevices(&view, grant); err != nil {
		return v.unreadable(err)
	}
	v.tellExtension(&view, known)
	v.tellLink(&view, known)
	return v.showView(view)
}

// tellPayments says what has been paid, and by which names the site's owner finds it.
func (v *visit) tellPayments(view *page.View, grant ledger.Grant) error {
	parts, err := v.app.ledger.Parts(v.r.Context(), grant.Session)
	if err != nil {
		return err
	}
	prices, sessions := make([]string, 0, len(parts)), make([]string, 0, len(parts))
	for _, part := range parts {
		sessions = append(sessions, part.Session)
		if part.Kind == ledger.Paid { // and not given
			prices = append(prices, part.Paid.String())
		}
	}
	view.Price, view.Reference = strings.Join(prices, " + "), strings.Join(sessions, ", ")
	return nil
}

// tellExtension offers more time.
func (v *visit) tellExtension(view *page.View, known *verified) {
	extendable, err := v.extendable(known)
	if err != nil || extendable == nil {
		return
	}
	sale := v.saleOf(known.Pass)
	price, err := sale.priceFor(v.r)
	if err != nil {
		return
	}
	view.ExtendURL = withParams(v.target, paramCheckout, known.Pass, paramExtend, "1")
	view.ExtendFor = price.String() + " · " + page.AccessInWords(v.r.Header.Get("Accept-Language"), sale.access.Length())
}

// tellLink shows the private address of the page.
func (v *visit) tellLink(view *page.View, known *verified) {
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
func (v *visit) openBy(pass string) *verified {
	if verdict, known := v.decide(v.r, v.site, []string{pass}); verdict == open && known.link == "" {
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

func (v *visit) tellDevices(view *page.View, grant ledger.Grant) error {
	used, err := v.devicesUsed(grant)
	if err != nil {
		return err
	}
	view.Devices, view.DevicesLimit = used, devicesOf(grant.Terms)
	if used < view.DevicesLimit {
		view.DeviceURL, err = v.app.deviceAddress(v.site, grant, v.target, now().Add(deviceLife))
		view.DeviceUntil = now().Add(deviceLife)
	}
	return err
}

func (v *visit) tellDownloads(view *page.View, grant ledger.Grant) (err error) {
	if view.DownloadsLimit = grant.Terms.Downloads; view.DownloadsLimit > 0 {
		view.Downloads, err = v.app.ledger.Taken(v.r.Context(), ledger.Fetch, grant.Session, view.DownloadsLimit)
	}
	return err
}
