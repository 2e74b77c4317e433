package paywall

import (
	"crypto/rand"
	"errors"
	"net/url"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/page"
	"github.com/caddy-axra/paywall/session"
)

// claimFirst is the one value of Handler.Claim.
const claimFirst = "first"

// originHolder is who has the claim of a purchase that the browser that started it
// has taken.
const originHolder = "origin"

// claimLife is how long after the payment it may be claimed: as long as the browser
// that started the checkout is waited for.
const claimLife = session.PendingLife

// maxClaim is the length in bytes beyond which nothing is a session's id.
const maxClaim = 256

func checkClaim(value string) error {
	if value != claimFirst {
		return errors.New("claim takes one word: write `claim first`")
	}
	return nil
}

// askClaim explains to who comes back from a checkout of another browser, and offers
// to go on here. It says the same whatever the id, and looks nothing up.
func (v *visit) askClaim() error {
	return v.showView(page.View{Kind: page.Claim, NextURL: v.target, FormURL: v.claimAddress(rand.Text())})
}

func (v *visit) claimAddress(holder string) string {
	id := v.params.Get(paramSession)
	if len(id) > maxClaim {
		id = ""
	}
	return withParams(v.target, paramSession, id, paramPlace, holder)
}

// takeClaim lets the first browser that knows the id of a session take its grant,
// once, where it was sold so.
func (v *visit) takeClaim(holder string) error {
	id := v.params.Get(paramSession)
	// No link to the page: from here it would lead to another checkout.
	later := page.View{Kind: page.ClaimLater, FormURL: v.claimAddress(rand.Text())}
	if v.Claim != claimFirst {
		return v.showView(page.View{Kind: page.NotYours, NextURL: v.target})
	}
	if id == "" || len(id) > maxClaim || url.QueryEscape(id) != id {
		return v.showView(later)
	}
	if wait, ok := v.app.claims.Allow(v.clientIP()); !ok { // each costs a look into storage
		return v.showView(page.View{Kind: page.TooMany, NextURL: v.target, RetryAfter: min(wait, time.Hour)})
	}
	grant, err := v.app.grants.of(v.r.Context(), id)
	switch {
	case errors.Is(err, ledger.ErrNotPaid):
		return v.showView(later)
	case err != nil:
		return v.unreadable(err)
	case !grant.Terms.Claim, !grant.Open(now()), !v.opens(grant), now().Sub(grant.At) > claimLife:
		return v.showView(later)
	case v.openBy(grant.Terms.Pass) != nil:
		return v.arrive() // it is open here already
	}
	slot, err := v.app.ledger.Take(v.r.Context(), ledger.Claimed, grant.Session, 1, holder, now())
	switch {
	case errors.Is(err, ledger.ErrNoneLeft):
		return v.showView(later)
	case err != nil:
		return v.unreadable(err)
	}
	v.app.countUsed(grant.Session, grant.Terms.Pass)
	v.logger.Info("purchase claimed by another browser",
		zap.String("session", shorten(grant.Session)), zap.String("pass", grant.Terms.Pass))
	return v.admitPlace(grant, place{ledger.Claimed, slot, holder})
}
