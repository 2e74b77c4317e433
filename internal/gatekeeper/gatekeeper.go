// Package gatekeeper decides what becomes of a request at a gate: it passes if the gate does not cover it, a buyer is
// admitted, and anybody else gets what leads to a purchase.
package gatekeeper

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/admission"
	"github.com/caddy-axra/paywall/internal/checkout"
	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/response"
	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/page"
	"github.com/caddy-axra/paywall/terms"
)

// Gatekeeper guards the handlers behind one gate.
type Gatekeeper struct {
	Gate      *gate.Gate
	Admission *admission.Admission
	Flow      *checkout.Flow
	// KeysReady reports whether the signing keys are loaded; it may wait a moment for them.
	KeysReady  func(context.Context) bool
	LogLimited func(message string, fields ...zap.Field)
}

// ServeHTTP decides whether a request is the gate's business.
func (k *Gatekeeper) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	hasParams := hasGateParams(r)
	k.Admission.RequestHeaders.Strip(r)
	query := r.URL.RawQuery
	// From here on, matchers, keys and the handlers behind see the query that the browser wanted. What the gate has
	// added is read from the original address.
	r.URL.RawQuery, _ = urlpath.CleanQuery(query)
	coverage, err := k.Gate.Matcher.Coverage(r)
	switch {
	case err != nil:
		// It is answered here, because a `handle_errors` could serve the very file.
		k.LogLimited("a matcher of the gate failed; the request is refused", zap.Error(err))
		return k.Flow.ShowPage(w, r, page.View{Kind: page.Misconfigured})
	case coverage == gate.NotCovered:
		r.URL.RawQuery = query
		admission.CleanReferer(r)
		admission.SetToken(r, nil)
		return next.ServeHTTP(w, r)
	case coverage == gate.Ambiguous:
		return k.Flow.ShowPage(w, r, page.View{Kind: page.BadAddress})
	}
	if hasParams {
		admission.CleanPlaceholders(r) // for keys and prices that read them
	}
	site, done, err := k.prepare(w, r)
	if done {
		return err
	}
	return k.decide(w, r, next, site, hasParams)
}

// hasGateParams reports whether the gate may have added something to an address of the request.
func hasGateParams(r *http.Request) bool {
	if urlpath.MayHaveParams(gate.OriginalURL(r).RawQuery) {
		return true
	}
	referer := r.Header["Referer"] // Get would canonicalise the name
	return len(referer) > 0 && urlpath.MayHaveParams(referer[0])
}

// prepare finds the site of a request that the gate covers, or answers one that cannot be decided.
func (k *Gatekeeper) prepare(w http.ResponseWriter, r *http.Request) (site *gate.Site, done bool, err error) {
	switch {
	case k.Gate.IsAmbiguous(r):
		return nil, true, k.Flow.ShowPage(w, r, page.View{Kind: page.BadAddress})
	case isOversized(r):
		return nil, true, k.Flow.ShowPage(w, r, page.View{Kind: page.TooLong, Status: http.StatusRequestHeaderFieldsTooLarge})
	case !k.KeysReady(r.Context()):
		return nil, true, k.Flow.ShowPage(w, r, page.View{Kind: page.PaymentSafe, RetryAfter: 5 * time.Second})
	}
	site = k.Gate.Site(r)
	if site == nil {
		k.LogLimited("add site_url to the gate: visitors cannot be sent back", zap.String("host", r.Host))
		return nil, true, k.Flow.ShowPage(w, r, page.View{Kind: page.Misconfigured})
	}
	if address := k.Gate.CleanAddress(r); address != nil {
		response.Redirect(w, urlpath.FullTarget(address))
		return nil, true, nil
	}
	return site, false, nil
}

// maxHeaderBytes limits the request header if the owner allows more than Caddy's own 16 KB.
const maxHeaderBytes = 128 << 10

// isOversized reports whether a request has a larger header than the gate reads. Few servers let so much in.
func isOversized(r *http.Request) bool {
	if server := gate.ServerOf(r); server != nil && server.MaxHeaderBytes > 0 && server.MaxHeaderBytes <= maxHeaderBytes {
		return false
	}
	total := 0
	for name, values := range r.Header {
		for _, value := range values {
			total += len(name) + len(value)
		}
	}
	return total > maxHeaderBytes
}

// decide serves whoever has access, and hands everybody else to the flow.
func (k *Gatekeeper) decide(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, site *gate.Site, hasParams bool) error {
	decision, token := k.Gate.FindToken(r, site)
	if k.Gate.IsBehindScript(r) && (decision != access.Open || token.Resource != terms.AllPaths) {
		return k.Flow.ShowPage(w, r, page.View{Kind: page.BadAddress})
	}
	if hasParams {
		if decision == access.Open && token.Link == "" && k.Flow.Visit(w, r, site, next).IsForAnotherGate(token) {
			return k.serve(w, r, next, site, token) // with the parameters, which a gate behind reads
		}
		next = withoutGateParams(next)
		if done, err := k.Flow.Visit(w, r, site, next).HandleParams(decision, token); done {
			return err
		}
	}
	if decision != access.Open {
		return k.Flow.Visit(w, r, site, next).HandleUnpaid(decision, token)
	}
	return k.serve(w, r, next, site, token)
}

// serve serves what is behind the gate.
func (k *Gatekeeper) serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, site *gate.Site, token *access.Token) error {
	err := k.Admission.Serve(w, r, next, site, token)
	switch {
	case !errors.Is(err, admission.ErrRefused):
		return err
	case errors.Is(err, admission.ErrPrefetch):
		return response.Problem(w, r, http.StatusServiceUnavailable, "A prefetch does not count as a download. Open the file itself.", time.Second)
	}
	return k.Flow.Visit(w, r, site, next).RefuseDownload(token, err)
}

func withoutGateParams(next caddyhttp.Handler) caddyhttp.Handler {
	return caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		return next.ServeHTTP(w, admission.WithoutGateParams(r))
	})
}
