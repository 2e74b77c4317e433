package paywall

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/page"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/token"
)

// visit is one request that the gate may have to answer itself.
type visit struct {
	*Handler
	w       http.ResponseWriter
	r       *http.Request
	next    caddyhttp.Handler // behind the gate
	site    site
	address *url.URL // as the browser has it
	params  url.Values
	target  string         // the page without our parameters
	pending pendingCookies // checkouts this browser has under way
	found   findings
	extends *ledger.Holding // the purchase that gets more time; nil for a new one
	device  string          // the visitor's device among those of extends
	// forProgram: a program starts the checkout, and fetches the token; the browser of
	// who pays gets none.
	forProgram bool
}

// findings are what the ledger says about the checkouts under way.
type findings struct {
	closed     ledger.Status    // a purchase exists, but is refunded, disputed or revoked
	purchaseID string           // of that purchase
	mismatch   *session.Pending // a payment came, but not as asked
	err        error            // the ledger could not tell
}

func (h *Handler) newVisit(w http.ResponseWriter, r *http.Request, site site, next caddyhttp.Handler) *visit {
	address := originalURL(r)
	return &visit{
		Handler: h, w: w, r: r, next: next, site: site, address: address,
		params: urlpath.Params(address.RawQuery), target: urlpath.OriginalTarget(address),
	}
}

// turnedAway answers a request whose tokens do not open the gate.
func (v *visit) turnedAway(verdict access.Decision, known *access.Token) error {
	switch {
	case verdict == access.Unknown && (!isPageRequest(v.r) || !v.params.Has(urlpath.ParamDevice)):
		return v.showSafe() // but a device link may let them in: the operator gives one to whoever lost access
	case !isPageRequest(v.r) && !v.isOwnReturn():
		return v.refuse()
	}
	if v.params.Has(urlpath.ParamDevice) {
		return v.askDevice()
	}
	if verdict == access.Closed {
		v.found.closed, v.found.purchaseID = statusOf(known), known.Purchase
		if v.found.closed == ledger.Active && v.addMissingDevice(known) {
			return v.redirectToTarget()
		}
	}
	v.pending = v.readPending(v.r, v.site)
	if paid, purchase := v.lookUp(); paid != nil {
		return v.redeem(*paid, purchase)
	}
	if renewed := v.prolonged(); renewed != nil {
		if err := v.giveToken(v.w, v.r, v.site, *renewed); err == nil {
			return v.redirectToTarget()
		}
	}
	return v.answerUnpaid()
}

// addMissingDevice adds the device of a token to its purchase. It is missing where a backup was put back, or a
// webhook replayed into a new ledger. A device that was removed stays so.
func (v *visit) addMissingDevice(known *access.Token) bool {
	if known.Device == "" {
		return false
	}
	return v.app.ledger.AddDevice(v.r.Context(), known.Purchase, ledger.Device{ID: known.Device, Label: deviceLabel(v.r)}) == nil
}

// prolonged is the new token for one that has ended with its access, if the purchase
// has been extended since, on another device.
func (v *visit) prolonged() *token.Access {
	var prolonged *token.Access
	v.eachToken(v.r, v.site, func(raw string) bool {
		if ended, err := v.app.access.Verify(raw, v.site.origin, now()); errors.Is(err, token.ErrLapsed) {
			prolonged = v.prolong(ended.Access)
		}
		return prolonged == nil
	})
	return prolonged
}

// prolong is what the ledger says about a token that has ended.
func (v *visit) prolong(ended token.Access) *token.Access {
	purchase, err := v.app.access.Of(v.r.Context(), ended.Purchase)
	switch {
	case err == nil && purchase.StatusAt(now()) == ledger.Active && v.opens(purchase) && slices.Contains(purchase.DeviceIDs, ended.Device):
		ended.Until = purchase.EndsAt
		return &ended
	case err != nil && !errors.Is(err, ledger.ErrNotFound):
		v.found.err = err
	}
	return nil
}

// welcomeBack answers who has access and comes with parameters of ours: back from
// a checkout, or reloaded. The address bar gets the clean address, unless something
// more was bought, or is to be.
func (v *visit) welcomeBack(known *access.Token) error {
	v.pending = v.readPending(v.r, v.site)
	if entry := v.returnedTo(); entry != nil {
		v.pending.here = []session.Pending{*entry}
		if paid, purchase := v.lookUp(); paid != nil {
			return v.redeem(*paid, purchase)
		}
		return v.answerUnpaid()
	}
	longer := v.longer()
	switch {
	case v.params.Has(urlpath.ParamReceipt):
		return v.receipt(known)
	case v.params.Has(urlpath.ParamDevice) && v.isOfAnother(known):
		return v.askDevice()
	case longer != nil:
		if err := v.wantsLonger(longer); err != nil || v.extends == nil {
			return err
		}
	case !v.wantsMore(known):
		return v.redirectToTarget()
	}
	if settled, err := v.settle(known); settled {
		return err
	}
	return v.sell(mode(v.restarts()))
}

// redirectToTarget sends the browser to the clean address of the page.
func (v *visit) redirectToTarget() error {
	goTo(v.w, v.target)
	return nil
}

// wantsMore reports whether a visitor who has access asks for a pass that is not
// theirs yet, or for another purchase of what is used up.
func (v *visit) wantsMore(known *access.Token) bool {
	if name := v.params.Get(urlpath.ParamCheckout); name != "" && name != known.Pass {
		verdict, _ := v.decide(v.r, v.site, []string{name})
		return verdict == access.None || verdict == access.Closed
	}
	return (v.restarts() || v.params.Has(urlpath.ParamCheckout)) && v.isUsedUp(known)
}

// settle gives a visitor, before anything more is asked for, what has been paid
// beside the known purchase, or waits for what is on its way.
func (v *visit) settle(known *access.Token) (settled bool, err error) {
	v.pending.without(known)
	if paid, purchase := v.lookUp(); paid != nil {
		return true, v.redeem(*paid, purchase)
	}
	if v.found.err != nil {
		return true, v.showSafe()
	}
	if entry := v.onItsWay(); entry != nil && !v.restarts() {
		return true, v.wait(*entry)
	}
	return false, nil
}

// onItsWay is the checkout for which a payment is to be expected.
func (v *visit) onItsWay() *session.Pending {
	for i, entry := range v.pending.here {
		if entry.State == session.Returned || v.app.stageOf(entry) == processing {
			return &v.pending.here[i]
		}
	}
	return nil
}

// restarts reports whether the visitor asks for a new checkout. Another site cannot.
func (v *visit) restarts() bool {
	return v.params.Has(urlpath.ParamRestart) && v.r.Header.Get("Sec-Fetch-Site") != "cross-site"
}

// isUsedUp reports whether all downloads of a purchase are used, and none may go on.
func (v *visit) isUsedUp(known *access.Token) bool {
	if known.DownloadLimit() == 0 {
		return false
	}
	purchase, err := v.app.access.Of(v.r.Context(), known.Purchase)
	return err == nil && purchase.DownloadsUsed >= purchase.DownloadLimit && !now().Before(purchase.DownloadWindowEndsAt)
}

// lookUp asks the ledger about every checkout under way: the webhook may have
// been late, or the tab closed. Nobody pays twice.
func (v *visit) lookUp() (*session.Pending, ledger.Holding) {
	unpaid := make([]session.Pending, 0, len(v.pending.here))
	defer func() { v.pending.here = unpaid }() // what has had its payment is nothing to wait for
	for i := range v.pending.here {
		entry := &v.pending.here[i]
		purchase, err := v.app.access.OfSession(v.r.Context(), entry.Session)
		switch {
		case errors.Is(err, ledger.ErrNotFound):
			unpaid = append(unpaid, *entry)
			continue
		case err != nil:
			v.found.err = err
			return nil, ledger.Holding{} // the database is in trouble: one attempt is enough
		case !v.opens(purchase):
			v.app.complain(v.logger, "a payment was made for something else than its pending cookie says",
				zap.String("session", shorten(entry.Session)))
			continue
		}
		switch status := purchase.StatusAt(now()); status {
		case ledger.Active:
			if entry.State == session.Kept && v.isNeedless(purchase) {
				continue
			}
			return entry, purchase
		case ledger.Expired:
			v.dropPending(v.w, v.site, *entry)
		case ledger.Mismatched:
			if entry.State == session.Returned || v.params.Get(urlpath.ParamSession) == entry.Session {
				v.found.mismatch = entry
			} else {
				unpaid = append(unpaid, *entry)
			}
		default:
			v.found.closed, v.found.purchaseID = status, purchase.ID
		}
	}
	return nil, ledger.Holding{}
}

// isNeedless reports whether another purchase opens the same for longer.
func (v *visit) isNeedless(purchase ledger.Holding) bool {
	known := v.openBy(purchase.Product)
	return known != nil && endsAfter(known, v.accessOf(purchase))
}

// opens reports whether what was sold is what this gate asks for.
func (v *visit) opens(sold ledger.Holding) bool {
	sale := v.saleOf(sold.Product)
	return sale != nil && sold.Site == v.site.origin && sale.opens(sold.Resource, v.r)
}

// redeem gives the browser its access token and the page it wanted.
func (v *visit) redeem(entry session.Pending, purchase ledger.Holding) error {
	granted := v.accessOf(purchase)
	granted.Device = entry.Device
	if done, err := v.addDevice(purchase, entry.Device); done {
		return err
	}
	if known := v.openBy(granted.Pass); known != nil && endsAfter(known, granted) {
		entry = entry.Keep(purchase.EndsAt, now()) // for the case that the other is refunded
		if err := v.keepPending(v.w, v.site, entry); err != nil {
			v.app.complain(v.logger, "a pending cookie could not be renewed", zap.Error(err))
		}
	} else {
		if err := v.giveToken(v.w, v.r, v.site, granted); err != nil {
			v.app.complain(v.logger, "an access token could not be signed", zap.Error(err))
			return v.showSafe()
		}
		v.dropPending(v.w, v.site, entry)
	}
	v.restoreReturnTo(entry)
	v.app.countUsed(purchase.ID, granted.Pass)
	if v.Receipt || v.params.Has(urlpath.ParamReceipt) {
		goTo(v.w, urlpath.WithParams(v.target, urlpath.ParamReceipt, granted.Pass))
		return nil
	}
	return v.redirectToTarget()
}

// addDevice makes this browser, or program, one of the devices that use the purchase.
func (v *visit) addDevice(purchase ledger.Holding, deviceID string) (done bool, err error) {
	device := ledger.Device{ID: deviceID, Label: deviceLabel(v.r)}
	err = ledger.ErrNoneLeft
	if v.Claim == claimFirst { // nobody else may claim what the browser that paid has taken
		err = v.app.ledger.Claim(v.r.Context(), purchase.ID, ledger.ClaimFirst, device)
	}
	if errors.Is(err, ledger.ErrNoneLeft) {
		err = v.app.ledger.AddDevice(v.r.Context(), purchase.ID, device)
	}
	switch {
	case err == nil:
		return false, nil
	case errors.Is(err, ledger.ErrNoneLeft):
		countLimit(limitDevices)
		return true, v.showView(page.View{Kind: page.DeviceFull, NextURL: v.target, Purchase: page.Purchase{Devices: purchase.DeviceLimit, DevicesLimit: purchase.DeviceLimit}})
	case errors.Is(err, ledger.ErrRemoved), errors.Is(err, ledger.ErrInactive), errors.Is(err, ledger.ErrNotFound):
		return true, v.showView(page.View{Kind: page.DeviceRefused, NextURL: urlpath.WithParams(v.target, urlpath.ParamRestart, "1"), Reference: reference(purchase.ID)})
	}
	return true, v.unreadable(err)
}

// accessOf is what the token of a purchase says, but for the device.
func (v *visit) accessOf(purchase ledger.Holding) token.Access {
	return token.Access{
		Site: v.site.origin, Pass: purchase.Product, Resource: purchase.Resource,
		Purchase: purchase.ID, Until: purchase.EndsAt, Downloads: purchase.DownloadLimit,
	}
}

// hasTokenOfUnknownKey reports whether the browser may have paid under a key that was lost or removed.
func (v *visit) hasTokenOfUnknownKey() bool {
	found := false
	v.eachToken(v.r, v.site, func(raw string) bool {
		found = v.app.keyring.IsOfUnknownKey(raw)
		return !found
	})
	return found
}

// isOwnReturn reports whether this browser returns from its own checkout. What it accepts does not matter.
func (v *visit) isOwnReturn() bool {
	return v.r.Method == http.MethodGet && v.params.Has(urlpath.ParamSession) && v.pendingFor(v.params.Get(urlpath.ParamSession)) != nil
}

// answerUnpaid decides what a visitor sees who has paid for nothing here yet.
func (v *visit) answerUnpaid() error {
	restart := v.restarts()
	if v.isElsewhere() {
		there := urlpath.WithParams(v.target, urlpath.ParamHere, "1")
		if v.params.Has(urlpath.ParamCheckout) {
			there = urlpath.WithParams(there, urlpath.ParamCheckout, v.params.Get(urlpath.ParamCheckout))
		}
		goTo(v.w, v.site.origin+there)
		return nil
	}
	switch {
	case v.found.err != nil:
		return v.unreadable(v.found.err)
	case restart:
		return v.sell(anew)
	case v.returnedTo() != nil:
		return v.returned()
	}
	if entry := v.onItsWay(); entry != nil {
		return v.wait(*entry)
	}
	switch { // only with no payment on its way: who has just bought again waits for that
	case v.found.closed != "":
		return v.showClosed()
	case v.found.mismatch != nil:
		return v.showView(page.View{Kind: page.Mismatch, Reference: referenceOf(*v.found.mismatch)})
	case v.params.Has(urlpath.ParamSession):
		return v.returned()
	case v.params.Has(urlpath.ParamCancelled):
		return v.cancelled()
	case v.params.Has(urlpath.ParamLink):
		return v.showView(page.View{Kind: page.LinkEnded, NextURL: v.target})
	}
	if v.mayStartCheckout() && !v.params.Has(urlpath.ParamCheckout) {
		for _, serve := range []func() (bool, error){v.servePreview, v.serveTeaser} {
			if served, err := serve(); served {
				return err
			}
		}
		if v.hasTokenOfUnknownKey() {
			v.app.complain(v.logger, "a browser has an access token of a key that is not known here; it is asked before it is sent to a checkout")
			return v.refuse()
		}
	}
	return v.sell(again)
}

// isElsewhere reports whether the browser has come by an address of the site from
// which its cookies would not come back: another of its host names, or plain http.
// It is sent to the site's own address first, once, and before it pays: behind a
// proxy that rewrites the host there is no difference to be seen from here.
func (v *visit) isElsewhere() bool {
	if v.params.Has(urlpath.ParamHere) || v.params.Has(urlpath.ParamSession) || v.params.Has(urlpath.ParamCancelled) || v.hasOurCookies() {
		return false // it has been here, and its cookies come back
	}
	if v.site.secure && v.r.TLS == nil {
		return v.siteURL == "" && v.app.siteURL == ""
	}
	if v.siteURL == "" {
		return false
	}
	host, _ := splitHostPort(v.r.Host)
	server, _ := v.r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if server == nil || host == hostOf(v.siteURL) {
		return false
	}
	return slices.ContainsFunc(v.addresses(server), func(a address) bool { return a.pattern == host })
}

// hasOurCookies reports whether the browser has sent any cookie of a gate, good or not.
func (v *visit) hasOurCookies() bool {
	found := false
	eachCookie(v.r.Header["Cookie"], func(name, _ string) bool {
		found = strings.Contains(name, "axra_")
		return !found
	})
	return found
}

// returnedTo is the unpaid checkout that the success URL names, if this browser
// started it.
func (v *visit) returnedTo() *session.Pending {
	for i := range v.pending.here {
		if v.pending.here[i].Session == v.params.Get(urlpath.ParamSession) {
			return &v.pending.here[i]
		}
	}
	return nil
}

// returned answers the success URL while no payment is known.
func (v *visit) returned() error {
	if known := v.returnedTo(); known != nil {
		entry := *known
		if entry.State != session.Returned {
			entry.State, entry.ReturnedAt = session.Returned, now().Truncate(time.Millisecond)
			if err := v.keepPending(v.w, v.site, entry); err != nil {
				v.app.complain(v.logger, "a pending cookie could not be renewed", zap.Error(err))
			}
		}
		return v.wait(entry)
	}
	if v.params.Has(urlpath.ParamProgram) {
		return v.showView(page.View{Kind: page.ForProgram})
	}
	// One answer for all other ids, whatever they look like.
	if v.Claim == claimFirst {
		return v.askClaim()
	}
	return v.showView(page.View{Kind: page.NotYours, NextURL: v.target})
}

// cancelled answers the cancel URL. The checkouts under way are not gone to again,
// but still looked up: the visitor may have paid after all.
func (v *visit) cancelled() error {
	kind := page.Cancelled
	for _, entry := range v.pending.here {
		if entry.State != session.Started {
			continue
		}
		if now().After(entry.ExpiresAt) {
			kind = page.Expired
		}
		entry.State, entry.CheckoutURL = session.Cancelled, ""
		if err := v.keepPending(v.w, v.site, entry); err != nil {
			v.app.complain(v.logger, "a pending cookie could not be renewed", zap.Error(err))
		}
	}
	return v.showView(page.View{Kind: kind, NextURL: v.target})
}

// The waiting page looks again by itself this often, then leaves it to the visitor.
var refreshes = []struct {
	tries int
	every time.Duration
}{{5, 2 * time.Second}, {15, 5 * time.Second}, {30, 15 * time.Second}}

func (v *visit) wait(entry session.Pending) error {
	try, _ := strconv.Atoi(v.params.Get(urlpath.ParamTry))
	view := page.View{
		CheckURL:  urlpath.WithParams(v.target, urlpath.ParamSession, entry.Session),
		NextURL:   urlpath.WithParams(v.target, urlpath.ParamRestart, "1"),
		Reference: referenceOf(entry),
	}
	switch v.app.stageOf(entry) {
	case failed:
		view.Kind, view.CheckURL = page.Failed, ""
		return v.showView(view)
	case processing:
		view.Kind = page.Processing
	default:
		view.Kind = page.Waiting
	}
	for _, stage := range refreshes {
		if try >= 0 && try < stage.tries {
			view.Refresh = stage.every
			view.PollURL = view.CheckURL
			view.CheckURL = urlpath.WithParams(v.target, urlpath.ParamSession, entry.Session, urlpath.ParamTry, strconv.Itoa(try+1))
			// With JavaScript one page lasts through all its polls; the last reload ends it.
			return v.showView(view)
		}
	}
	view.Kind = page.StillWaiting
	return v.showView(view)
}

// usedUp answers who has fetched a purchase as often as it allows.
func (v *visit) usedUp(known *access.Token, limit int) error {
	countLimit(limitDownloads)
	if !acceptsHTML(v.r) {
		offers, err := v.onSale()
		if err != nil {
			return v.misconfigured(err)
		}
		return v.problem(offers, "This purchase has been downloaded "+strconv.Itoa(limit)+
			" times, which is as often as it allows. Nothing was charged now. It can be bought again.")
	}
	v.pending = v.readPending(v.r, v.site)
	if settled, err := v.settle(known); settled {
		return err // bought again already
	}
	return v.showView(page.View{
		Kind: page.DownloadsUsed, Purchase: page.Purchase{Downloads: limit}, Reference: reference(known.Purchase),
		NextURL: urlpath.WithParams(v.target, urlpath.ParamRestart, "1"),
	})
}

func (v *visit) showClosed() error {
	view := page.View{Kind: page.Refunded, NextURL: urlpath.WithParams(v.target, urlpath.ParamRestart, "1"), Reference: reference(v.found.purchaseID)}
	switch v.found.closed {
	case ledger.Disputed:
		view.Kind, view.NextURL = page.Disputed, ""
	case ledger.Revoked:
		view.Kind, view.NextURL = page.Revoked, ""
	case ledger.Active: // but not on this device
		view.Kind = page.DeviceRefused
	}
	return v.showView(view)
}

// showSafe is what a visitor sees who may have paid, while that cannot be told.
func (v *visit) showSafe() error {
	return v.showView(page.View{Kind: page.PaymentSafe, CheckURL: urlpath.FullTarget(v.address), RetryAfter: 5 * time.Second})
}

// unreadable answers a visitor who may have paid while the ledger cannot be read.
func (v *visit) unreadable(err error) error {
	v.complainUnreadable(err)
	return v.showSafe()
}

func (v *visit) complainUnreadable(err error) {
	v.app.complain(v.logger, "the ledger cannot be read; nobody is asked to pay meanwhile", zap.Error(err))
}

func (v *visit) showView(view page.View) error {
	view.Site = v.site.host()
	switch view.Kind {
	case page.Receipt, page.Gift, page.Given: // which say what was paid, if anything
	default:
		if offers, err := v.onSale(); err == nil && len(offers) == 1 && len(view.Offers) == 0 && view.Price == "" {
			view.Price, view.Description = v.priceInWords(offers[0]), offers[0].description
		}
	}
	return v.show(v.w, v.r, view)
}

// priceInWords says what an offer costs, and for how long.
func (v *visit) priceInWords(o offered) string {
	return o.price.String() + " · " + page.AccessInWords(v.r.Header.Get("Accept-Language"), o.access.Length())
}

// refuse answers what is no page navigation of a person. It creates nothing. Where a page is accepted it
// gets one whose button starts a checkout: it may be a person after all.
func (v *visit) refuse() error {
	if served, err := v.servePart(); served {
		return err
	}
	if acceptsHTML(v.r) && !v.params.Has(urlpath.ParamCheckout) {
		if served, err := v.serveTeaser(); served {
			return err
		}
	}
	if v.r.Method == http.MethodGet && v.redirectToCanonicalPath() {
		return nil
	}
	offers, err := v.onSale()
	switch {
	case err != nil:
		return v.misconfigured(err)
	case acceptsHTML(v.r):
		return v.showButtons(offers, mode(v.restarts()))
	case v.params.Has(urlpath.ParamLink):
		return v.problem(offers, linkEnded)
	}
	return v.problem(offers, howToBuy)
}

// showButtons shows a page whose forms start the checkout of what is on sale, or of what the address names.
func (v *visit) showButtons(offers []offered, how mode) error {
	chosen := v.chosen(offers)
	switch {
	case chosen != nil:
		return v.showView(page.View{
			Kind: page.Required, FormURL: v.checkoutAddress(*chosen, how),
			Price: v.priceInWords(*chosen), Description: chosen.description,
		})
	case len(offers) > 0:
		return v.showOffers(offers, how)
	}
	return v.showView(page.View{Kind: page.Required})
}
