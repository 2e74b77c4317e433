package checkout

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/mileusna/useragent"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/page"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/token"
)

// deviceLinkLife is how long a device link works. The receipt gives fresh ones.
const deviceLinkLife = 24 * time.Hour

// deviceLabel describes a device to the buyer who looks at a list of them.
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

// deviceClaims are the claims of a device link's token.
type deviceClaims struct {
	jwt.RegisteredClaims
	Purchase string `json:"s"`
	Pass     string `json:"p"`
	Scope    string `json:"o"` // the site
}

func deviceScope(site *gate.Site) string { return session.Scope(site.Origin, "device", "") }

// DeviceLink returns the address that opens a purchase on another device, at a page of the site.
func DeviceLink(tokens *gate.Tokens, site *gate.Site, purchase ledger.Purchase, target string, expires time.Time) (string, error) {
	raw, err := tokens.Keys.Sign(token.Device, deviceClaims{
		RegisteredClaims: jwt.RegisteredClaims{IssuedAt: jwt.NewNumericDate(tokens.Clock.Now()), ExpiresAt: jwt.NewNumericDate(expires)},
		Purchase:         purchase.ID, Pass: purchase.Product, Scope: deviceScope(site),
	})
	if err != nil {
		return "", err
	}
	return site.Origin + urlpath.WithParams(target, urlpath.ParamDevice, raw), nil
}

// deviceLink returns the claims of the device link that the visitor came by; zero if it is not valid.
func (v *Visit) deviceLink() deviceClaims {
	var claims deviceClaims
	err := v.flow.services.Tokens.Keys.Verify(token.Device, v.get(urlpath.ParamDevice), &claims)
	if err != nil || claims.Scope != deviceScope(v.site) {
		return deviceClaims{}
	}
	return claims
}

// precedesRemoval reports whether a device was removed since the link was made: whoever has that device may have the
// link as well.
func (c deviceClaims) precedesRemoval(devices []ledger.Device) bool {
	return slices.ContainsFunc(devices, func(d ledger.Device) bool {
		return !d.RemovedAt.IsZero() && (c.IssuedAt == nil || c.IssuedAt.Before(d.RemovedAt))
	})
}

// isOfAnother reports whether a device link is for another purchase than that of the token.
func (v *Visit) isOfAnother(entry *access.Token) bool {
	purchase := v.deviceLink().Purchase
	return purchase != "" && purchase != entry.Purchase
}

// linkedPurchase returns the purchase of a device link if it opens this page now; done means that the visitor has been
// answered instead.
func (v *Visit) linkedPurchase() (purchase ledger.Holding, done bool, err error) {
	link := v.deviceLink()
	refused := page.View{Kind: page.DeviceRefused, NextURL: v.target}
	if link.Purchase == "" {
		return purchase, true, v.showPage(refused)
	}
	purchase, err = v.flow.services.Tokens.Cache.Of(v.r.Context(), link.Purchase)
	if errors.Is(err, ledger.ErrNotFound) {
		return purchase, true, v.showPage(refused)
	}
	var devices []ledger.Device
	if err == nil {
		devices, err = v.flow.services.Ledger.Devices(v.r.Context(), link.Purchase)
	}
	if err != nil {
		return purchase, true, v.showUnreadable(err)
	}
	switch status := purchase.StatusAt(v.flow.now()); {
	case !v.opens(purchase), status == ledger.Expired, link.precedesRemoval(devices):
		return purchase, true, v.showPage(refused)
	case status != ledger.Active:
		return purchase, true, v.showClosed(purchase.Status, purchase.ID)
	case v.openedBy(purchase.Product) != nil:
		// Another buyer's purchase must not replace the visitor's own.
		return purchase, true, v.redirectToTarget()
	}
	return purchase, false, nil
}

// askDevice asks whether to open the purchase on this device. A preview of the link must not add a device, so the answer
// is a form.
func (v *Visit) askDevice() error {
	purchase, done, err := v.linkedPurchase()
	if done {
		return err
	}
	used, limit := len(purchase.DeviceIDs), purchase.DeviceLimit
	if used >= limit {
		return v.showPage(v.devicesFull(purchase))
	}
	details, err := v.flow.services.Ledger.Details(v.r.Context(), purchase.ID)
	if err != nil {
		return v.showUnreadable(err)
	}
	kind := page.Device
	if pricesPaid(details.Payments) == "" {
		kind = page.Gift
	}
	return v.showPage(page.View{
		Kind: kind, NextURL: v.target, Purchase: page.Purchase{Devices: used, DevicesLimit: limit},
		FormURL: urlpath.WithParams(v.target, urlpath.ParamDevice, v.get(urlpath.ParamDevice), urlpath.ParamDeviceID, newFormID(v.flow.now())),
	})
}

func (v *Visit) devicesFull(purchase ledger.Holding) page.View {
	v.flow.services.Metrics.CountLimit(LimitDevices)
	return page.View{Kind: page.DeviceFull, NextURL: v.target, Purchase: page.Purchase{Devices: purchase.DeviceLimit, DevicesLimit: purchase.DeviceLimit}}
}

func (v *Visit) addDevice(purchaseID, deviceID string) error {
	return v.flow.services.Ledger.AddDevice(v.r.Context(), purchaseID, ledger.Device{ID: deviceID, Label: deviceLabel(v.r)})
}

// takeDevice makes the browser, or program, that paid one of the devices of a purchase. If it cannot be, it returns what
// to show.
func (v *Visit) takeDevice(purchase ledger.Holding, deviceID string) (refusal *page.View, err error) {
	err = ledger.ErrNoneLeft
	if v.flow.config.Takeover { // once the paying browser has the purchase, no other may take it over
		err = v.flow.services.Ledger.Claim(v.r.Context(), purchase.ID, ledger.ClaimFirst, ledger.Device{ID: deviceID, Label: deviceLabel(v.r)})
	}
	if errors.Is(err, ledger.ErrNoneLeft) {
		err = v.addDevice(purchase.ID, deviceID)
	}
	return v.deviceRefusal(purchase, err)
}

// deviceRefusal tells what to show about an error of adding a device from errors that mean that nothing is known.
func (v *Visit) deviceRefusal(purchase ledger.Holding, err error) (*page.View, error) {
	switch {
	case errors.Is(err, ledger.ErrNoneLeft):
		view := v.devicesFull(purchase)
		return &view, nil
	case errors.Is(err, ledger.ErrRemoved), errors.Is(err, ledger.ErrInactive), errors.Is(err, ledger.ErrNotFound):
		return &page.View{Kind: page.DeviceRefused, NextURL: v.target, Reference: ledger.Reference(purchase.ID)}, nil
	}
	return nil, err
}

// confirmDevice answers the form of askDevice.
func (v *Visit) confirmDevice(deviceID string) error {
	purchase, done, err := v.linkedPurchase()
	if done {
		return err
	}
	refusal, err := v.deviceRefusal(purchase, v.addDevice(purchase.ID, deviceID))
	switch {
	case err != nil:
		return v.showUnreadable(err)
	case refusal != nil:
		refusal.Reference = ""
		return v.showPage(*refusal)
	}
	v.flow.logger.Info("purchase opened on another device", zap.String("purchase", ledger.Reference(purchase.ID)), zap.String("pass", purchase.Product))
	return v.admitDevice(purchase, deviceID)
}

// admitDevice gives a browser that has become a device its token.
func (v *Visit) admitDevice(purchase ledger.Holding, deviceID string) error {
	issued := v.accessOf(purchase)
	issued.Device = deviceID
	if err := v.give(issued); err != nil {
		return v.showSafe()
	}
	return v.redirectToTarget()
}

// IsForm reports whether a request submits the form of a device or a takeover.
func IsForm(r *http.Request) bool {
	query := gate.OriginalURL(r).RawQuery
	return r.Method == http.MethodPost && strings.Contains(query, urlpath.ParamDeviceID) && urlpath.Params(query).Has(urlpath.ParamDeviceID)
}

// HandleForm makes this browser a device of a purchase.
func (v *Visit) HandleForm() error {
	id := v.get(urlpath.ParamDeviceID)
	isFresh := isFreshForm(id, v.flow.now())
	switch {
	case !v.isFromHere() || !isFormID(id):
		return v.problem(http.StatusForbidden, "Open the page itself and use its button.")
	case v.has(urlpath.ParamDevice) && !isFresh:
		return v.askDevice()
	case v.has(urlpath.ParamDevice):
		return v.confirmDevice(id)
	case !isFresh:
		return v.askTakeover()
	}
	return v.confirmTakeover(id)
}

// isFromHere reports whether a form was sent from a page of this site.
func (v *Visit) isFromHere() bool {
	if from := v.r.Header.Get("Sec-Fetch-Site"); from != "" {
		return from == "same-origin"
	}
	from := v.r.Header.Get("Origin")
	return from == "" || from == v.site.Origin
}
