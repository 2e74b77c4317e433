package checkout

import (
	"errors"
	"net/http"
	"slices"
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
	_, err := v.tokens.Keys.Verify(token.Device, v.get(urlpath.ParamDevice), &claims)
	if err != nil || claims.Scope != deviceScope(v.site) {
		return deviceClaims{}
	}
	return claims
}

// precedesRemoval reports whether a device was removed since the link was made: a person who has that device may
// have the link as well.
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

// linkedPurchase returns the purchase of a device link that opens this page now.
func (v *Visit) linkedPurchase() (purchase ledger.Holding, details ledger.Details, err error) {
	link := v.deviceLink()
	refused := refusal{v.linkRefusedPage()}
	if link.Purchase == "" {
		return purchase, details, refused
	}
	if purchase, err = v.tokens.Cache.Of(v.r.Context(), link.Purchase); err == nil {
		details, err = v.services.Ledger.Details(v.r.Context(), link.Purchase)
	}
	switch status := purchase.StatusAt(v.now()); {
	case errors.Is(err, ledger.ErrNotFound):
		err = refused
	case err != nil:
	case !v.opens(purchase), status == ledger.Expired, link.precedesRemoval(details.Devices):
		err = refused
	case status != ledger.Active:
		err = refusal{v.closedPage(status, purchase.ID)}
	case v.openedBy(purchase.Product) != nil:
		err = errHasAccess // somebody else's purchase must not take the place of the visitor's own
	}
	return purchase, details, err
}

// askDevice asks whether to open the purchase on this device. A preview of the link must not add a device, so the page has
// a form.
func (v *Visit) askDevice() error {
	purchase, details, err := v.linkedPurchase()
	if err != nil {
		return v.showError(err)
	}
	used, limit := len(purchase.DeviceIDs), purchase.DeviceLimit
	if used >= limit {
		return v.showError(v.deviceError(ledger.ErrNoneLeft, purchase, v.linkRefusedPage()))
	}
	kind := page.Device
	if pricesPaid(details.Payments) == "" {
		kind = page.Gift
	}
	return v.showPage(page.View{
		Kind: kind, NextURL: v.target, Purchase: page.Purchase{Devices: used, DevicesLimit: limit},
		FormURL: urlpath.WithParams(v.target, urlpath.ParamDevice, v.get(urlpath.ParamDevice), urlpath.ParamDeviceID, newFormID(v.now())),
	})
}

func (v *Visit) device(id string) ledger.Device {
	return ledger.Device{ID: id, Label: deviceLabel(v.r)}
}

// addDevice makes this browser, or program, one of the devices of a purchase.
func (v *Visit) addDevice(purchaseID, deviceID string) error {
	return v.services.Ledger.AddDevice(v.r.Context(), purchaseID, v.device(deviceID))
}

// claim adds the device that no other may replace as the first of a purchase.
func (v *Visit) claim(purchaseID, deviceID string) error {
	return v.services.Ledger.Claim(v.r.Context(), purchaseID, v.device(deviceID))
}

// linkRefusedPage does not say which purchase the link is of: the visitor may not be its buyer.
func (v *Visit) linkRefusedPage() page.View {
	return page.View{Kind: page.DeviceRefused, NextURL: v.target}
}

// deviceError turns an error of adding a device into the page that explains it: that the device is refused, that there
// are too many, or that the purchase has been closed since it was looked up.
func (v *Visit) deviceError(err error, purchase ledger.Holding, refused page.View) error {
	switch {
	case errors.Is(err, ledger.ErrNoneLeft):
		v.services.Metrics.CountLimit(LimitDevices)
		limit := purchase.DeviceLimit
		return refusal{page.View{Kind: page.DeviceFull, NextURL: v.target, Purchase: page.Purchase{Devices: limit, DevicesLimit: limit}}}
	case errors.Is(err, ledger.ErrNotFound):
		return refusal{refused}
	case !errors.Is(err, ledger.ErrInactive):
		return err
	}
	status, err := v.statusInLedger(purchase.ID)
	switch {
	case err != nil:
		return err
	case status == ledger.Expired || status == ledger.Active:
		return refusal{refused}
	}
	return refusal{v.closedPage(status, purchase.ID)}
}

// statusInLedger reads the status of a purchase anew: this node's memory may be older than a change by another.
func (v *Visit) statusInLedger(purchaseID string) (ledger.Status, error) {
	details, err := v.services.Ledger.Details(v.r.Context(), purchaseID)
	return details.StatusAt(v.now()), err
}

// confirmDevice handles the form of askDevice.
func (v *Visit) confirmDevice(deviceID string) error {
	purchase, _, err := v.linkedPurchase()
	if err == nil {
		err = v.deviceError(v.addDevice(purchase.ID, deviceID), purchase, v.linkRefusedPage())
	}
	if err != nil {
		return v.showError(err)
	}
	v.flow.logger.Info("purchase opened on another device", zap.String("purchase", ledger.Reference(purchase.ID)), zap.String("pass", purchase.Product))
	return v.admitDevice(purchase, deviceID)
}

// admitDevice gives a browser that has become a device its token.
func (v *Visit) admitDevice(purchase ledger.Holding, deviceID string) error {
	if err := v.give(v.accessOf(purchase, deviceID)); err != nil {
		return v.showSafe()
	}
	return v.redirectToTarget()
}

// IsForm reports whether a request submits the form of a device or a takeover.
func IsForm(r *http.Request) bool {
	return r.Method == http.MethodPost && hasParam(r, urlpath.ParamDeviceID)
}

// HandleForm makes this browser a device of a purchase.
func (v *Visit) HandleForm() error {
	id := v.get(urlpath.ParamDeviceID)
	isFresh := isFreshForm(id, v.now())
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
