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
)

// HandleUnpaid handles a request whose tokens do not open the gate. The token is the one that says most about why not;
// nil if there is none.
func (v *Visit) HandleUnpaid(decision access.Decision, entry *access.Token) error {
	isPage := v.isPageRequest()
	switch {
	case decision == access.Unknown && (!isPage || !v.has(urlpath.ParamDevice)):
		return v.showSafe() // but a device link may let them in: the operator gives one to buyers who lost access
	case !isPage && (v.r.Method != http.MethodGet || !v.has(urlpath.ParamSession) || v.returnedTo(v.readPending().here) == nil):
		return v.sell(checkoutRequest{restart: v.restarts(), onlyByButton: true})
	case v.has(urlpath.ParamDevice):
		return v.askDevice()
	}
	if decision == access.Closed && entry.Status(v.now()) == ledger.Active && entry.Device != "" {
		// The device is missing after a backup was restored, or a webhook replayed. One that was removed stays removed.
		if v.addDevice(entry.Purchase, entry.Device) == nil {
			return v.redirectToTarget()
		}
	}
	found := v.findPayments(nil)
	if decision == access.Closed && found.closed == nil {
		found.closed = new(v.closedPage(entry.Status(v.now()), entry.Purchase))
	}
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
	req := checkoutRequest{found: found, restart: v.restarts()}
	if done, err := v.resolvePending(req); done {
		return err
	}
	switch {
	case v.comesByOtherAddress():
		there := urlpath.WithParams(v.target, urlpath.ParamHere, "1")
		if v.has(urlpath.ParamCheckout) {
			there = urlpath.WithParams(there, urlpath.ParamCheckout, v.get(urlpath.ParamCheckout))
		}
		response.Redirect(v.w, v.site.Origin+there)
		return nil
	case req.restart:
		return v.sell(req)
	case found.closed != nil: // only without a payment on its way: a visitor who has just bought again waits for that
		return v.showPage(*found.closed)
	case v.has(urlpath.ParamSession) && v.has(urlpath.ParamProgram):
		return v.showPage(page.View{Kind: page.ForProgram})
	case v.has(urlpath.ParamSession):
		return v.askTakeover()
	case v.has(urlpath.ParamCancelled):
		return v.handleCancelled(found.unpaid)
	case v.has(urlpath.ParamLink):
		return v.showPage(page.View{Kind: page.LinkEnded, NextURL: v.target})
	}
	if v.mayStartCheckout() && !v.has(urlpath.ParamCheckout) {
		if done, err := v.servePreview(); done {
			return err
		}
		req.onlyByButton = v.hasTokenOfUnknownKey()
	}
	return v.sell(req)
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
		entry.State, entry.CheckoutURL = session.Cancelled, ""
		_ = v.keepPending(entry)
	}
	return v.showPage(page.View{Kind: kind, NextURL: v.target})
}

// restarts reports whether the visitor asks for a new checkout. Another site cannot.
func (v *Visit) restarts() bool {
	return v.has(urlpath.ParamRestart) && v.r.Header.Get("Sec-Fetch-Site") != "cross-site"
}

// hasTokenOfUnknownKey reports whether the browser may have paid under a key that was lost or removed.
func (v *Visit) hasTokenOfUnknownKey() (found bool) {
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
	hasGateCookie := slices.ContainsFunc(v.r.Cookies(), func(c *http.Cookie) bool { return strings.Contains(c.Name, gate.CookieMark) })
	if hasGateCookie || v.has(urlpath.ParamHere) || v.has(urlpath.ParamSession) || v.has(urlpath.ParamCancelled) {
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
	case errors.Is(reason, ledger.ErrInactive):
		bought := ledger.Holding{Purchase: ledger.Purchase{ID: entry.Purchase}}
		return v.showError(v.deviceError(reason, bought, v.closedPage(ledger.Active, entry.Purchase)))
	case !errors.Is(reason, ledger.ErrNoneLeft):
		return v.showError(reason) // also if a purchase that was sold is not found: its data are lost
	}
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
	if done, err := v.resolvePending(checkoutRequest{found: v.findPayments(entry)}); done {
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
