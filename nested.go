package paywall

import (
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/preflight"
	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/ledger"
)

// A request that two gates cover needs both, and each sells by itself. That is probably a mistake,
// so the owner is warned.

// isForAnotherGate reports whether the parameters that a gate has added to the address name a
// product or a checkout that is not this gate's. Programs send one token, so they buy nothing
// behind a gate.
func (v *visit) isForAnotherGate(known *access.Token) bool {
	if !acceptsHTML(v.r) && !v.isPoll() {
		return false
	}
	switch id := v.params.Get(urlpath.ParamSession); {
	case v.params.Get(urlpath.ParamCheckout) != "":
		return v.saleOf(v.params.Get(urlpath.ParamCheckout)) == nil
	case v.params.Get(urlpath.ParamReceipt) != "":
		return v.saleOf(v.params.Get(urlpath.ParamReceipt)) == nil
	case v.params.Has(urlpath.ParamDevice):
		pass := v.readDeviceLink().Pass
		return pass != "" && v.saleOf(pass) == nil
	case id != "":
		return v.pendingFor(id) == nil && !v.hasToken(id)
	case v.params.Has(urlpath.ParamCancelled):
		return len(v.readPending(v.r, v.site).here) == 0
	case v.params.Has(urlpath.ParamRestart):
		return !v.isUsedUp(known)
	}
	return false
}

// hasToken reports whether the browser has an access token of this gate for a checkout session.
func (v *visit) hasToken(session string) bool {
	found := false
	v.eachPresented(v.r, v.site, arrived(v.r), func(entry *access.Token) bool {
		found = entry.Purchase == ledger.PurchaseID(session)
		return !found
	})
	return found
}

// warnNested tells the owner of two gates that cover one request.
func (a *App) warnNested(servers map[string]*caddyhttp.Server) {
	if len(a.allGates()) < 2 {
		return
	}
	for _, two := range preflight.Overlaps(servers, describer()) {
		a.logger.Warn("two gates cover one request, so visitors pay twice, which is probably a mistake: "+
			"exempt the path in the matcher of one of them with `not path`",
			zap.Strings("gates", []string{two.Outer.Name, two.Inner.Name}), zap.String("host", two.Host), zap.String("path", two.Path))
	}
}
