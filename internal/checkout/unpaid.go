package checkout

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/response"
	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/page"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/token"
)

// HandleUnpaid handles a request whose tokens do not open the gate. The token is the one that says most about why not;
// nil if there is none.
func (v *Visit) HandleUnpaid(decision access.Decision, entry *access.Token) error {
	switch {
	case decision == access.Unknown && (!isPageRequest(v.r) || !v.has(urlpath.ParamDevice)):
		return v.showSafe() // but a device link may let them in: the operator gives one to buyers who lost access
	case !isPageRequest(v.r) && !v.isOwnReturn():
		return v.sell(checkoutRequest{restart: v.restarts(), onlyByButton: true})
	case v.has(urlpath.ParamDevice):
		return v.askDevice()
	}
	if decision == access.Closed && entry.Status(v.now()) == ledger.Active && v.addMissingDevice(entry) {
		return v.redirectToTarget()
	}
	pending := v.readPending()
	found := v.lookUp(pending.here)
	if found.paid == nil {
		renewed, err := v.extendedElsewhere()
		if renewed != nil && v.give(*renewed) == nil {
			return v.redirectToTarget()
		}
		found.err = errors.Join(found.err, err)
	}
	if decision == access.Closed && found.closed == "" {
		found.closed, found.closedID = entry.Status(v.now()), entry.Purchase
	}
	return v.handleLookup(pending, found)
}

// handleLookup gives visitors what they have paid for, or decides what they see who have not.
func (v *Visit) handleLookup(pending pendingCookies, found lookup) error {
	req := checkoutRequest{pending: pending, unpaid: found.unpaid, restart: v.restarts()}
	returned := v.returnedTo(found.unpaid)
	switch {
	case found.paid != nil:
		return v.redeem(*found.paid)
	case v.comesByOtherAddress():
		return v.redirectToSite()
	case found.err != nil:
		return v.showError(found.err)
	case req.restart:
		return v.sell(req)
	case returned != nil:
		return v.handleReturned(*returned)
	}
	if expected := v.expectedPayment(found.unpaid); expected != nil {
		return v.showWaiting(*expected)
	}
	switch { // only without a payment on its way: a visitor who has just bought again waits for that
	case found.closed != "":
		return v.showPage(v.closedPage(found.closed, found.closedID))
	case found.mismatch != nil:
		return v.showPage(page.View{Kind: page.Mismatch, Reference: purchaseReference(*found.mismatch)})
	case v.has(urlpath.ParamSession):
		return v.handleForeignReturn()
	case v.has(urlpath.ParamCancelled):
		return v.handleCancelled(found.unpaid)
	case v.has(urlpath.ParamLink):
		return v.showPage(page.View{Kind: page.LinkEnded, NextURL: v.target})
	}
	if v.mayStartCheckout() && !v.has(urlpath.ParamCheckout) {
		if done, err := v.serveInstead(); done {
			return err
		}
	}
	return v.sell(req)
}

// serveInstead serves a free page or the teaser, if the gate has them and they apply.
func (v *Visit) serveInstead() (done bool, err error) {
	if done, err := v.servePreview(); done {
		return true, err
	}
	if done, err := v.serveTeaser(); done {
		return true, err
	}
	if v.hasTokenOfUnknownKey() {
		v.services.LogLimited("a browser has an access token of a key that is not known here; it is asked before it is sent to a checkout")
		return true, v.sell(checkoutRequest{onlyByButton: true})
	}
	return false, nil
}

// addMissingDevice adds the device of a token to its purchase. It is missing after a backup was restored, or a webhook
// replayed into a new ledger. A device that was removed stays removed.
func (v *Visit) addMissingDevice(entry *access.Token) bool {
	return entry.Device != "" && v.addDevice(entry.Purchase, entry.Device) == nil
}

// extendedElsewhere returns the new token for one that has ended with its access, if the purchase has been extended
// since, on another device.
func (v *Visit) extendedElsewhere() (renewed *token.Access, err error) {
	v.gate.EachRawToken(v.r, v.site, func(raw string) bool {
		lapsed, lapsedErr := v.tokens.Cache.Verify(raw, v.site.Origin, v.now())
		if !errors.Is(lapsedErr, token.ErrLapsed) {
			return true
		}
		var renewErr error
		if renewed, renewErr = v.renewLapsed(lapsed.Access); renewErr != nil {
			err = renewErr
		}
		return renewed == nil
	})
	return renewed, err
}

// renewLapsed returns the new token for one that has ended with its access; nil if its purchase was not extended.
func (v *Visit) renewLapsed(lapsed token.Access) (*token.Access, error) {
	purchase, err := v.tokens.Cache.Of(v.r.Context(), lapsed.Purchase)
	switch {
	case errors.Is(err, ledger.ErrNotFound):
		return nil, nil //nolint:nilnil // nothing is wrong
	case err != nil:
		return nil, err
	case purchase.StatusAt(v.now()) != ledger.Active || !v.opens(purchase) || !slices.Contains(purchase.DeviceIDs, lapsed.Device):
		return nil, nil //nolint:nilnil // nothing is wrong
	}
	lapsed.Until = purchase.EndsAt
	return &lapsed, nil
}

// restarts reports whether the visitor asks for a new checkout. Another site cannot.
func (v *Visit) restarts() bool {
	return v.has(urlpath.ParamRestart) && v.r.Header.Get("Sec-Fetch-Site") != "cross-site"
}

// hasTokenOfUnknownKey reports whether the browser may have paid under a key that was lost or removed.
func (v *Visit) hasTokenOfUnknownKey() bool {
	found := false
	v.gate.EachRawToken(v.r, v.site, func(raw string) bool {
		found = v.tokens.Keys.IsOfUnknownKey(raw)
		return !found
	})
	return found
}

// comesByOtherAddress reports whether the browser uses an address of the site to which it would not return the cookies:
// another host name, or plain http. Before it pays, it is redirected to the site's own address, once. Behind a proxy
// that rewrites the host, the two look the same.
func (v *Visit) comesByOtherAddress() bool {
	if v.has(urlpath.ParamHere) || v.has(urlpath.ParamSession) || v.has(urlpath.ParamCancelled) || hasGateCookie(v.r) {
		return false // it has been here, and its cookies come back
	}
	if v.site.Secure && v.r.TLS == nil {
		return v.config.SiteURL == "" && v.config.AppURL == ""
	}
	host, server := gate.HostOf(v.r.Host), gate.ServerOf(v.r)
	if v.config.SiteURL == "" || server == nil || host == gate.HostOf(v.config.SiteURL) {
		return false
	}
	return slices.Contains(slices.Concat(v.gate.HostsOn(server)...), host)
}

func (v *Visit) redirectToSite() error {
	there := urlpath.WithParams(v.target, urlpath.ParamHere, "1")
	if v.has(urlpath.ParamCheckout) {
		there = urlpath.WithParams(there, urlpath.ParamCheckout, v.get(urlpath.ParamCheckout))
	}
	response.Redirect(v.w, v.site.Origin+there)
	return nil
}

// hasGateCookie reports whether the browser has sent any cookie of a gate, valid or not.
func hasGateCookie(r *http.Request) bool {
	return slices.ContainsFunc(r.Cookies(), func(cookie *http.Cookie) bool { return strings.Contains(cookie.Name, gate.CookieMark) })
}

// closedPage explains why a purchase opens nothing any more.
func (v *Visit) closedPage(status ledger.Status, purchaseID string) page.View {
	view := page.View{Kind: page.Refunded, NextURL: v.restartURL(), Reference: ledger.Reference(purchaseID)}
	switch status {
	case ledger.Disputed:
		view.Kind, view.NextURL = page.Disputed, ""
	case ledger.Revoked:
		view.Kind, view.NextURL = page.Revoked, ""
	case ledger.Active: // elsewhere, but not on this device
		view.Kind = page.DeviceRefused
	}
	return view
}

// RefuseDownload responds instead of a file that is not sent, for this reason.
func (v *Visit) RefuseDownload(entry *access.Token, reason error) error {
	switch {
	case errors.Is(reason, ledger.ErrNoneLeft):
		return v.handleUsedUp(entry)
	case errors.Is(reason, ledger.ErrInactive):
		bought := ledger.Holding{Purchase: ledger.Purchase{ID: entry.Purchase}}
		reason = v.deviceError(reason, bought, v.closedPage(ledger.Active, entry.Purchase))
	}
	return v.showError(reason) // also if a purchase that was sold is not found: its data are lost
}

// handleUsedUp responds to a visitor who has fetched a purchase as often as it allows.
func (v *Visit) handleUsedUp(entry *access.Token) error {
	v.services.Metrics.CountLimit(LimitDownloads)
	limit := entry.DownloadLimit()
	if !acceptsHTML(v.r) {
		quotes, err := v.gate.Quotes(v.r)
		if err != nil {
			return v.showMisconfigured(err)
		}
		return v.paymentRequired(quotes, "This purchase has been downloaded "+strconv.Itoa(limit)+
			" times, which is as often as it allows. Nothing was charged now. It can be bought again.")
	}
	if _, done, err := v.resolvePending(entry, v.readPending()); done {
		return err // bought again already
	}
	return v.showPage(page.View{
		Kind: page.DownloadsUsed, Purchase: page.Purchase{Downloads: limit, DownloadsLimit: limit}, Reference: ledger.Reference(entry.Purchase), NextURL: v.restartURL(),
	})
}

// isUsedUp reports whether all downloads of a purchase are used, and no window is open.
func (v *Visit) isUsedUp(entry *access.Token) bool {
	if entry.DownloadLimit() == 0 {
		return false
	}
	purchase, err := v.tokens.Cache.Of(v.r.Context(), entry.Purchase)
	return err == nil && purchase.DownloadsUsed >= purchase.DownloadLimit && !v.now().Before(purchase.DownloadWindowEndsAt)
}

// markPending keeps a pending cookie with a new state.
func (v *Visit) markPending(entry session.Pending, state session.State) session.Pending {
	entry.State = state
	switch state {
	case session.Returned:
		entry.ReturnedAt = v.now().Truncate(time.Millisecond)
	case session.Cancelled:
		entry.CheckoutURL = ""
	}
	v.renewPending(entry)
	return entry
}
