package checkout

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/payments"
	"github.com/caddy-axra/paywall/internal/response"
	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/page"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/token"
)

// HandleParams answers what the gate's parameters in the address ask for, if that does not depend on what was paid. The
// token is the one that says most about the decision; nil if there is none.
func (v *Visit) HandleParams(decision access.Decision, known *access.Token) (done bool, err error) {
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
	case decision == access.Open && known.Link == "" && len(v.params) > 0 && v.isPageRequest():
		return true, v.handleReturn(known) // a private address stays as it is, in a browser too
	}
	return false, nil
}

// IsForAnotherGate reports whether the gate's parameters in the address name a product or a checkout that is not this
// gate's: a request that two gates cover needs both, and each sells by itself. Programs send one token, so they buy
// nothing behind another gate.
func (v *Visit) IsForAnotherGate(known *access.Token) bool {
	product, id := cmp.Or(v.get(urlpath.ParamCheckout), v.get(urlpath.ParamReceipt), v.deviceLink().Pass), v.get(urlpath.ParamSession)
	switch {
	case !acceptsHTML(v.r) && !v.isPoll():
		return false
	case product != "":
		return v.gate.Product(product) == nil
	case id != "":
		return known.Purchase != ledger.PurchaseID(id) && v.returnedTo(v.readPending().here) == nil
	case v.has(urlpath.ParamCancelled):
		return len(v.readPending().here) == 0
	}
	return v.has(urlpath.ParamRestart) && !v.isUsedUp(known)
}

// handleReturn responds to a visitor who has access and comes with the gate's parameters: back from a checkout, or
// reloaded. The address bar gets the clean address, unless something more was bought, or is to be.
func (v *Visit) handleReturn(known *access.Token) error {
	if returned := v.returnedTo(v.readPending().here); returned != nil && ledger.PurchaseID(returned.Session) != known.Purchase {
		return v.handleLookup(v.findPayments(known))
	}
	extends := v.has(urlpath.ParamExtend) && v.openedBy(v.get(urlpath.ParamCheckout)) != nil
	linked := v.deviceLink().Purchase
	switch {
	case v.has(urlpath.ParamReceipt):
		return v.showReceipt(known)
	case linked != "" && linked != known.Purchase:
		return v.askDevice()
	case !extends && !v.wantsMore(known):
		return v.redirectToTarget()
	}
	found := v.findPayments(known)
	if done, err := v.resolvePending(found); done {
		return err
	}
	return v.sell(found)
}

// wantsMore reports whether a visitor who has access asks for another product, or to buy again what is used up.
func (v *Visit) wantsMore(known *access.Token) bool {
	if name := v.get(urlpath.ParamCheckout); name != "" && name != known.Pass {
		decision, _ := v.gate.FindToken(v.r, v.site, name)
		return decision == access.None || decision == access.Closed
	}
	return (v.restarts() || v.has(urlpath.ParamCheckout)) && v.isUsedUp(known)
}

// HandleUnpaid handles a request whose tokens do not open the gate. The token is the one that says most about why not;
// nil if there is none.
func (v *Visit) HandleUnpaid(decision access.Decision, known *access.Token) error {
	isPage := v.isPageRequest()
	switch {
	case decision == access.Unknown && (!isPage || !v.has(urlpath.ParamDevice)):
		return v.showSafe() // but a device link may let them in: the operator gives one to buyers who lost access
	case !isPage && (v.r.Method != http.MethodGet || !v.has(urlpath.ParamSession) || v.returnedTo(v.readPending().here) == nil):
		return v.sell(lookup{})
	case v.has(urlpath.ParamDevice):
		return v.askDevice()
	case decision != access.Closed:
		return v.handleLookup(v.findPayments(nil))
	}
	status := known.Status(v.now())
	if status == ledger.Active && known.Device != "" && v.addDevice(known.Purchase, known.Device) == nil {
		// The device was missing after a backup was restored, or a webhook replayed. One that was removed stays removed.
		return v.redirectToTarget()
	}
	found := v.findPayments(nil)
	found.closed = cmp.Or(found.closed, new(v.closedPage(status, known.Purchase)))
	return v.handleLookup(found)
}

// handleLookup gives visitors what they have paid for, or decides what they see who have not.
func (v *Visit) handleLookup(found lookup) error {
	if returned := v.returnedTo(found.unpaid); returned != nil && !v.restarts() {
		if found.expected = returned; returned.State != session.Returned {
			returned.State, returned.ReturnedAt = session.Returned, v.now().Truncate(time.Millisecond)
			_ = v.keepPending(*returned) // without its new state the visitor loses little
		}
	}
	if done, err := v.resolvePending(found); done {
		return err
	}
	switch {
	case v.comesByOtherAddress():
		response.Redirect(v.w, v.site.Origin+urlpath.WithParams(urlpath.FullTarget(v.address), urlpath.ParamHere, "1"))
		return nil
	case v.restarts():
		return v.sell(found)
	case found.closed != nil: // only without a payment on its way: a visitor who has just bought again waits for that
		return v.showPage(*found.closed)
	case v.has(urlpath.ParamSession) && v.has(urlpath.ParamProgram):
		return v.showPage(page.View{Kind: page.ForProgram})
	case v.has(urlpath.ParamSession):
		return v.askClaim()
	case v.has(urlpath.ParamCancelled):
		return v.handleCancelled(found.unpaid)
	case v.has(urlpath.ParamLink):
		return v.showPage(page.View{Kind: page.LinkEnded, NextURL: v.target})
	case v.mayStartCheckout() && !v.has(urlpath.ParamCheckout):
		if done, err := v.servePreview(); done {
			return err
		}
	}
	return v.sell(found)
}

// resolvePending redeems what has been paid, or waits for a payment that is on its way. Nothing more is sold before.
func (v *Visit) resolvePending(found lookup) (done bool, err error) {
	switch {
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
	pending, purchase := paid.pending, paid.purchase
	issued := v.accessOf(purchase, pending.Device)
	if pending.Session == "" {
		return v.admit(issued)
	}
	err := ledger.ErrNoneLeft
	if v.config.Claim { // what the browser that paid has taken is not taken over
		err = v.services.Ledger.Claim(v.r.Context(), purchase.ID, v.device(pending.Device))
	}
	if errors.Is(err, ledger.ErrNoneLeft) {
		err = v.addDevice(purchase.ID, pending.Device)
	}
	if err := v.deviceError(err, purchase); err != nil {
		return v.showError(err)
	}
	if known := v.openedBy(issued.Pass); known != nil && known.EndsAfter(issued) {
		_ = v.keepPending(pending.Keep(purchase.EndsAt, v.now())) // in case the other purchase is refunded
	} else if err := v.tokens.Give(v.w, v.r, v.site, issued); err != nil {
		return v.showError(err)
	} else {
		v.dropPending(pending)
	}
	v.services.Metrics.CountUsed(purchase.ID, issued.Pass)
	if !v.config.Receipt && !v.has(urlpath.ParamReceipt) {
		return v.redirectToTarget()
	}
	response.Redirect(v.w, urlpath.WithParams(v.target, urlpath.ParamReceipt, issued.Pass))
	return nil
}

// accessOf returns what the token of a purchase says on a device.
func (v *Visit) accessOf(purchase ledger.Purchase, deviceID string) token.Access {
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
	if decision, known := v.gate.FindToken(v.r, v.site, product); decision == access.Open && known.Link == "" {
		return known
	}
	return nil
}

// showWaiting shows a page that looks again by itself for about five minutes, before it leaves that to the visitor.
func (v *Visit) showWaiting(pending session.Pending) error {
	// The session's id itself is a credential, so the page names the purchase that the checkout makes once it is paid.
	reference := ledger.Reference(cmp.Or(pending.Extends, ledger.PurchaseID(pending.Session)))
	view := page.View{Kind: page.StillWaiting, NextURL: v.restartURL(), Reference: reference}
	stage := v.services.Progress(pending)
	if stage == payments.Failed {
		view.Kind = page.Failed
		return v.showPage(view)
	}
	view.CheckURL = urlpath.WithParams(v.target, urlpath.ParamSession, pending.Session)
	try, _ := strconv.Atoi(v.get(urlpath.ParamTry))
	if try >= 0 && try < 30 {
		view.Kind = page.Waiting
		if stage == payments.Processing {
			view.Kind = page.Processing
		}
		// With JavaScript one page lasts through all its polls; the last reload ends it.
		view.Refresh, view.PollURL = time.Duration(2+try/2)*time.Second, view.CheckURL
		view.CheckURL = urlpath.WithParams(view.CheckURL, urlpath.ParamTry, strconv.Itoa(try+1))
	}
	return v.showPage(view)
}

// handleCancelled responds at the cancel URL. The browser is not sent to the checkouts under way again, but they are still
// looked up: the visitor may have paid after all.
func (v *Visit) handleCancelled(unpaid []session.Pending) error {
	kind := page.Cancelled
	for _, pending := range unpaid {
		if pending.State != session.Started {
			continue
		}
		if v.now().After(pending.ExpiresAt) {
			kind = page.Expired
		}
		pending.State, pending.CheckoutURL = session.Cancelled, ""
		pending.ExpiresAt = v.now() // the cookie budget forgets it first
		_ = v.keepPending(pending)
	}
	return v.showPage(page.View{Kind: kind, NextURL: v.target})
}

// restarts reports whether the visitor asks for a new checkout. Another site cannot.
func (v *Visit) restarts() bool {
	return v.has(urlpath.ParamRestart) && v.r.Header.Get("Sec-Fetch-Site") != "cross-site"
}

// comesByOtherAddress reports whether the browser uses an address of the site to which it would not return the cookies:
// another host name, or plain http. Before it pays, it is redirected to the site's own address, once. Behind a proxy
// that rewrites the host, the two look the same.
func (v *Visit) comesByOtherAddress() bool {
	hasGateCookie := slices.ContainsFunc(v.r.Cookies(), func(c *http.Cookie) bool { return strings.Contains(c.Name, gate.CookieMark) })
	if hasGateCookie || v.has(urlpath.ParamHere) || v.has(urlpath.ParamSession) || v.has(urlpath.ParamCancelled) {
		return false // it has been here, and its cookies come back
	}
	if v.site.Secure && v.r.TLS == nil {
		return v.gate.SiteURL == "" && v.gate.AppURL == ""
	}
	host, server := gate.HostOf(v.r.Host), gate.ServerOf(v.r)
	if v.gate.SiteURL == "" || server == nil || host == gate.HostOf(v.gate.SiteURL) {
		return false
	}
	return slices.Contains(slices.Concat(v.gate.HostsOn(server)...), host)
}

// closedPage explains why a purchase opens nothing any more, or nothing on this device.
func (v *Visit) closedPage(status ledger.Status, purchaseID string) page.View {
	view := page.View{Kind: page.Refunded, NextURL: v.restartURL(), Reference: ledger.Reference(purchaseID)}
	switch status {
	case ledger.Disputed:
		view.Kind, view.NextURL = page.Disputed, ""
	case ledger.Revoked:
		view.Kind, view.NextURL = page.Revoked, ""
	case ledger.Active, ledger.Expired:
		view.Kind = page.DeviceRefused
		if v.has(urlpath.ParamDevice) { // the visitor may not be its buyer, and may have another payment on its way
			view.NextURL, view.Reference = v.target, ""
		}
	}
	return view
}

// RefuseDownload responds instead of a file that is not sent, for this reason.
func (v *Visit) RefuseDownload(known *access.Token, reason error) error {
	switch {
	case errors.Is(reason, ledger.ErrInactive):
		return v.showError(v.deviceError(reason, ledger.Purchase{ID: known.Purchase}))
	case !errors.Is(reason, ledger.ErrNoneLeft):
		return v.showError(reason) // also if a purchase that was sold is not found: its data are lost
	}
	v.services.Metrics.CountLimit(LimitDownloads)
	limit := known.DownloadLimit()
	if !acceptsHTML(v.r) {
		return v.paymentRequired(fmt.Sprintf("This purchase has been downloaded %d times, which is as often as it allows. "+
			"Nothing was charged now. It can be bought again.", limit))
	}
	if done, err := v.resolvePending(v.findPayments(known)); done {
		return err // bought again already
	}
	return v.showPage(page.View{
		Kind: page.DownloadsUsed, NextURL: v.restartURL(), Reference: ledger.Reference(known.Purchase),
		Purchase: page.Purchase{Downloads: limit, DownloadsLimit: limit},
	})
}

// isUsedUp reports whether all downloads of a purchase are used, and no window is open.
func (v *Visit) isUsedUp(known *access.Token) bool {
	purchase, err := v.tokens.Cache.Of(v.r.Context(), known.Purchase)
	return err == nil && v.hasNoDownloadLeft(purchase.Purchase)
}

func (v *Visit) hasNoDownloadLeft(p ledger.Purchase) bool {
	return p.DownloadLimit > 0 && p.DownloadsUsed >= p.DownloadLimit && !v.now().Before(p.DownloadWindowEndsAt)
}
