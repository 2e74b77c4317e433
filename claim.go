package paywall

import (
	"errors"
	"net/url"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/page"
	"github.com/caddy-axra/paywall/session"
)

// claimFirst is the one value of Handler.Claim.
const claimFirst = "first"

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
	return v.showView(page.View{Kind: page.Claim, NextURL: v.target, FormURL: v.claimAddress(newFormDeviceID())})
}

func (v *visit) claimAddress(deviceID string) string {
	id := v.params.Get(urlpath.ParamSession)
	if len(id) > maxClaim {
		id = ""
	}
	return urlpath.WithParams(v.target, urlpath.ParamSession, id, urlpath.ParamDeviceID, deviceID)
}

// takeClaim lets the first browser that knows the id of a session take its purchase, once, where it was sold so.
func (v *visit) takeClaim(deviceID string) error {
	id := v.params.Get(urlpath.ParamSession)
	// No link to the page: from here it would lead to another checkout.
	later := page.View{Kind: page.ClaimLater, FormURL: v.claimAddress(newFormDeviceID())}
	if v.Claim != claimFirst {
		return v.showView(page.View{Kind: page.NotYours, NextURL: v.target})
	}
	if id == "" || len(id) > maxClaim || url.QueryEscape(id) != id {
		return v.showView(later)
	}
	if wait, ok := v.app.claims.Allow(v.clientIP()); !ok { // each costs a look into the ledger
		return v.showView(page.View{Kind: page.TooMany, NextURL: v.target, RetryAfter: min(wait, time.Hour)})
	}
	purchase, err := v.app.access.OfSession(v.r.Context(), id)
	switch {
	case errors.Is(err, ledger.ErrNotFound):
		return v.showView(later)
	case err != nil:
		return v.unreadable(err)
	case purchase.StatusAt(now()) != ledger.Active, !v.opens(purchase), now().Sub(purchase.CreatedAt) > claimLife:
		return v.showView(later)
	case v.openBy(purchase.Product) != nil:
		return v.redirectToTarget() // it is open here already
	}
	payment, err := v.app.ledger.Payment(v.r.Context(), id)
	switch {
	case err != nil:
		return v.unreadable(err)
	case !payment.Terms.Claim:
		return v.showView(later)
	}
	err = v.app.ledger.Claim(v.r.Context(), purchase.ID, ledger.ClaimFirst, ledger.Device{ID: deviceID, Label: deviceLabel(v.r)})
	switch {
	case errors.Is(err, ledger.ErrUnavailable):
		return v.unreadable(err)
	case err != nil:
		return v.showView(later)
	}
	v.app.countUsed(purchase.ID, purchase.Product)
	v.logger.Info("purchase claimed by another browser", zap.String("purchase", reference(purchase.ID)), zap.String("pass", purchase.Product))
	return v.admitDevice(purchase, deviceID)
}
