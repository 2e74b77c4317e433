package paywall

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/page"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/token"
)

// Bounds of the cookies of one browser. Caddy refuses requests with more than 16 KB of
// headers, and the site has cookies of its own.
const (
	maxPending      = 40       // that are looked at
	maxPendingBytes = 9 << 10  // that are kept: about 24 checkouts under way
	minPendingBytes = 2 << 10  // that are kept beside purchases
	maxBoughtBytes  = 10 << 10 // of access cookies beyond which no single thing is sold
	wholePassBytes  = 1 << 10  // beyond that, for what may replace many single things
)

// roomTimeout bounds how long one visit asks the ledger what may be forgotten.
const roomTimeout = 2 * time.Second

// excess is by how many bytes pending cookies are too many.
func (p pendingCookies) excess() int {
	return p.bytes - max(minPendingBytes, maxPendingBytes-p.bought)
}

// makeRoom makes sure that one more checkout and its purchase have room in the browser's
// requests, or says what to show: with a cookie too many the whole site would refuse
// them.
func (v *visit) makeRoom(o offered) *page.View {
	limit := maxBoughtBytes
	if o.resource == terms.WholePass {
		limit += wholePassBytes
	}
	if v.extends == nil && !v.forProgram && v.pending.bought > limit { // a program has no cookie of it
		v.forgetEnded()
		if v.pending.bought > limit {
			return &page.View{Kind: page.NoRoom}
		}
	}
	excess, err := v.forgetOldest()
	switch {
	case err != nil:
		v.complainUnreadable(err)
		return &page.View{Kind: page.PaymentSafe, CheckURL: urlpath.FullTarget(v.address), RetryAfter: 5 * time.Second}
	case excess > minPendingBytes:
		return &page.View{Kind: page.TooMany, NextURL: v.target, RetryAfter: v.firstEnd()}
	}
	return nil
}

// forgetEnded drops the cookies of purchases that have ended. They are kept for a while,
// for the case that another device extends them.
func (v *visit) forgetEnded() {
	eachAccessCookie(v.r.Header["Cookie"], func(name, value string) bool {
		if _, err := v.app.access.Verify(value, v.site.origin, now()); errors.Is(err, token.ErrLapsed) {
			cookie := v.site.cookie(name, "", time.Time{}) //nolint:gosec // it deletes one, and sets its attributes
			for _, path := range append([]string{"/"}, urlpath.CookiePaths(v.address)...) {
				cookie.Path = path
				http.SetCookie(v.w, cookie)
			}
			v.pending.bought -= len(name) + len(value)
		}
		return true
	})
}

// forgetOldest drops cookies of checkouts that have ended without a payment: cancelled
// ones first, those that the visitor came back from last. None goes that may still be
// paid, or has been. It returns by how many bytes they are too many in the end.
func (v *visit) forgetOldest() (excess int, err error) {
	excess = v.pending.excess()
	ctx, cancel := context.WithTimeout(v.r.Context(), roomTimeout)
	defer cancel()
	for _, state := range []session.State{session.Cancelled, session.Started, session.Returned} {
		for _, entry := range v.pending.all {
			if excess <= 0 {
				return excess, nil
			}
			if entry.State != state || v.app.stageOf(entry) == processing || state != session.Cancelled && now().Before(entry.ExpiresAt) {
				continue
			}
			_, err := v.app.access.OfSession(ctx, entry.Session)
			switch {
			case errors.Is(err, ledger.ErrNotFound):
				v.dropPending(v.w, v.site, entry)
				excess -= v.pending.bytes / len(v.pending.all)
			case err != nil:
				return excess, err
			}
		}
	}
	return excess, nil
}

// firstEnd is how long it takes until a checkout under way ends.
func (v *visit) firstEnd() time.Duration {
	for _, entry := range v.pending.all { // oldest first
		if left := entry.ExpiresAt.Sub(now()); left > 0 {
			return min(left, time.Hour)
		}
	}
	return time.Minute
}
