package checkout

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/gate"
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

// without returns the checkouts whose purchase is not that of the token.
func without(entries []session.Pending, entry *access.Token) []session.Pending {
	return slices.DeleteFunc(slices.Clone(entries), func(p session.Pending) bool {
		return entry != nil && ledger.PurchaseID(p.Session) == entry.Purchase
	})
}

func (v *Visit) pendingPrefix() string { return v.site.CookiePrefix("/") + gate.CookieMark + "p_" }

func (v *Visit) readPending() pendingCookies {
	var found pendingCookies
	prefix, scopes, seen := v.pendingPrefix(), v.scopes(), 0
	for _, cookie := range v.r.Cookies() {
		size := len(cookie.Name) + len(cookie.Value)
		if gate.IsAccessCookie(cookie.Name) {
			found.accessBytes += size
		}
		if !strings.HasPrefix(cookie.Name, prefix) || seen >= 2*maxPending {
			continue
		}
		seen++
		entry, err := session.DecodePending(v.tokens.Keys, cookie.Value)
		if err != nil || entry.CookieName(prefix) != cookie.Name {
			continue
		}
		found.all = append(found.all, entry)
		found.bytes += size
	}
	slices.SortStableFunc(found.all, func(a, b session.Pending) int { return a.ExpiresAt.Compare(b.ExpiresAt) })
	for _, entry := range found.all {
		if scopes[entry.Scope] {
			found.here = append(found.here, entry)
		}
	}
	return found
}

// scopes are what a checkout may be for if its payment opens the gate to the request: everything, or one resource.
func (v *Visit) scopes() map[string]bool {
	scopes := make(map[string]bool)
	for _, p := range v.gate.Products {
		resources := []string{terms.AllPaths, gate.PathResource(v.r)}
		if own, err := p.Resource(v.r); err == nil {
			resources = append(resources, own)
		}
		for _, resource := range resources {
			scopes[session.Scope(v.site.Origin, p.Name, resource)] = true
		}
	}
	return scopes
}

func (v *Visit) keepPending(entry session.Pending) error {
	raw, err := entry.Encode(v.tokens.Keys)
	if err == nil {
		http.SetCookie(v.w, v.site.Cookie(entry.CookieName(v.pendingPrefix()), raw, entry.Expires().Sub(v.now())))
	}
	return err
}

// renewPending keeps a pending cookie that the browser has already. Without its new state the visitor loses little.
func (v *Visit) renewPending(entry session.Pending) {
	if err := v.keepPending(entry); err != nil {
		v.services.LogLimited("a pending cookie could not be renewed", zap.Error(err))
	}
}

func (v *Visit) dropPending(entry session.Pending) {
	http.SetCookie(v.w, v.site.ExpiredCookie(entry.CookieName(v.pendingPrefix())))
}

// returnedTo returns the checkout that the success URL names, if this browser started it.
func (v *Visit) returnedTo(entries []session.Pending) *session.Pending {
	return find(entries, func(entry session.Pending) bool { return entry.Session == v.get(urlpath.ParamSession) })
}

// find returns the first element that is accepted; nil if none is.
func find[T any](list []T, accept func(T) bool) *T {
	if i := slices.IndexFunc(list, accept); i >= 0 {
		return &list[i]
	}
	return nil
}

// isOwnReturn reports whether this browser returns from its own checkout, whatever it accepts.
func (v *Visit) isOwnReturn() bool {
	return v.r.Method == http.MethodGet && v.has(urlpath.ParamSession) && v.returnedTo(v.readPending().here) != nil
}

// expectedPayment returns the checkout for which a payment is to be expected.
func (v *Visit) expectedPayment(entries []session.Pending) *session.Pending {
	return find(entries, func(entry session.Pending) bool {
		return entry.State == session.Returned || v.services.Progress(entry) == Processing
	})
}

// lookup is what the ledger says about the checkouts that a browser has under way.
type lookup struct {
	paid     *paidCheckout
	unpaid   []session.Pending // those without a purchase
	closed   ledger.Status     // of a purchase that opens nothing any more
	closedID string            // of that purchase
	mismatch *session.Pending  // a payment was made, but not of the price
	err      error             // the ledger cannot tell
}

// paidCheckout is a checkout under way whose purchase opens the gate.
type paidCheckout struct {
	entry    session.Pending
	purchase ledger.Holding
}

// lookUp asks the ledger about every checkout under way, whose webhook may have been late or whose tab closed. So no
// visitor pays twice.
func (v *Visit) lookUp(entries []session.Pending) lookup {
	var found lookup
	for i := range entries {
		entry := &entries[i]
		purchase, err := v.tokens.Cache.OfSession(v.r.Context(), entry.Session)
		switch {
		case errors.Is(err, ledger.ErrNotFound):
			found.unpaid = append(found.unpaid, *entry)
			continue
		case err != nil:
			found.err = err
			return found // the database is in trouble: one attempt is enough
		case !v.opens(purchase):
			v.services.LogLimited("a payment was made for something else than its pending cookie says",
				zap.String("session", ledger.Reference(ledger.PurchaseID(entry.Session))))
			continue
		}
		switch status := purchase.StatusAt(v.now()); status {
		case ledger.Active:
			if entry.State == session.Kept && v.isSuperseded(purchase) {
				continue
			}
			found.paid = &paidCheckout{*entry, purchase}
			return found
		case ledger.Expired:
			v.dropPending(*entry)
		case ledger.Mismatched:
			if entry.State == session.Returned || v.get(urlpath.ParamSession) == entry.Session {
				found.mismatch = entry
			} else {
				found.unpaid = append(found.unpaid, *entry)
			}
		default:
			found.closed, found.closedID = status, purchase.ID
		}
	}
	return found
}

// isSuperseded reports whether another purchase opens the same for longer.
func (v *Visit) isSuperseded(purchase ledger.Holding) bool {
	entry := v.openedBy(purchase.Product)
	return entry != nil && entry.EndsAfter(v.accessOf(purchase, ""))
}

// opens reports whether a purchase is of what this gate asks for.
func (v *Visit) opens(purchase ledger.Holding) bool {
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

// budgetTimeout bounds how long one visit asks the ledger which checkouts may be forgotten.
const budgetTimeout = 2 * time.Second

// fitCookieBudget makes sure that one more checkout and its purchase fit into the browser's requests: with one cookie
// too many, the whole site would refuse the browser.
func (v *Visit) fitCookieBudget(quote gate.Quote, req checkoutRequest) error {
	limit := maxAccessBytes
	if quote.Resource == terms.AllPaths {
		limit += wholePassBytes
	}
	addsCookie := req.extends == nil && !req.forProgram
	if addsCookie && req.pending.accessBytes > limit && req.pending.accessBytes-v.dropLapsed() > limit {
		return refusal{page.View{Kind: page.TooManyPurchases}}
	}
	excess, err := v.dropOldest(req.pending)
	if err == nil && excess > minPendingBytes {
		err = refusal{page.View{Kind: page.TooManyPurchases}}
	}
	return err
}

// dropLapsed drops the cookies of purchases that have ended, and returns their size in bytes. They are kept for a while
// in case another device extends the purchase.
func (v *Visit) dropLapsed() (size int) {
	gate.EachAccessCookie(v.r.Header["Cookie"], func(name, value string) bool {
		if _, err := v.tokens.Cache.Verify(value, v.site.Origin, v.now()); errors.Is(err, token.ErrLapsed) {
			cookie := v.site.ExpiredCookie(name) //nolint:gosec // Secure unless the site is plain http on localhost
			for _, path := range append([]string{"/"}, urlpath.CookiePaths(v.address)...) {
				cookie.Path = path
				http.SetCookie(v.w, cookie)
			}
			size += len(name) + len(value)
		}
		return true
	})
	return size
}

// dropOldest drops the cookies of the checkouts that expire first, until there is room for one more. It drops none that
// was paid, or for which a payment may be under way, and open ones only beyond maxPending. It returns by how many bytes
// the others are too many.
func (v *Visit) dropOldest(pending pendingCookies) (excess int, err error) {
	excess = pending.bytes - max(minPendingBytes, maxCookieBytes-pending.accessBytes)
	count := len(pending.all) + 1 - maxPending
	ctx, cancel := context.WithTimeout(v.r.Context(), budgetTimeout)
	defer cancel()
	for _, entry := range pending.all {
		if excess <= 0 && count <= 0 {
			break
		}
		if isOver, mayBePaid := v.progressOf(entry); mayBePaid || !isOver && count <= 0 {
			continue
		}
		_, err := v.tokens.Cache.OfSession(ctx, entry.Session)
		switch {
		case errors.Is(err, ledger.ErrNotFound):
			v.dropPending(entry)
			count--
			excess -= pending.bytes / len(pending.all)
		case err != nil:
			return excess, err
		}
	}
	return excess, nil
}

// progressOf reports what is lost with the cookie of a checkout: nothing if it was cancelled or has expired.
func (v *Visit) progressOf(entry session.Pending) (isOver, mayBePaid bool) {
	hasExpired := !v.now().Before(entry.ExpiresAt)
	mayBePaid = entry.State == session.Kept || v.services.Progress(entry) == Processing || entry.State == session.Returned && !hasExpired
	return entry.State == session.Cancelled || hasExpired, mayBePaid
}
