package checkout

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/payments"
	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/page"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/token"
)

// pendingCookies are the checkouts that one browser has under way, the first to expire first.
type pendingCookies struct {
	all         []session.Pending // for any gate
	here        []session.Pending // for this gate on this site
	bytes       int               // of all
	accessBytes int               // of the access cookies beside them
}

func (v *Visit) pendingPrefix() string { return v.site.CookiePrefix("/") + gate.CookieMark + "p_" }

func (v *Visit) readPending() (found pendingCookies) {
	prefix, scopes, seen := v.pendingPrefix(), v.scopes(), 0
	for name, value := range gate.AccessCookies(v.r.Header["Cookie"]) {
		found.accessBytes += len(name) + len(value)
	}
	for _, cookie := range v.r.Cookies() {
		if !strings.HasPrefix(cookie.Name, prefix) || seen >= 2*maxPending {
			continue
		}
		seen++
		if pending, err := session.DecodePending(v.tokens.Keys, cookie.Value); err == nil && pending.CookieName(prefix) == cookie.Name {
			found.all = append(found.all, pending)
			found.bytes += len(cookie.Name) + len(cookie.Value)
		}
	}
	slices.SortStableFunc(found.all, func(a, b session.Pending) int { return a.ExpiresAt.Compare(b.ExpiresAt) })
	for _, pending := range found.all {
		if scopes[pending.Scope] {
			found.here = append(found.here, pending)
		}
	}
	return found
}

// scopes are what a checkout may be for if its payment opens the gate to the request: everything, or one resource.
func (v *Visit) scopes() map[string]bool {
	scopes := make(map[string]bool)
	for _, p := range v.gate.Products {
		own, err := p.Resource(v.r)
		if err != nil {
			own = terms.AllPaths
		}
		for _, resource := range []string{terms.AllPaths, gate.PathResource(v.r), own} {
			scopes[session.Scope(v.site.Origin, p.Name, resource)] = true
		}
	}
	return scopes
}

func (v *Visit) keepPending(pending session.Pending) error {
	raw, err := pending.Encode(v.tokens.Keys)
	if err == nil {
		http.SetCookie(v.w, v.site.Cookie(pending.CookieName(v.pendingPrefix()), raw, pending.Expires().Sub(v.now())))
	}
	return err
}

func (v *Visit) dropPending(pending session.Pending) {
	http.SetCookie(v.w, v.site.ExpiredCookie(pending.CookieName(v.pendingPrefix())))
}

// find returns the first element that is accepted; nil if none is.
func find[T any](list []T, accept func(T) bool) *T {
	if i := slices.IndexFunc(list, accept); i >= 0 {
		return &list[i]
	}
	return nil
}

// returnedTo returns the checkout that the success URL names, if this browser started it.
func (v *Visit) returnedTo(started []session.Pending) *session.Pending {
	return find(started, func(p session.Pending) bool { return p.Session == v.get(urlpath.ParamSession) })
}

// lookup is what a client has under way, and what the ledger says about it.
type lookup struct {
	cookies  pendingCookies
	paid     *paidCheckout
	unpaid   []session.Pending // for this gate, without a purchase
	expected *session.Pending  // of unpaid, the one for which a payment is on its way
	closed   *page.View        // says why something that was paid opens nothing
	err      error             // the ledger cannot tell
}

// paidCheckout is a checkout whose purchase opens the gate.
type paidCheckout struct {
	pending  session.Pending // only its device, if the purchase was extended elsewhere
	purchase ledger.Purchase
}

// findPayments asks the ledger about every checkout under way, whose webhook may have been late or whose tab closed, but
// not about the purchase of the token, which may be nil. So no visitor pays twice.
func (v *Visit) findPayments(known *access.Token) lookup {
	found := lookup{cookies: v.readPending()}
	for _, pending := range found.cookies.here {
		if known != nil && ledger.PurchaseID(pending.Session) == known.Purchase {
			continue
		}
		holding, err := v.tokens.Cache.OfSession(v.r.Context(), pending.Session)
		purchase := holding.Purchase
		switch {
		case errors.Is(err, ledger.ErrNotFound):
			found.unpaid = append(found.unpaid, pending)
			continue
		case err != nil:
			found.err = err
			return found // the database is in trouble: one attempt is enough
		case !v.opens(purchase):
			continue // the product has changed since
		}
		switch status := purchase.StatusAt(v.now()); status {
		case ledger.Active:
			longer := v.openedBy(purchase.Product)
			if pending.State == session.Kept && longer != nil && longer.EndsAfter(v.accessOf(purchase, "")) {
				continue
			}
			found.paid = &paidCheckout{pending, purchase}
			return found
		case ledger.Expired:
			v.dropPending(pending)
		case ledger.Mismatched:
			if pending.State != session.Returned && v.get(urlpath.ParamSession) != pending.Session {
				found.unpaid = append(found.unpaid, pending)
			} else if found.closed == nil {
				found.closed = &page.View{Kind: page.Mismatch, Reference: ledger.Reference(purchase.ID)}
			}
		default:
			found.closed = new(v.closedPage(status, purchase.ID))
		}
	}
	found.expected = find(found.unpaid, func(p session.Pending) bool {
		return p.State == session.Returned || v.services.Progress(p) == payments.Processing
	})
	found.paid, found.err = v.extendedElsewhere()
	return found
}

// extendedElsewhere finds the purchase of a token that has ended with its access, if the purchase has been extended
// since, on another device.
func (v *Visit) extendedElsewhere() (_ *paidCheckout, err error) {
	for raw := range v.gate.RawTokens(v.r, v.site) {
		lapsed, lapsedErr := v.tokens.Cache.Verify(raw, v.site.Origin, v.now())
		if !errors.Is(lapsedErr, token.ErrLapsed) {
			continue
		}
		purchase, readErr := v.tokens.Cache.Of(v.r.Context(), lapsed.Purchase)
		isOurs := v.opens(purchase.Purchase) && slices.Contains(purchase.DeviceIDs, lapsed.Device)
		switch {
		case readErr != nil && !errors.Is(readErr, ledger.ErrNotFound):
			err = readErr
		case isOurs && purchase.StatusAt(v.now()) == ledger.Active:
			return &paidCheckout{session.Pending{Device: lapsed.Device}, purchase.Purchase}, nil
		}
	}
	return nil, err
}

// opens reports whether a purchase is of what this gate asks for.
func (v *Visit) opens(purchase ledger.Purchase) bool {
	product := v.gate.Product(purchase.Product)
	return product != nil && purchase.Site == v.site.Origin && product.Opens(purchase.Resource, v.r)
}

// Cookie budget of one browser. Caddy refuses requests with more than 16 KB of headers, and the site has cookies of its
// own. A pending cookie and an access cookie have about 400 bytes each.
const (
	maxPending      = 20       // checkouts that are kept, the newest
	maxCookieBytes  = 13 << 10 // of pending and access cookies together
	minPendingBytes = 2 << 10  // that pending cookies may have in any case
	maxAccessBytes  = 10 << 10 // of access cookies, beyond which no single resource is sold
	wholePassBytes  = 1 << 10  // more than that for a product that may replace many single resources
)

// fitCookieBudget makes sure that one more checkout and its purchase fit into the browser's requests: with one cookie
// too many, the whole site would refuse the browser. It forgets cancelled and expired checkouts first, then those that
// expire first: none that was paid, or for which a payment may be under way, and open ones only beyond maxPending.
func (v *Visit) fitCookieBudget(cookies pendingCookies, quote gate.Quote, addsCookie bool) error {
	limit := maxAccessBytes
	if quote.Resource == terms.AllPaths {
		limit += wholePassBytes
	}
	if addsCookie && cookies.accessBytes > limit && cookies.accessBytes-v.dropLapsed() > limit {
		return refusal{page.View{Kind: page.TooManyPurchases}}
	}
	excess := cookies.bytes - max(minPendingBytes, maxCookieBytes-cookies.accessBytes)
	count := len(cookies.all) + 1 - maxPending
	for _, pending := range cookies.all {
		isOver := !v.now().Before(pending.ExpiresAt)
		isExpected := pending.State == session.Returned && !isOver || v.services.Progress(pending) == payments.Processing
		switch {
		case excess <= 0 && count <= 0:
			return nil
		case pending.State == session.Kept, isExpected, count <= 0 && !isOver:
			continue
		}
		switch _, err := v.tokens.Cache.OfSession(v.r.Context(), pending.Session); {
		case errors.Is(err, ledger.ErrNotFound):
			v.dropPending(pending)
			count--
			excess -= cookies.bytes / len(cookies.all)
		case err != nil:
			return err
		}
	}
	if excess > minPendingBytes {
		return refusal{page.View{Kind: page.TooManyPurchases}}
	}
	return nil
}

// dropLapsed drops the cookies of purchases that have ended, and returns their size in bytes. They are kept for a while
// in case another device extends the purchase.
func (v *Visit) dropLapsed() (size int) {
	for name, value := range gate.AccessCookies(v.r.Header["Cookie"]) {
		if _, err := v.tokens.Cache.Verify(value, v.site.Origin, v.now()); errors.Is(err, token.ErrLapsed) {
			cookie := v.site.ExpiredCookie(name) //nolint:gosec // Secure unless the site is plain http on localhost
			for _, path := range append([]string{"/"}, urlpath.CookiePaths(v.address)...) {
				cookie.Path = path
				http.SetCookie(v.w, cookie)
			}
			size += len(name) + len(value)
		}
	}
	return size
}
