package paywall

import (
	"crypto/rand"
	"errors"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/page"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/token"
)

// DefaultDevices is on how many devices a purchase may be used.
const DefaultDevices = 3

// maxDevices: each device is a record of its own.
const maxDevices = 1000

// deviceLife is how long the address for another device works. The receipt gives
// fresh ones.
const deviceLife = 24 * time.Hour

// deviceClaims are the token in the address for another device.
type deviceClaims struct {
	jwt.RegisteredClaims
	Session string `json:"s"` // of the purchase
	Pass    string `json:"p"` // of the purchase
	Scope   string `json:"o"` // the site
}

// linkedPurchase is the session that the address for another device names; "" where
// it names none.
func (v *visit) linkedPurchase() string { return v.readDeviceLink().Session }

// readDeviceLink is what the address for another device says; nothing where it is not
// good.
func (v *visit) readDeviceLink() deviceClaims {
	var claims deviceClaims
	err := v.app.keyring.Verify(token.Device, v.params.Get(paramDevice), &claims)
	if err != nil || claims.Scope != deviceScope(v.site) {
		return deviceClaims{}
	}
	return claims
}

// isOfAnother reports whether a device link is for another purchase than the one that
// has let the visitor in.
func (v *visit) isOfAnother(known *verified) bool {
	purchase := v.linkedPurchase()
	return purchase != "" && purchase != known.Session
}

// devicesOf is on how many devices a purchase may be used, the one that paid
// included.
func devicesOf(sold terms.Terms) int {
	if sold.Devices == 0 {
		return DefaultDevices // sold before it was recorded
	}
	return sold.Devices
}

// devicesUsed counts the devices of a purchase.
func (v *visit) devicesUsed(grant ledger.Grant) (int, error) {
	others := placesOf(grant)
	payer := devicesOf(grant.Terms) - others
	if others < 1 {
		return payer, nil
	}
	taken, err := v.app.ledger.Taken(v.r.Context(), ledger.Device, grant.Session, others)
	return taken + payer, err
}

// placesOf is how many browsers may use a purchase beside the one that paid; nobody
// paid for what was given.
func placesOf(grant ledger.Grant) int {
	if ledger.IsGiven(grant.Session) {
		return devicesOf(grant.Terms)
	}
	return devicesOf(grant.Terms) - 1
}

// purchaseToShare is the purchase of a device link, if it opens this page now.
// Otherwise the visitor has been answered.
func (v *visit) purchaseToShare() (*ledger.Grant, error) {
	purchase := v.linkedPurchase()
	if purchase == "" {
		return nil, v.showView(page.View{Kind: page.DeviceRefused, NextURL: v.target})
	}
	grant, err := v.app.grants.of(v.r.Context(), purchase)
	switch {
	case err != nil && !errors.Is(err, ledger.ErrNotPaid):
		return nil, v.unreadable(err)
	case err == nil && grant.ClosedFor != "" && v.opens(grant):
		v.found.closed, v.found.session = grant.ClosedFor, purchase
		return nil, v.showClosed()
	case err != nil, !grant.Open(now()), !v.opens(grant):
		return nil, v.showView(page.View{Kind: page.DeviceRefused, NextURL: v.target})
	case v.openBy(grant.Terms.Pass) != nil:
		// Somebody else's purchase must not take the place of the visitor's own.
		return nil, v.arrive()
	}
	return &grant, nil
}

// askDevice asks whether the purchase is to be opened on this device. A preview of
// the link must not take a place, so the answer is a form.
func (v *visit) askDevice() error {
	grant, err := v.purchaseToShare()
	if grant == nil {
		return err
	}
	used, err := v.devicesUsed(*grant)
	if err != nil {
		return v.unreadable(err)
	}
	limit := devicesOf(grant.Terms)
	if used >= limit {
		countLimit(limitDevices)
		return v.showView(page.View{Kind: page.DeviceFull, NextURL: v.target, Devices: used, DevicesLimit: limit})
	}
	kind := page.Device
	if ledger.IsGiven(grant.Session) {
		kind = page.Gift
	}
	return v.showView(page.View{
		Kind: kind, NextURL: v.target, Devices: used, DevicesLimit: limit,
		FormURL: withParams(v.target, paramDevice, v.params.Get(paramDevice), paramPlace, rand.Text()),
	})
}

func (v *visit) takeDevice(holder string) error {
	grant, err := v.purchaseToShare()
	if grant == nil {
		return err
	}
	limit := devicesOf(grant.Terms)
	refused := page.View{Kind: page.DeviceFull, NextURL: v.target, Devices: limit, DevicesLimit: limit}
	others := placesOf(*grant)
	if others < 1 {
		return v.showView(refused)
	}
	slot, err := v.app.ledger.Take(v.r.Context(), ledger.Device, grant.Session, others, holder, now())
	switch {
	case errors.Is(err, ledger.ErrNoneLeft):
		countLimit(limitDevices)
		return v.showView(refused)
	case err != nil:
		return v.unreadable(err)
	}
	v.logger.Info("purchase opened on another device", zap.String("session", shorten(grant.Session)),
		zap.String("pass", grant.Terms.Pass), zap.Int("device", slot+limit-others))
	return v.admitPlace(*grant, place{ledger.Device, slot, holder})
}
