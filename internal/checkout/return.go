package checkout

import (
	"cmp"
	"errors"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/response"
	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/page"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/token"
)

// IsReturn reports whether a browser comes with the parameters of a return from a checkout.
func IsReturn(r *http.Request) bool {
	return len(urlpath.Params(gate.OriginalURL(r).RawQuery)) > 0 && isPageRequest(r)
}

// HandleReturn responds to a visitor who has access and comes with the gate's parameters: back from a checkout, or
// reloaded. The address bar gets the clean address, unless something more was bought, or is to be.
func (v *Visit) HandleReturn(entry *access.Token) error {
	pending := v.readPending()
	if returned := v.returnedTo(pending.here); returned != nil {
		return v.handleLookup(pending, v.lookUp([]session.Pending{*returned}))
	}
	var extended *access.Token
	if v.has(urlpath.ParamExtend) {
		extended = v.openedBy(v.get(urlpath.ParamCheckout))
	}
	req := checkoutRequest{pending: pending, restart: v.restarts()}
	switch {
	case v.has(urlpath.ParamReceipt):
		return v.showReceipt(entry, pending)
	case v.has(urlpath.ParamDevice) && v.isOfAnother(entry):
		return v.askDevice()
	case extended != nil:
		purchase, err := v.extendable(extended)
		switch {
		case err != nil:
			return v.showError(err)
		case purchase == nil:
			return v.redirectToTarget()
		}
		req.extends, req.device = purchase, extended.Device
	case !v.wantsMore(entry):
		return v.redirectToTarget()
	}
	unpaid, done, err := v.resolvePending(entry, pending)
	if done {
		return err
	}
	req.unpaid = unpaid
	return v.sell(req)
}

// wantsMore reports whether a visitor who has access asks for another product, or to buy again what is used up.
func (v *Visit) wantsMore(entry *access.Token) bool {
	if name := v.get(urlpath.ParamCheckout); name != "" && name != entry.Pass {
		decision, _ := v.gate.FindToken(v.r, v.site, name)
		return decision == access.None || decision == access.Closed
	}
	return (v.restarts() || v.has(urlpath.ParamCheckout)) && v.isUsedUp(entry)
}

// resolvePending gives a visitor, before anything more is sold, what has been paid beside the purchase of the token, or
// waits for a payment that is on its way. It returns the checkouts that are still unpaid.
func (v *Visit) resolvePending(entry *access.Token, pending pendingCookies) (unpaid []session.Pending, done bool, err error) {
	found := v.lookUp(without(pending.here, entry))
	expected := v.expectedPayment(found.unpaid)
	switch {
	case found.paid != nil:
		return nil, true, v.redeem(*found.paid)
	case found.err != nil:
		return nil, true, v.showError(found.err)
	case expected != nil && !v.restarts():
		return nil, true, v.showWaiting(*expected)
	}
	return found.unpaid, false, nil
}

// redeem gives the browser its access token and redirects it to the page.
func (v *Visit) redeem(paid paidCheckout) error {
	entry, purchase := paid.entry, paid.purchase
	if err := v.takeDevice(purchase, entry.Device); err != nil {
		return v.showError(err)
	}
	issued := v.accessOf(purchase, entry.Device)
	if known := v.openedBy(issued.Pass); known != nil && known.EndsAfter(issued) {
		v.renewPending(entry.Keep(purchase.EndsAt, v.now())) // in case the other purchase is refunded
	} else {
		if err := v.give(issued); err != nil {
			return v.showSafe()
		}
		v.dropPending(entry)
	}
	v.services.Metrics.CountUsed(purchase.ID, issued.Pass)
	target := v.target
	if v.config.Receipt || v.has(urlpath.ParamReceipt) {
		target = urlpath.WithParams(target, urlpath.ParamReceipt, issued.Pass)
	}
	response.Redirect(v.w, target)
	return nil
}

// takeDevice makes the browser, or program, that paid one of the devices of a purchase.
func (v *Visit) takeDevice(purchase ledger.Holding, deviceID string) error {
	err := ledger.ErrNoneLeft
	if v.config.Takeover { // what the browser that paid has taken is not taken over
		err = v.claim(purchase.ID, deviceID)
	}
	if errors.Is(err, ledger.ErrNoneLeft) {
		err = v.addDevice(purchase.ID, deviceID)
	}
	return v.deviceError(err, purchase, v.closedPage(ledger.Active, purchase.ID))
}

// accessOf returns what the token of a purchase says on a device.
func (v *Visit) accessOf(purchase ledger.Holding, deviceID string) token.Access {
	return token.Access{
		Site: v.site.Origin, Pass: purchase.Product, Resource: purchase.Resource,
		Purchase: purchase.ID, Until: purchase.EndsAt, Downloads: purchase.DownloadLimit, Device: deviceID,
	}
}

// give sets the cookie with an access token.
func (v *Visit) give(issued token.Access) error {
	err := v.tokens.Give(v.w, v.r, v.site, issued)
	if err != nil {
		v.services.LogLimited("an access token could not be signed", zap.Error(err))
	}
	return err
}

// openedBy returns the token of a product that opens the gate; nil if there is none.
func (v *Visit) openedBy(product string) *access.Token {
	if decision, entry := v.gate.FindToken(v.r, v.site, product); decision == access.Open && entry.Link == "" {
		return entry
	}
	return nil
}

// handleReturned responds at the success URL of a checkout that this browser started, while no payment is known.
func (v *Visit) handleReturned(entry session.Pending) error {
	if entry.State != session.Returned {
		entry = v.markPending(entry, session.Returned)
	}
	return v.showWaiting(entry)
}

// handleForeignReturn responds at the success URL of all other checkouts, whatever their ids look like.
func (v *Visit) handleForeignReturn() error {
	switch {
	case v.has(urlpath.ParamProgram):
		return v.showPage(page.View{Kind: page.ForProgram})
	case v.config.Takeover:
		return v.askTakeover()
	}
	return v.showPage(page.View{Kind: page.NotYours, NextURL: v.target})
}

// handleCancelled responds at the cancel URL. The browser is not sent to the checkouts under way again, but they are still
// looked up: the visitor may have paid after all.
func (v *Visit) handleCancelled(unpaid []session.Pending) error {
	kind := page.Cancelled
	for _, entry := range unpaid {
		if entry.State != session.Started {
			continue
		}
		if v.now().After(entry.ExpiresAt) {
			kind = page.Expired
		}
		v.markPending(entry, session.Cancelled)
	}
	return v.showPage(page.View{Kind: kind, NextURL: v.target})
}

// refreshes says how often the waiting page looks again by itself, before it leaves that to the visitor.
var refreshes = []struct {
	tries int
	every time.Duration
}{{5, 2 * time.Second}, {15, 5 * time.Second}, {30, 15 * time.Second}}

func (v *Visit) showWaiting(entry session.Pending) error {
	try, _ := strconv.Atoi(v.get(urlpath.ParamTry))
	view := page.View{
		Kind:     page.StillWaiting,
		CheckURL: urlpath.WithParams(v.target, urlpath.ParamSession, entry.Session),
		NextURL:  v.restartURL(), Reference: purchaseReference(entry),
	}
	progress := v.services.Progress(entry)
	if progress == Failed {
		view.Kind, view.CheckURL = page.Failed, ""
		return v.showPage(view)
	}
	for _, stage := range refreshes {
		if try < 0 || try >= stage.tries {
			continue
		}
		view.Kind = page.Waiting
		if progress == Processing {
			view.Kind = page.Processing
		}
		// With JavaScript one page lasts through all its polls; the last reload ends it.
		view.Refresh, view.PollURL = stage.every, view.CheckURL
		view.CheckURL = urlpath.WithParams(v.target, urlpath.ParamSession, entry.Session, urlpath.ParamTry, strconv.Itoa(try+1))
		break
	}
	return v.showPage(view)
}

// purchaseReference names the purchase that a checkout makes once it is paid. The session's id itself is a credential.
func purchaseReference(entry session.Pending) string {
	if entry.Extends != "" {
		return ledger.Reference(entry.Extends)
	}
	return ledger.Reference(ledger.PurchaseID(entry.Session))
}

// IsForAnotherGate reports whether the gate's parameters in the address name a product or a checkout that is not this
// gate's: a request that two gates cover needs both, and each sells by itself. Programs send one token, so they buy
// nothing behind another gate.
func (v *Visit) IsForAnotherGate(entry *access.Token) bool {
	if !acceptsHTML(v.r) && !IsPoll(v.r) {
		return false
	}
	product, id := cmp.Or(v.get(urlpath.ParamCheckout), v.get(urlpath.ParamReceipt), v.deviceLink().Pass), v.get(urlpath.ParamSession)
	switch {
	case product != "":
		return v.gate.Product(product) == nil
	case v.has(urlpath.ParamDevice):
		return false
	case id != "":
		return v.returnedTo(v.readPending().here) == nil && !v.hasTokenOf(id)
	case v.has(urlpath.ParamCancelled):
		return len(v.readPending().here) == 0
	case v.has(urlpath.ParamRestart):
		return !v.isUsedUp(entry)
	}
	return false
}

// hasTokenOf reports whether the browser has an access token of this gate for a checkout session.
func (v *Visit) hasTokenOf(sessionID string) bool {
	found := false
	v.gate.EachToken(v.r, v.site, v.now(), func(entry *access.Token) bool {
		found = entry.Purchase == ledger.PurchaseID(sessionID)
		return !found
	})
	return found
}
