package paywall

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/token"
)

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

// admitPlace gives the browser its token.
func (v *visit) admitPlace(grant ledger.Grant, place place) error {
	access := v.accessOf(grant)
	access.Device = place.String()
	if err := v.giveToken(v.w, v.r, v.site, access); err != nil {
		v.app.complain(v.logger, "an access token could not be signed", zap.Error(err))
		return v.showSafe()
	}
	return v.arrive()
}
