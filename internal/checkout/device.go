package checkout

import (
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/mileusna/useragent"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/page"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/token"
)

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
	return site.Origin + urlpath.WithParams(target, urlpath.ParamDevice, raw), err
}

// deviceLink returns the claims of the device link that the visitor came by; zero if it is not valid.
func (v *Visit) deviceLink() (claims deviceClaims) {
	_, err := v.tokens.Keys.Verify(token.Device, v.get(urlpath.ParamDevice), &claims)
	if err != nil || claims.Scope != deviceScope(v.site) {
		return deviceClaims{}
	}
	return claims
}

// purchaseToOpen returns the purchase that the device link, or the session's id, of the address opens on this device now.
func (v *Visit) purchaseToOpen() (purchase ledger.Holding, details ledger.Details, err error) {
	link, isLink, sessionID, refused := v.deviceLink(), v.has(urlpath.ParamDevice), v.sessionID(), refusal{v.linkRefusedPage()}
	if !isLink {
		// It is the same whatever the reason, and has no link to the page, which would lead to another checkout.
		refused = refusal{page.View{Kind: page.ClaimLater, FormURL: v.takeoverForm()}}
		if sessionID != "" {
			link.Purchase, err = ledger.PurchaseID(sessionID), v.allow(v.services.Takeovers) // each costs a look into the ledger
		}
	}
	if link.Purchase == "" {
		err = refused
	}
	if err == nil {
		purchase, err = v.tokens.Cache.Of(v.r.Context(), link.Purchase)
	}
	if err == nil {
		details, err = v.services.Ledger.Details(v.r.Context(), link.Purchase)
	}
	// A person who has a device that was removed may have the links that were made before as well.
	precedesRemoval := slices.ContainsFunc(details.Devices, func(d ledger.Device) bool {
		return isLink && !d.RemovedAt.IsZero() && (link.IssuedAt == nil || link.IssuedAt.Before(d.RemovedAt))
	})
	// As long as the browser that started the checkout is waited for.
	mayBeTaken := v.now().Sub(purchase.CreatedAt) <= session.PendingLife && slices.ContainsFunc(details.Payments, func(p ledger.Payment) bool {
		return p.SessionID == sessionID && p.Terms.Claim
	})
	switch status := purchase.StatusAt(v.now()); {
	case errors.Is(err, ledger.ErrNotFound):
		err = refused
	case err != nil:
	case !v.opens(purchase), status == ledger.Expired, precedesRemoval, !isLink && status != ledger.Active:
		err = refused
	case status != ledger.Active:
		err = refusal{v.closedPage(status, purchase.ID)}
	case v.openedBy(purchase.Product) != nil:
		err = errHasAccess // somebody else's purchase must not take the place of the visitor's own
	case !isLink && !mayBeTaken:
		err = refused
	}
	return purchase, details, err
}

// askDevice asks whether to open the purchase on this device. It shows a form, since a preview of the link must not add
// a device.
func (v *Visit) askDevice() error {
	purchase, details, err := v.purchaseToOpen()
	used, limit := len(purchase.DeviceIDs), purchase.DeviceLimit
	if err == nil && used >= limit {
		err = v.deviceError(ledger.ErrNoneLeft, purchase, v.linkRefusedPage())
	}
	if err != nil {
		return v.showError(err)
	}
	view := page.View{
		Kind: page.Device, NextURL: v.target, Purchase: page.Purchase{Devices: used, DevicesLimit: limit},
		FormURL: urlpath.WithParams(v.target, urlpath.ParamDevice, v.get(urlpath.ParamDevice), urlpath.ParamDeviceID, v.newFormID()),
	}
	if pricesPaid(details.Payments) == "" {
		view.Kind = page.Gift
	}
	return v.showPage(view)
}

// device describes this client to the buyer who looks at a list of devices.
func (v *Visit) device(id string) ledger.Device {
	device, agent := ledger.Device{ID: id}, v.r.UserAgent()
	if agent != "" && len(agent) <= 1024 {
		parsed := useragent.Parse(agent)
		device.Label = parsed.Name
		if parsed.OS != "" {
			device.Label += ", " + parsed.OS
		}
	}
	return device
}

// addDevice makes this browser, or program, one of the devices of a purchase.
func (v *Visit) addDevice(purchaseID, deviceID string) error {
	return v.services.Ledger.AddDevice(v.r.Context(), purchaseID, v.device(deviceID))
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
	// This node's memory may be older than a change by another.
	details, err := v.services.Ledger.Details(v.r.Context(), purchase.ID)
	if err != nil {
		return err
	}
	if status := details.StatusAt(v.now()); status != ledger.Expired && status != ledger.Active {
		refused = v.closedPage(status, purchase.ID)
	}
	return refusal{refused}
}

// A takeover gives a purchase to a browser other than the one that started the checkout: the first that knows the
// session's unguessable id, once. On phones, banking apps often return to a different browser.

// sessionID returns what may be a session's id in the address.
func (v *Visit) sessionID() string {
	id := v.get(urlpath.ParamSession)
	if len(id) > 256 || url.QueryEscape(id) != id {
		return ""
	}
	return id
}

// askTakeover responds at the success URL of a checkout that another browser has started: it explains, and offers to go
// on here. It says the same whatever the id, and looks nothing up.
func (v *Visit) askTakeover() error {
	if !v.config.Takeover {
		return v.showPage(page.View{Kind: page.NotYours, NextURL: v.target})
	}
	return v.showPage(page.View{Kind: page.Claim, NextURL: v.target, FormURL: v.takeoverForm()})
}

func (v *Visit) takeoverForm() string {
	return urlpath.WithParams(v.target, urlpath.ParamSession, v.sessionID(), urlpath.ParamDeviceID, v.newFormID())
}

// newFormID returns the id of the device that a form makes, with the time: a browser that sends a form twice is one
// device.
func (v *Visit) newFormID() string { return rand.Text() + strconv.FormatInt(v.now().Unix(), 10) }

var formID = regexp.MustCompile(`^[0-9A-Za-z]{6,54}([0-9]{10})$`)

// handleDeviceForm makes this browser a device of a purchase.
func (v *Visit) handleDeviceForm() error {
	id := v.get(urlpath.ParamDeviceID)
	parts := formID.FindStringSubmatch(id)
	from, origin := v.r.Header.Get("Sec-Fetch-Site"), v.r.Header.Get("Origin")
	isForeign := from != "" && from != "same-origin" || from == "" && origin != "" && origin != v.site.Origin
	if parts == nil || isForeign {
		return v.problem(http.StatusForbidden, "Open the page itself and use its button.")
	}
	made, _ := strconv.ParseInt(parts[1], 10, 64)
	age := v.now().Sub(time.Unix(made, 0))
	isFresh := age >= -time.Minute && age <= 10*time.Minute // the address of a form must not be as good as its device
	isLink := v.has(urlpath.ParamDevice)
	switch {
	case isLink && !isFresh:
		return v.askDevice()
	case !isLink && (!isFresh || !v.config.Takeover):
		return v.askTakeover()
	}
	purchase, _, err := v.purchaseToOpen()
	message := "purchase opened on another device"
	if isLink && err == nil {
		err = v.deviceError(v.addDevice(purchase.ID, id), purchase, v.linkRefusedPage())
	} else if err == nil {
		message = "purchase taken over by another browser"
		err = v.services.Ledger.Claim(v.r.Context(), purchase.ID, v.device(id))
		if err != nil && !errors.Is(err, ledger.ErrUnavailable) {
			err = refusal{page.View{Kind: page.ClaimLater, FormURL: v.takeoverForm()}}
		}
	}
	if err != nil {
		return v.showError(err)
	}
	v.services.Metrics.CountUsed(purchase.ID, purchase.Product)
	v.flow.logger.Info(message, zap.String("purchase", ledger.Reference(purchase.ID)), zap.String("pass", purchase.Product))
	return v.admit(v.accessOf(purchase, id))
}
