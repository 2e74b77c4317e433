package checkout

import (
	"cmp"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/response"
	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/page"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/token"
)

// HandleParams answers what the gate's parameters in the address ask for, if that does not depend on what was paid.
func (v *Visit) HandleParams(decision access.Decision, entry *access.Token) (done bool, err error) {
	isPost, isGet := v.r.Method == http.MethodPost, v.r.Method == http.MethodGet
	switch {
	case isPost && v.has(urlpath.ParamDeviceID):
		return true, v.handleDeviceForm()
	case isPost && !acceptsHTML(v.r) && v.has(urlpath.ParamCheckout): // a person's form is handled as a navigation is
		return true, v.startForProgram()
	case isGet && v.has(urlpath.ParamStatus):
		return true, v.writeStatus()
	case v.isPoll():
		return true, v.answerPoll()
	case decision == access.Open && entry.Link == "" && len(v.params) > 0 && v.isPageRequest():
		return true, v.handleReturn(entry) // a private address stays as it is, in a browser too
	}
	return false, nil
}

// handleReturn responds to a visitor who has access and comes with the gate's parameters: back from a checkout, or
// reloaded. The address bar gets the clean address, unless something more was bought, or is to be.
func (v *Visit) handleReturn(entry *access.Token) error {
	pending := v.readPending()
	if returned := v.returnedTo(pending.here); returned != nil {
		pending.here = []session.Pending{*returned}
		return v.handleLookup(v.lookUp(pending))
	}
	var extended *access.Token
	if v.has(urlpath.ParamExtend) {
		extended = v.openedBy(v.get(urlpath.ParamCheckout))
	}
	link := v.deviceLink()
	switch {
	case v.has(urlpath.ParamReceipt):
		return v.showReceipt(entry)
	case v.has(urlpath.ParamDevice) && link.Purchase != "" && link.Purchase != entry.Purchase:
		return v.askDevice()
	case extended == nil && !v.wantsMore(entry):
		return v.redirectToTarget()
	}
	req := checkoutRequest{found: v.findPayments(entry), restart: v.restarts()}
	if done, err := v.resolvePending(req); done {
		return err
	}
	if extended != nil {
		purchase, err := v.extendable(extended)
		if err != nil {
			return v.showError(err)
		} else if purchase == nil {
			return v.redirectToTarget()
		}
		req.extends, req.device = purchase, extended.Device
	}
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

// resolvePending redeems what has been paid, or waits for a payment that is on its way. Nothing more is sold before.
func (v *Visit) resolvePending(req checkoutRequest) (done bool, err error) {
	found := req.found
	switch {
	case req.forProgram && (found.paid != nil || found.err == nil && found.expected != nil):
		return true, v.problem(http.StatusConflict,
			"This has been paid for, or a payment is on its way. Ask statusUrl for the access token. Nothing was charged now.")
	case found.paid != nil:
		return true, v.redeem(*found.paid)
	case found.err != nil:
		return true, v.showError(found.err)
	case found.expected != nil && !v.restarts():
		return true, v.showWaiting(*found.expected)
	}
	return false, nil
}

// redeem gives the browser its access token and redirects it to the page.
func (v *Visit) redeem(paid paidCheckout) error {
	entry, purchase := paid.entry, paid.purchase
	issued := v.accessOf(purchase, entry.Device)
	if entry.Session == "" {
		return v.admit(issued)
	}
	err := ledger.ErrNoneLeft
	if v.config.Takeover { // what the browser that paid has taken is not taken over
		err = v.services.Ledger.Claim(v.r.Context(), purchase.ID, v.device(entry.Device))
	}
	if errors.Is(err, ledger.ErrNoneLeft) {
		err = v.addDevice(purchase.ID, entry.Device)
	}
	if err := v.deviceError(err, purchase, v.closedPage(ledger.Active, purchase.ID)); err != nil {
		return v.showError(err)
	}
	if known := v.openedBy(issued.Pass); known != nil && known.EndsAfter(issued) {
		_ = v.keepPending(entry.Keep(purchase.EndsAt, v.now())) // in case the other purchase is refunded
	} else if err := v.tokens.Give(v.w, v.r, v.site, issued); err != nil {
		return v.showError(err)
	} else {
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

// accessOf returns what the token of a purchase says on a device.
func (v *Visit) accessOf(purchase ledger.Holding, deviceID string) token.Access {
	return token.Access{
		Site: v.site.Origin, Pass: purchase.Product, Resource: purchase.Resource,
		Purchase: purchase.ID, Until: purchase.EndsAt, Downloads: purchase.DownloadLimit, Device: deviceID,
	}
}

// admit gives the browser an access token and redirects it to the page.
func (v *Visit) admit(issued token.Access) error {
	if err := v.tokens.Give(v.w, v.r, v.site, issued); err != nil {
		return v.showError(err)
	}
	return v.redirectToTarget()
}

// openedBy returns the token of a product that opens the gate; nil if there is none.
func (v *Visit) openedBy(product string) *access.Token {
	if decision, entry := v.gate.FindToken(v.r, v.site, product); decision == access.Open && entry.Link == "" {
		return entry
	}
	return nil
}

// showWaiting shows a page that looks again by itself for about five minutes, before it leaves that to the visitor.
func (v *Visit) showWaiting(entry session.Pending) error {
	view := page.View{Kind: page.StillWaiting, NextURL: v.restartURL(), Reference: purchaseReference(entry)}
	progress := v.services.Progress(entry)
	if progress == Failed {
		view.Kind = page.Failed
		return v.showPage(view)
	}
	view.CheckURL = urlpath.WithParams(v.target, urlpath.ParamSession, entry.Session)
	try, _ := strconv.Atoi(v.get(urlpath.ParamTry))
	if try >= 0 && try < 30 {
		view.Kind = page.Waiting
		if progress == Processing {
			view.Kind = page.Processing
		}
		// With JavaScript one page lasts through all its polls; the last reload ends it.
		view.Refresh, view.PollURL = time.Duration(2+try/2)*time.Second, view.CheckURL
		view.CheckURL = urlpath.WithParams(view.CheckURL, urlpath.ParamTry, strconv.Itoa(try+1))
	}
	return v.showPage(view)
}

// purchaseReference names the purchase that a checkout makes once it is paid. The session's id itself is a credential.
func purchaseReference(entry session.Pending) string {
	return ledger.Reference(cmp.Or(entry.Extends, ledger.PurchaseID(entry.Session)))
}

// IsForAnotherGate reports whether the gate's parameters in the address name a product or a checkout that is not this
// gate's: a request that two gates cover needs both, and each sells by itself. Programs send one token, so they buy
// nothing behind another gate.
func (v *Visit) IsForAnotherGate(entry *access.Token) bool {
	product, id := cmp.Or(v.get(urlpath.ParamCheckout), v.get(urlpath.ParamReceipt), v.deviceLink().Pass), v.get(urlpath.ParamSession)
	switch {
	case !acceptsHTML(v.r) && !v.isPoll():
		return false
	case product != "":
		return v.gate.Product(product) == nil
	case id != "":
		isOwn := v.returnedTo(v.readPending().here) != nil
		v.gate.EachToken(v.r, v.site, v.now(), func(entry *access.Token) bool {
			isOwn = isOwn || entry.Purchase == ledger.PurchaseID(id)
			return !isOwn
		})
		return !isOwn
	case v.has(urlpath.ParamCancelled):
		return len(v.readPending().here) == 0
	}
	return v.has(urlpath.ParamRestart) && !v.isUsedUp(entry)
}
