package checkout

import (
	"crypto/rand"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/page"
	"github.com/caddy-axra/paywall/session"
)

// A takeover gives a purchase to a browser other than the one that started the checkout: the first that knows the
// session's unguessable id, once. On phones, banking apps often return to a different browser.

// takeoverLife is how long after the payment a purchase may be taken over: as long as the browser that started the
// checkout is waited for.
const takeoverLife = session.PendingLife

// maxSessionID is the length in bytes beyond which nothing is a session's id.
const maxSessionID = 256

// askTakeover explains to a visitor who returns from another browser's checkout, and offers to go on here. It says the
// same whatever the id, and looks nothing up.
func (v *Visit) askTakeover() error {
	return v.showPage(page.View{Kind: page.Claim, NextURL: v.target, FormURL: v.takeoverForm()})
}

func (v *Visit) takeoverForm() string {
	id := v.get(urlpath.ParamSession)
	if len(id) > maxSessionID {
		id = ""
	}
	return urlpath.WithParams(v.target, urlpath.ParamSession, id, urlpath.ParamDeviceID, newFormID(v.now()))
}

// confirmTakeover handles the form of askTakeover.
func (v *Visit) confirmTakeover(deviceID string) error {
	if !v.config.Takeover {
		return v.showPage(page.View{Kind: page.NotYours, NextURL: v.target})
	}
	purchase, err := v.takeOver(v.get(urlpath.ParamSession), deviceID)
	if err != nil {
		return v.showError(err)
	}
	v.services.Metrics.CountUsed(purchase.ID, purchase.Product)
	v.flow.logger.Info("purchase taken over by another browser", zap.String("purchase", ledger.Reference(purchase.ID)), zap.String("pass", purchase.Product))
	return v.admitDevice(purchase, deviceID)
}

// takeOver makes this browser a device of the purchase of a session, if it was sold so and no browser has taken it. The page
// says the same whatever the reason why not, and has no link to the page, which would lead to another checkout.
func (v *Visit) takeOver(sessionID, deviceID string) (purchase ledger.Holding, err error) {
	later := refusal{page.View{Kind: page.ClaimLater, FormURL: v.takeoverForm()}}
	if sessionID == "" || len(sessionID) > maxSessionID || url.QueryEscape(sessionID) != sessionID {
		return purchase, later
	}
	if err := v.allow(v.services.Takeovers); err != nil { // each costs a look into the ledger
		return purchase, err
	}
	purchase, err = v.tokens.Cache.OfSession(v.r.Context(), sessionID)
	switch now := v.now(); {
	case errors.Is(err, ledger.ErrNotFound):
		return purchase, later
	case err != nil:
		return purchase, err
	case purchase.StatusAt(now) != ledger.Active, !v.opens(purchase), now.Sub(purchase.CreatedAt) > takeoverLife:
		return purchase, later
	case v.openedBy(purchase.Product) != nil:
		return purchase, errHasAccess
	}
	payment, err := v.services.Ledger.Payment(v.r.Context(), sessionID)
	switch {
	case err != nil:
		return purchase, err
	case !payment.Terms.Claim:
		return purchase, later
	}
	if err = v.claim(purchase.ID, deviceID); err != nil && !errors.Is(err, ledger.ErrUnavailable) {
		err = later
	}
	return purchase, err
}

// formLife is how long a form makes the same device when it is sent again. Its address must not be as good as the
// device.
const formLife = 10 * time.Minute

// newFormID returns the id of the device that a form makes, with the time at its end.
func newFormID(now time.Time) string { return rand.Text() + strconv.FormatInt(now.Unix(), 10) }

// isFreshForm reports whether a form was made lately.
func isFreshForm(id string, now time.Time) bool {
	const digits = len("1796000000")
	made, err := strconv.ParseInt(id[max(0, len(id)-digits):], 10, 64)
	age := now.Sub(time.Unix(made, 0))
	return err == nil && age >= -time.Minute && age <= formLife
}

// isFormID bounds the id of a device in a form. A browser that sends a form twice sends the same id, and is one device.
func isFormID(id string) bool {
	return len(id) >= 16 && len(id) <= 64 && !strings.ContainsFunc(id, func(c rune) bool {
		return (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9')
	})
}
