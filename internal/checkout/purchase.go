package checkout

import (
	"crypto/rand"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
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

// Links gives buyers private addresses, which open one page, file or feed each without a cookie: for download managers,
// feed readers and podcast players. Anyone who has such a link uses the purchase until it ends or is refunded.
type Links struct {
	// For is how long a link works, such as `1h` for downloads. The default is as
	// long as access lasts, as feeds need it; ten years are the most.
	For caddy.Duration `json:"for,omitempty"`
}

// ErrLinksSyntax says how links are written.
var ErrLinksSyntax = errors.New("links is written once, with a length of time up to ten years or without: " +
	"write `links 1h`, or `links` for as long as access lasts")

// Check reports whether links can last that long; the error names the fix.
func (l *Links) Check() error {
	if l != nil && (l.For < 0 || time.Duration(l.For) > token.LongestLife) {
		return ErrLinksSyntax
	}
	return nil
}

// PrivateAddress returns the private address to a target of the site. The ledger knows when access ends before it does.
func (f *Flow) PrivateAddress(site *gate.Site, known *access.Token, target string) (string, error) {
	now := f.services.Tokens.Clock.Now()
	// It is the same for a year: feed readers take an episode with another address for a new one.
	expires := now.Add(token.LongestLife).Truncate(365 * 24 * time.Hour)
	if life := time.Duration(f.config.Links.For); life > 0 {
		expires = now.Add(life)
	}
	return f.services.Tokens.PrivateAddress(site, known.Access, target, expires)
}

// showReceipt shows what the visitor has bought and the ways to use it.
func (v *Visit) showReceipt(known *access.Token) error {
	if found := v.findPayments(known); found.paid != nil {
		return v.redeem(*found.paid) // an extension whose tab was closed
	}
	if chosen := v.openedBy(v.get(urlpath.ParamReceipt)); chosen != nil {
		known = chosen
	}
	details, err := v.services.Ledger.Details(v.r.Context(), known.Purchase)
	if err != nil {
		return v.showError(err)
	}
	view := page.View{
		Kind: page.Receipt, NextURL: v.target, Description: details.Product, Reference: ledger.Reference(details.ID),
		Price: pricesPaid(details.Payments),
		Purchase: page.Purchase{
			Bought: details.CreatedAt, Until: details.EndsAt, Forever: details.EndsAt.IsZero(),
			Downloads: details.DownloadsUsed, DownloadsLimit: details.DownloadLimit,
		},
	}
	if product := v.gate.Product(details.Product); product != nil && product.Config.Description != "" {
		view.Description = gate.Replace(v.r, product.Config.Description)
	}
	if view.Price == "" {
		view.Kind, view.Bought = page.Given, time.Time{}
	}
	if v.hasNoDownloadLeft(details.Purchase) {
		return v.showPage(view) // nothing is left for other devices or programs
	}
	if err := v.describeWays(&view, known, details); err != nil {
		return v.showError(err)
	}
	return v.showPage(view)
}

// describeWays adds the ways to use a purchase: for longer, on another device, and without cookies.
func (v *Visit) describeWays(view *page.View, known *access.Token, details ledger.Details) (err error) {
	if _, err := v.extendable(known); err == nil {
		if quote, err := v.gate.Product(known.Pass).Quote(v.r); err == nil {
			view.ExtendURL = urlpath.WithParams(v.target, urlpath.ParamCheckout, known.Pass, urlpath.ParamExtend, "1")
			view.ExtendFor = v.describePrice(quote)
		}
	}
	view.Devices, view.DevicesLimit = devicesInUse(details.Devices), details.DeviceLimit
	if view.Devices < view.DevicesLimit {
		view.DeviceUntil = v.now().Add(24 * time.Hour) // the receipt gives fresh ones
		if view.DeviceURL, err = DeviceLink(v.tokens, v.site, details.Purchase, v.target, view.DeviceUntil); err != nil {
			return err
		}
	}
	if links := v.config.Links; links != nil {
		view.LinkURL, err = v.flow.PrivateAddress(v.site, known, v.target)
		if links.For > 0 {
			view.LinkUntil = v.now().Add(time.Duration(links.For))
		}
	}
	return err
}

// pricesPaid lists what was paid, in the order of payment; empty if nothing was.
func pricesPaid(payments []ledger.Payment) string {
	var prices []string
	for _, payment := range payments {
		if payment.Source == ledger.FromAxra && !payment.Mismatch {
			prices = append(prices, payment.Paid.String())
		}
	}
	return strings.Join(prices, " + ")
}

// extendable returns the purchase of a token if what is on sale now gives it more time; errHasAccess if not.
func (v *Visit) extendable(known *access.Token) (ledger.Purchase, error) {
	bought, err := v.tokens.Cache.Of(v.r.Context(), known.Purchase)
	if err != nil {
		return ledger.Purchase{}, err
	}
	product := v.gate.Product(known.Pass)
	resource, err := product.Resource(v.r)
	switch {
	case err != nil || resource != bought.Resource || bought.StatusAt(v.now()) != ledger.Active,
		product.Config.Retired || product.Config.Downloads > 0,
		bought.EndsAt.IsZero() || bought.DownloadLimit > 0,
		bought.EndsAt.Add(product.Access.Length()).Year() > 9999: // which terms cannot say
		return ledger.Purchase{}, errHasAccess
	}
	return bought.Purchase, nil
}

// deviceClaims are the claims of a device link's token.
type deviceClaims struct {
	jwt.RegisteredClaims
	Purchase string `json:"s"`
	Pass     string `json:"p"`
	Site     string `json:"o"`
}

// DeviceLink returns the address that opens a purchase on another device, at a page of the site.
func DeviceLink(tokens *gate.Tokens, site *gate.Site, purchase ledger.Purchase, target string, expires time.Time) (string, error) {
	raw, err := tokens.Keys.Sign(token.Device, deviceClaims{
		RegisteredClaims: jwt.RegisteredClaims{IssuedAt: jwt.NewNumericDate(tokens.Clock.Now()), ExpiresAt: jwt.NewNumericDate(expires)},
		Purchase:         purchase.ID, Pass: purchase.Product, Site: site.Origin,
	})
	return site.Origin + urlpath.WithParams(target, urlpath.ParamDevice, raw), err
}

// deviceLink returns the claims of the device link that the visitor came by; zero if it is not valid.
func (v *Visit) deviceLink() (claims deviceClaims) {
	_, err := v.tokens.Keys.Verify(token.Device, v.get(urlpath.ParamDevice), &claims)
	if err != nil || claims.Site != v.site.Origin {
		return deviceClaims{}
	}
	return claims
}

// purchaseOfLink returns the purchase that the device link of the address opens on this device now.
func (v *Visit) purchaseOfLink() (ledger.Details, error) {
	link := v.deviceLink()
	if link.Purchase == "" {
		return ledger.Details{}, refusal{v.closedPage(ledger.Active, "")}
	}
	details, err := v.services.Ledger.Details(v.r.Context(), link.Purchase)
	// A person who has a device that was removed may have the links that were made before as well.
	precedesRemoval := slices.ContainsFunc(details.Devices, func(d ledger.Device) bool {
		return !d.RemovedAt.IsZero() && (link.IssuedAt == nil || link.IssuedAt.Before(d.RemovedAt))
	})
	switch status := details.StatusAt(v.now()); {
	case errors.Is(err, ledger.ErrNotFound), err == nil && (precedesRemoval || !v.opens(details.Purchase)):
		err = refusal{v.closedPage(ledger.Active, "")}
	case err != nil:
	case status != ledger.Active:
		err = refusal{v.closedPage(status, details.ID)}
	case v.openedBy(details.Product) != nil:
		err = errHasAccess // somebody else's purchase must not take the place of the visitor's own
	}
	return details, err
}

// askDevice asks whether to open the purchase on this device. It shows a form, since a preview of the link must not add
// a device.
func (v *Visit) askDevice() error {
	details, err := v.purchaseOfLink()
	used, limit := devicesInUse(details.Devices), details.DeviceLimit
	if err == nil && used >= limit {
		err = v.deviceError(ledger.ErrNoneLeft, details.Purchase)
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

func devicesInUse(devices []ledger.Device) int {
	return len(slices.DeleteFunc(slices.Clone(devices), func(d ledger.Device) bool { return !d.RemovedAt.IsZero() }))
}

// device describes this client to the buyer who looks at a list of devices.
func (v *Visit) device(id string) ledger.Device {
	device := ledger.Device{ID: id}
	if agent := v.r.UserAgent(); len(agent) <= 1024 {
		parsed := useragent.Parse(agent)
		device.Label = strings.Trim(parsed.Name+", "+parsed.OS, ", ")
	}
	return device
}

// addDevice makes this browser, or program, one of the devices of a purchase.
func (v *Visit) addDevice(purchaseID, deviceID string) error {
	return v.services.Ledger.AddDevice(v.r.Context(), purchaseID, v.device(deviceID))
}

// deviceError turns an error of adding a device into the page that explains it: that the device is refused, that there
// are too many, or that the purchase has been closed since it was looked up.
func (v *Visit) deviceError(err error, purchase ledger.Purchase) error {
	switch {
	case errors.Is(err, ledger.ErrNoneLeft):
		v.services.Metrics.CountLimit(LimitDevices)
		limit := purchase.DeviceLimit
		return refusal{page.View{Kind: page.DeviceFull, NextURL: v.target, Purchase: page.Purchase{Devices: limit, DevicesLimit: limit}}}
	case errors.Is(err, ledger.ErrNotFound):
		return refusal{v.closedPage(ledger.Active, "")}
	case !errors.Is(err, ledger.ErrInactive):
		return err
	}
	// This node's memory may be older than a change by another.
	details, err := v.services.Ledger.Details(v.r.Context(), purchase.ID)
	if err != nil {
		return err
	}
	return refusal{v.closedPage(details.StatusAt(v.now()), purchase.ID)}
}

// A claim gives a purchase to a browser other than the one that started the checkout: the first that knows the
// session's unguessable id, once. On phones, banking apps often return to a different browser.

// askClaim responds at the success URL of a checkout that another browser has started: it explains, and offers to go
// on here. It says the same whatever the id, and looks nothing up.
func (v *Visit) askClaim() error {
	if !v.config.Claim {
		return v.showPage(page.View{Kind: page.NotYours, NextURL: v.target})
	}
	return v.showPage(page.View{Kind: page.Claim, NextURL: v.target, FormURL: v.claimForm()})
}

func (v *Visit) claimForm() string {
	return urlpath.WithParams(v.target, urlpath.ParamSession, v.get(urlpath.ParamSession), urlpath.ParamDeviceID, v.newFormID())
}

// claim makes this browser the one device that takes over the purchase of the session in the address.
func (v *Visit) claim(deviceID string) (ledger.Details, error) {
	// It is the same whatever the reason, and has no link to the page, which would lead to another checkout.
	refused := refusal{page.View{Kind: page.ClaimLater, FormURL: v.claimForm()}}
	if err := v.allow(v.services.Claims); err != nil { // each costs a look into the ledger
		return ledger.Details{}, err
	}
	sessionID := v.get(urlpath.ParamSession)
	details, err := v.services.Ledger.Details(v.r.Context(), ledger.PurchaseID(sessionID))
	wasSoldSo := slices.ContainsFunc(details.Payments, func(p ledger.Payment) bool {
		return p.SessionID == sessionID && p.Terms.Claim
	})
	isRecent := v.now().Sub(details.CreatedAt) <= session.PendingLife // as long as its own browser is waited for
	switch {
	case err != nil:
	case !v.opens(details.Purchase) || !wasSoldSo || !isRecent:
		err = refused
	case v.openedBy(details.Product) != nil:
		err = errHasAccess
	default:
		err = v.services.Ledger.Claim(v.r.Context(), details.ID, v.device(deviceID))
	}
	if errors.Is(err, ledger.ErrNotFound) || errors.Is(err, ledger.ErrInactive) || errors.Is(err, ledger.ErrNoneLeft) {
		err = refused
	}
	return details, err
}

// newFormID returns the id of the device that a form makes, with the time: a browser that sends a form twice is one
// device.
func (v *Visit) newFormID() string { return rand.Text() + strconv.FormatInt(v.now().Unix(), 10) }

var formID = regexp.MustCompile(`^[0-9A-Za-z]{6,54}([0-9]{10})$`)

// handleDeviceForm makes this browser a device of a purchase.
func (v *Visit) handleDeviceForm() error {
	id := v.get(urlpath.ParamDeviceID)
	parts := formID.FindStringSubmatch(id)
	if parts == nil || v.isFromAnotherSite() || v.r.Header.Get("Origin") == "null" {
		return v.problem(http.StatusForbidden, "Open the page itself and use its button.")
	}
	made, _ := strconv.ParseInt(parts[1], 10, 64)
	age := v.now().Sub(time.Unix(made, 0))
	isFresh := age >= -time.Minute && age <= 10*time.Minute // the address of a form must not be as good as its device
	var details ledger.Details
	var err error
	switch {
	case v.has(urlpath.ParamDevice) && !isFresh:
		return v.askDevice()
	case v.has(urlpath.ParamDevice):
		if details, err = v.purchaseOfLink(); err == nil {
			err = v.deviceError(v.addDevice(details.ID, id), details.Purchase)
		}
	case !isFresh || !v.config.Claim:
		return v.askClaim()
	default:
		details, err = v.claim(id)
	}
	if err != nil {
		return v.showError(err)
	}
	v.services.Metrics.CountUsed(details.ID, details.Product)
	v.flow.logger.Info("purchase opened on another device",
		zap.String("purchase", ledger.Reference(details.ID)), zap.String("pass", details.Product))
	return v.admit(v.accessOf(details.Purchase, id))
}
