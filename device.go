package paywall

import (
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/mileusna/useragent"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/admin"
	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/page"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/token"
)

// DefaultDevices is on how many devices a purchase may be used.
const DefaultDevices = 3

const maxDevices = admin.MaxDevices

// deviceLife is how long the address for another device works. The receipt gives
// fresh ones.
const deviceLife = 24 * time.Hour

// newDeviceID names a browser or a program that is about to use a purchase.
func newDeviceID() string { return rand.Text() }

// deviceLabel says what a device is, for the buyer who looks at a list of them.
func deviceLabel(r *http.Request) string {
	agent := r.UserAgent()
	if agent == "" || len(agent) > 1024 {
		return ""
	}
	parsed := useragent.Parse(agent)
	if parsed.OS == "" {
		return parsed.Name
	}
	return parsed.Name + ", " + parsed.OS
}

// deviceClaims are the token in the address for another device.
type deviceClaims struct {
	jwt.RegisteredClaims
	Purchase string `json:"s"`
	Pass     string `json:"p"`
	Scope    string `json:"o"` // the site
}

// linkedPurchase is the purchase that the address for another device names; "" where
// it names none.
func (v *visit) linkedPurchase() string { return v.readDeviceLink().Purchase }

// readDeviceLink is what the address for another device says; nothing where it is not
// good.
func (v *visit) readDeviceLink() deviceClaims {
	var claims deviceClaims
	err := v.app.keyring.Verify(token.Device, v.params.Get(urlpath.ParamDevice), &claims)
	if err != nil || claims.Scope != deviceScope(v.site) {
		return deviceClaims{}
	}
	return claims
}

// isOlderThanRemovals reports whether a device was removed since the link was made: whoever has that device may
// have the link as well.
func (c deviceClaims) isOlderThanRemovals(devices []ledger.Device) bool {
	return slices.ContainsFunc(devices, func(d ledger.Device) bool {
		return !d.RemovedAt.IsZero() && (c.IssuedAt == nil || c.IssuedAt.Before(d.RemovedAt))
	})
}

// isOfAnother reports whether a device link is for another purchase than the one that
// has let the visitor in.
func (v *visit) isOfAnother(known *access.Token) bool {
	purchase := v.linkedPurchase()
	return purchase != "" && purchase != known.Purchase
}

// purchaseToShare is the purchase of a device link, if it opens this page now.
// Otherwise the visitor has been answered.
func (v *visit) purchaseToShare() (*ledger.Holding, error) {
	id := v.linkedPurchase()
	if id == "" {
		return nil, v.showView(page.View{Kind: page.DeviceRefused, NextURL: v.target})
	}
	purchase, err := v.app.access.Of(v.r.Context(), id)
	isKnown := !errors.Is(err, ledger.ErrNotFound)
	var devices []ledger.Device
	if err == nil {
		devices, err = v.app.ledger.Devices(v.r.Context(), id)
	}
	switch {
	case err != nil && isKnown:
		return nil, v.unreadable(err)
	case !isKnown, !v.opens(purchase), purchase.StatusAt(now()) == ledger.Expired, v.readDeviceLink().isOlderThanRemovals(devices):
		return nil, v.showView(page.View{Kind: page.DeviceRefused, NextURL: v.target})
	case purchase.StatusAt(now()) != ledger.Active:
		v.found.closed, v.found.purchaseID = purchase.Status, id
		return nil, v.showClosed()
	case v.openBy(purchase.Product) != nil:
		// Somebody else's purchase must not take the place of the visitor's own.
		return nil, v.redirectToTarget()
	}
	return &purchase, nil
}

// askDevice asks whether the purchase is to be opened on this device. A preview of
// the link must not add one, so the answer is a form.
func (v *visit) askDevice() error {
	purchase, err := v.purchaseToShare()
	if purchase == nil {
		return err
	}
	used, limit := len(purchase.DeviceIDs), purchase.DeviceLimit
	if used >= limit {
		countLimit(limitDevices)
		return v.showView(page.View{Kind: page.DeviceFull, NextURL: v.target, Purchase: page.Purchase{Devices: used, DevicesLimit: limit}})
	}
	bought, err := v.app.ledger.Details(v.r.Context(), purchase.ID)
	if err != nil {
		return v.unreadable(err)
	}
	kind := page.Device
	if pricesOf(bought.Payments) == "" {
		kind = page.Gift
	}
	return v.showView(page.View{
		Kind: kind, NextURL: v.target, Purchase: page.Purchase{Devices: used, DevicesLimit: limit},
		FormURL: urlpath.WithParams(v.target, urlpath.ParamDevice, v.params.Get(urlpath.ParamDevice), urlpath.ParamDeviceID, newFormDeviceID()),
	})
}

func (v *visit) takeDevice(deviceID string) error {
	purchase, err := v.purchaseToShare()
	if purchase == nil {
		return err
	}
	err = v.app.ledger.AddDevice(v.r.Context(), purchase.ID, ledger.Device{ID: deviceID, Label: deviceLabel(v.r)})
	switch {
	case errors.Is(err, ledger.ErrNoneLeft):
		countLimit(limitDevices)
		return v.showView(page.View{Kind: page.DeviceFull, NextURL: v.target, Purchase: page.Purchase{Devices: purchase.DeviceLimit, DevicesLimit: purchase.DeviceLimit}})
	case errors.Is(err, ledger.ErrRemoved), errors.Is(err, ledger.ErrInactive), errors.Is(err, ledger.ErrNotFound):
		return v.showView(page.View{Kind: page.DeviceRefused, NextURL: v.target})
	case err != nil:
		return v.unreadable(err)
	}
	v.logger.Info("purchase opened on another device", zap.String("purchase", reference(purchase.ID)), zap.String("pass", purchase.Product))
	return v.admitDevice(*purchase, deviceID)
}

// admitDevice gives a browser that has become a device its token.
func (v *visit) admitDevice(purchase ledger.Holding, deviceID string) error {
	granted := v.accessOf(purchase)
	granted.Device = deviceID
	if err := v.giveToken(v.w, v.r, v.site, granted); err != nil {
		v.app.complain(v.logger, "an access token could not be signed", zap.Error(err))
		return v.showSafe()
	}
	return v.redirectToTarget()
}

// isForm reports whether a request is the button of one of our pages.
func isForm(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.Contains(originalURL(r).RawQuery, urlpath.ParamDeviceID) &&
		urlpath.Params(originalURL(r).RawQuery).Has(urlpath.ParamDeviceID)
}

// answerForm makes this browser a device of a purchase.
func (v *visit) answerForm() error {
	id := v.params.Get(urlpath.ParamDeviceID)
	switch {
	case !v.isFromHere() || !isDeviceID(id):
		return v.sendProblem(http.StatusForbidden, "Open the page itself and use its button.")
	case v.params.Has(urlpath.ParamDevice) && !isFreshForm(id):
		return v.askDevice()
	case v.params.Has(urlpath.ParamDevice):
		return v.takeDevice(id)
	case !isFreshForm(id):
		return v.askClaim()
	}
	return v.takeClaim(id)
}

// isFromHere reports whether a form was sent from a page of this site.
func (v *visit) isFromHere() bool {
	if from := v.r.Header.Get("Sec-Fetch-Site"); from != "" {
		return from == "same-origin"
	}
	from := v.r.Header.Get("Origin")
	return from == "" || from == v.site.origin
}

// formLife is how long a form makes the same device when it is sent again. Its address must not be as good as
// the device.
const formLife = 10 * time.Minute

// newFormDeviceID is a device's id in a form, with the time at its end.
func newFormDeviceID() string { return newDeviceID() + strconv.FormatInt(now().Unix(), 10) }

// isFreshForm reports whether a form was made lately.
func isFreshForm(id string) bool {
	const digits = len("1796000000")
	made, err := strconv.ParseInt(id[max(0, len(id)-digits):], 10, 64)
	age := now().Sub(time.Unix(made, 0))
	return err == nil && age >= -time.Minute && age <= formLife
}

// isDeviceID bounds the id of a device in a form. A browser that sends a form twice sends the same
// id, and is one device.
func isDeviceID(id string) bool {
	return len(id) >= 16 && len(id) <= 64 && !strings.ContainsFunc(id, func(c rune) bool {
		return (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9')
	})
}

// deviceAddress opens the purchase in another browser, at a page of the site.
func (a *App) deviceAddress(site site, purchase ledger.Purchase, target string, expires time.Time) (string, error) {
	raw, err := a.keyring.Sign(token.Device, deviceClaims{
		RegisteredClaims: jwt.RegisteredClaims{IssuedAt: jwt.NewNumericDate(now()), ExpiresAt: jwt.NewNumericDate(expires)},
		Purchase:         purchase.ID, Pass: purchase.Product, Scope: deviceScope(site),
	})
	if err != nil {
		return "", err
	}
	return site.origin + urlpath.WithParams(target, urlpath.ParamDevice, raw), nil
}

func deviceScope(site site) string { return session.Scope(site.origin, "device", "") }
