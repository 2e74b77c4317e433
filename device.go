package paywall

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/page"
	"github.com/caddy-axra/paywall/session"
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

// place is the place of a browser among those of a purchase. The browser that paid
// has none.
type place struct {
	kind   ledger.Kind // ledger.Device or ledger.Claimed
	slot   int
	holder string
}

func (p place) String() string {
	return string(p.kind) + "/" + strconv.Itoa(p.slot) + "/" + p.holder
}

// parsePlace reads what an access token says about its device.
func parsePlace(text string) (place, error) {
	if text == "" {
		return place{}, nil
	}
	kind, rest, _ := strings.Cut(text, "/")
	slot, holder, _ := strings.Cut(rest, "/")
	number, err := strconv.Atoi(slot)
	p := place{kind: ledger.Kind(kind), slot: number, holder: holder}
	if err != nil || p.kind != ledger.Device && p.kind != ledger.Claimed {
		return place{}, fmt.Errorf("%w: a place %.40q", token.ErrInvalid, text)
	}
	return p, nil
}

// deviceClaims are the token in the address for another device.
type deviceClaims struct {
	jwt.RegisteredClaims
	Session string `json:"s"` // of the purchase
	Scope   string `json:"o"` // the site
}

func (v *visit) deviceScope() string { return session.Scope(v.site.origin, "device", "") }

// deviceAddress opens the purchase on another device, at the page where the visitor
// is.
func (v *visit) deviceAddress(purchase string) (string, error) {
	raw, err := v.app.shared.keyring.Sign(token.Device, deviceClaims{
		RegisteredClaims: jwt.RegisteredClaims{ExpiresAt: jwt.NewNumericDate(now().Add(deviceLife))},
		Session:          purchase, Scope: v.deviceScope(),
	})
	if err != nil {
		return "", err
	}
	return v.site.origin + withParams(v.target, paramDevice, raw), nil
}

// linkedPurchase is the session that the address for another device names; "" where
// it names none.
func (v *visit) linkedPurchase() string {
	var claims deviceClaims
	err := v.app.shared.keyring.Verify(token.Device, v.params.Get(paramDevice), &claims)
	if err != nil || claims.Scope != v.deviceScope() {
		return ""
	}
	return claims.Session
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
	others := devicesOf(grant.Terms) - 1
	if others < 1 {
		return 1, nil
	}
	taken, err := v.app.ledger.Taken(v.r.Context(), ledger.Device, grant.Session, others)
	return taken + 1, err
}

// purchaseToShare is the purchase of a device link, if it opens this page now.
// Otherwise the visitor has been answered.
func (v *visit) purchaseToShare() (*ledger.Grant, error) {
	purchase := v.linkedPurchase()
	if purchase == "" {
		return nil, v.showView(page.View{Kind: page.DeviceRefused, NextURL: v.target})
	}
	grant, err := v.app.ledger.Grant(v.r.Context(), purchase)
	switch {
	case err != nil && !errors.Is(err, ledger.ErrNotPaid):
		return nil, v.unreadable(err)
	case err == nil && grant.ClosedFor != "" && v.opens(grant):
		v.found.closed, v.found.payment = grant.ClosedFor, purchase
		return nil, v.showClosed()
	case err != nil, !grant.Open(now()), !v.opens(grant):
		return nil, v.showView(page.View{Kind: page.DeviceRefused, NextURL: v.target})
	case v.open(grant.Terms.Pass) != nil:
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
		return v.showView(page.View{Kind: page.DeviceFull, NextURL: v.target, Devices: used, DevicesLimit: limit})
	}
	return v.showView(page.View{
		Kind: page.Device, NextURL: v.target, Devices: used, DevicesLimit: limit,
		FormURL: withParams(v.target, paramDevice, v.params.Get(paramDevice), paramPlace, rand.Text()),
	})
}

// isForm reports whether a request is the button of one of our pages.
func isForm(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.Contains(originalURL(r).RawQuery, paramPlace) &&
		ownParams(originalURL(r).RawQuery).Has(paramPlace)
}

// answerForm gives this browser a place of a purchase.
func (v *visit) answerForm() error {
	holder := v.params.Get(paramPlace)
	switch {
	case !v.isFromHere() || !isHolder(holder):
		return v.sendProblem(http.StatusForbidden, "Open the page itself and use its button.")
	case v.params.Has(paramDevice):
		return v.takeDevice(holderNow(holder))
	default:
		return v.takeClaim(holderNow(holder))
	}
}

// holderNow ends the time within which a form that is sent again gets the same place:
// its address must not be as good as the place.
func holderNow(name string) string {
	return name + "-" + strconv.FormatInt(now().Truncate(10*time.Minute).Unix(), 10)
}

// isFromHere reports whether a form was sent from a page of this site.
func (v *visit) isFromHere() bool {
	if from := v.r.Header.Get("Sec-Fetch-Site"); from != "" {
		return from == "same-origin"
	}
	from := v.r.Header.Get("Origin")
	return from == "" || from == v.site.origin
}

// isHolder bounds the name under which a browser takes a place. The browser that
// sends a form twice sends the same name, and gets one place.
func isHolder(name string) bool {
	return len(name) >= 16 && len(name) <= 64 && !strings.ContainsFunc(name, func(c rune) bool {
		return (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9')
	})
}

func (v *visit) takeDevice(holder string) error {
	grant, err := v.purchaseToShare()
	if grant == nil {
		return err
	}
	limit := devicesOf(grant.Terms)
	refused := page.View{Kind: page.DeviceFull, NextURL: v.target, Devices: limit, DevicesLimit: limit}
	if limit < 2 {
		return v.showView(refused)
	}
	slot, err := v.app.ledger.Take(v.r.Context(), ledger.Device, grant.Session, limit-1, holder, now())
	switch {
	case errors.Is(err, ledger.ErrNoneLeft):
		return v.showView(refused)
	case err != nil:
		return v.unreadable(err)
	}
	v.logger.Info("purchase opened on another device", zap.String("session", shorten(grant.Session)), zap.Int("device", slot+1))
	return v.admitPlace(*grant, place{ledger.Device, slot, holder})
}

// admitPlace gives the browser its token.
func (v *visit) admitPlace(grant ledger.Grant, place place) error {
	access := v.accessOf(grant)
	access.Device = place.String()
	if err := v.giveToken(v.w, v.r, v.site, access); err != nil {
		v.logger.Error("an access token could not be signed", zap.Error(err))
		return v.showSafe()
	}
	return v.arrive()
}

// unreadable answers a visitor who may have paid while the ledger cannot be read.
func (v *visit) unreadable(err error) error {
	v.app.complainStorage.Do(func() {
		v.logger.Error("the ledger cannot be read; nobody is asked to pay meanwhile", zap.Error(err))
	})
	return v.showSafe()
}
