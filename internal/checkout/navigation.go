package checkout

import (
	"net/http"
	"strings"

	"github.com/mileusna/useragent"

	"github.com/caddy-axra/paywall/internal/admission"
	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/urlpath"
)

// isNavigation reports whether a person's browser is about to show the response as a page. Prefetches, sub-resources,
// programs and crawlers are not. It reads Fetch metadata (https://www.w3.org/TR/fetch-metadata/), where a browser sends
// it. A missed crawler costs one unpaid session, a person taken for one a click.
func isNavigation(r *http.Request) bool {
	mode, dest, agent := r.Header.Get("Sec-Fetch-Mode"), r.Header.Get("Sec-Fetch-Dest"), r.UserAgent()
	switch {
	case r.Method != http.MethodGet || !acceptsHTML(r):
		return false
	case admission.IsPrefetch(r), r.Header.Get("Upgrade") != "":
		return false
	case strings.EqualFold(r.Header.Get("X-Requested-With"), "XMLHttpRequest"):
		// Android browsers inside other apps send the app's package name, for every navigation.
		return false
	case len(agent) <= 1024 && agent != "" && useragent.Parse(agent).Bot:
		return false
	}
	switch dest {
	case "", "document":
		return mode == "" || mode == "navigate"
	case "empty":
		return mode == "navigate" // a service worker that calls fetch(event.request)
	}
	return false
}

// isPurchaseForm reports whether a request submits a checkout button.
func (v *Visit) isPurchaseForm() bool {
	return v.r.Method == http.MethodPost && acceptsHTML(v.r) && v.has(urlpath.ParamCheckout)
}

// isPageRequest reports whether the response may be a page for a person, whatever else the headers say.
func (v *Visit) isPageRequest() bool {
	return v.r.Method == http.MethodGet && acceptsHTML(v.r) || v.isPurchaseForm()
}

// mayStartCheckout reports whether a person asks: by a navigation, or by a form that is not another site's.
func (v *Visit) mayStartCheckout() bool {
	return isNavigation(v.r) || v.isPurchaseForm() && !v.isFromAnotherSite()
}

// isFromAnotherSite reports whether a browser says that another site sent the request. Browsers without Fetch
// metadata name the origin, or "null" where a page's Referrer-Policy hides it.
func (v *Visit) isFromAnotherSite() bool {
	if from := v.r.Header.Get("Sec-Fetch-Site"); from != "" {
		return from != "same-origin" && from != "none"
	}
	from := v.r.Header.Get("Origin")
	return from != "" && from != "null" && gate.HostOf(from) != gate.HostOf(v.site.Origin)
}

func acceptsHTML(r *http.Request) bool {
	accepted := strings.ToLower(strings.Join(r.Header.Values("Accept"), ","))
	return strings.Contains(accepted, "text/html") || strings.Contains(accepted, "application/xhtml+xml") ||
		strings.Contains(accepted, "*/*") && r.Header.Get("Sec-Fetch-Mode") == "navigate"
}
