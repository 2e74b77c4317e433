package checkout

import (
	"cmp"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/ledger"
)

// IsForAnotherGate reports whether the gate's parameters in the address name a product or a checkout that is not this
// gate's: a request that two gates cover needs both, and each sells by itself. Programs send one token, so they buy
// nothing behind another gate.
func (v *Visit) IsForAnotherGate(entry *access.Token) bool {
	if !acceptsHTML(v.r) && !IsPoll(v.r) {
		return false
	}
	product, id := cmp.Or(v.get(urlpath.ParamCheckout), v.get(urlpath.ParamReceipt), v.deviceLink().Pass), v.get(urlpath.ParamSession)
	switch {
	case product != "":
		return v.gate.Product(product) == nil
	case v.has(urlpath.ParamDevice):
		return false
	case id != "":
		return v.returnedTo(v.readPending().here) == nil && !v.hasTokenOf(id)
	case v.has(urlpath.ParamCancelled):
		return len(v.readPending().here) == 0
	case v.has(urlpath.ParamRestart):
		return !v.isUsedUp(entry)
	}
	return false
}

// hasTokenOf reports whether the browser has an access token of this gate for a checkout session.
func (v *Visit) hasTokenOf(sessionID string) bool {
	found := false
	v.gate.EachToken(v.r, v.site, v.now(), func(entry *access.Token) bool {
		found = entry.Purchase == ledger.PurchaseID(sessionID)
		return !found
	})
	return found
}
