package paywall

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	gates "github.com/caddy-axra/paywall/internal/gate"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func isGate(handler caddyhttp.MiddlewareHandler) bool {
	_, ok := handler.(*Handler)
	return ok
}

func isWebhook(handler caddyhttp.MiddlewareHandler) bool {
	_, ok := handler.(*Webhook)
	return ok
}

func isKeySet(handler caddyhttp.MiddlewareHandler) bool {
	_, ok := handler.(*JWKS)
	return ok
}

// checkAddresses finds out where visitors are sent back to after the checkout.
func (e *examination) checkAddresses() []finding {
	found := &remarks{check: "addresses"}
	if err := e.app.checkGates(); err != nil {
		found.fail("", "", "Caddy would not start: %s", err) // which says how to mend it
		return found.list
	}
	gates := e.spots(isGate)
	if len(gates) == 0 {
		found.warn("", "add `axra_paywall /premium/* { price 5.00 usd }` to a site, unless this Caddy only receives webhooks", "there is no gate")
	}
	seen := make(map[string]bool)
	for _, at := range gates {
		gate, _ := at.handler.(*Handler)
		origin := e.originOf(at, gate.siteURL)
		if key := origin + "\n" + at.host; !seen[key] {
			seen[key] = true
			e.checkOrigin(found, at, origin, gate.siteURL != "" || e.app.siteURL != "" && at.host == "")
		}
	}
	return found.orOK("visitors come back by https to a host that the configuration names")
}

// originOf is the public address of the site of a spot; own is what its gate says.
func (e *examination) originOf(at spot, own string) string {
	switch {
	case own != "":
		return own
	case at.host == "":
		return e.app.siteURL
	}
	ports := gates.ListenPorts(at.server)
	port := ""
	if len(ports) > 0 {
		port = ports[0]
	}
	return gates.OriginOf(strangersRequest(at.server, http.MethodGet, at.host, "/"), at.host, port)
}

func (e *examination) checkOrigin(found *remarks, at spot, origin string, configured bool) {
	host := gates.HostOf(origin)
	plain := len(at.server.TLSConnPolicies) == 0
	if gates.IsLoopback(host) {
		if e.isLive() {
			found.fail(origin, "give the site its public host name, or set `site_url https://…`", "a live key, and visitors are sent back to this machine")
		} else {
			found.warn(origin, "before going live, give the site its public host name", "only this machine can buy there")
		}
		return
	}
	if configured && at.host != "" && at.host != host {
		found.warn(origin, "make sure that whatever serves it passes requests on to "+at.host+", or correct site_url", "visitors of %s are sent back to another host", at.host)
	}
	if !plain {
		return
	}
	if !configured && e.app.siteURL == "" {
		found.warn(at.host, "remove `http://` from the site address, so that Caddy gets a certificate; behind a proxy that does TLS, set `site_url "+origin+"`",
			"it is served over plain HTTP, and visitors are sent back to %s, since the cookies need https", origin)
	}
	if !e.trustsProxies[at.server] {
		found.warn(origin, "name the proxy in the global option `servers { trusted_proxies static 10.0.0.0/8 }`",
			"something in front does TLS, and no trusted_proxies are set: all visitors would share one limit_per_client")
	}
}

func (e *examination) isLive() bool {
	key, err := resolveSecret("api_key", e.app.APIKey)
	return err == nil && keyMode(key, "bk_") == live
}

// isPrivate reports whether Axra cannot reach a host.
func isPrivate(host string) bool {
	if gates.IsLoopback(host) || slices.ContainsFunc([]string{".local", ".internal", ".lan", ".home.arpa", ".test"}, func(suffix string) bool { return strings.HasSuffix(host, suffix) }) {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsPrivate() || err != nil && !strings.Contains(host, ".")
}

// checkWebhook follows a delivery to the webhook.
func (e *examination) checkWebhook() []finding {
	found := &remarks{check: "webhook"}
	webhooks := e.spots(isWebhook)
	if len(webhooks) == 0 {
		e.missingWebhook(found)
		return found.list
	}
	reached := make(map[caddyhttp.MiddlewareHandler]bool)
	for _, at := range webhooks {
		before := len(found.list)
		address := e.checkDelivery(found, at)
		if len(found.list) == before && address != "" {
			reached[at.handler] = true
			found.ok(address, "no gate and no other handler stands before it; enter it in Axra")
		}
	}
	return found.list
}

func (e *examination) missingWebhook(found *remarks) {
	const fix = "add `axra_webhook /webhooks/axra` to the site"
	switch {
	case len(e.app.allGates()) == 0:
	case e.namesDatabase():
		found.warn("", fix+", unless another Caddy with the same `database` has it", "there is none here, so whoever pays waits until another Caddy hears of it")
	default:
		found.fail("", fix, "there is none: nobody who pays would get in")
	}
}

// checkDelivery returns the address of a webhook that is reached.
func (e *examination) checkDelivery(found *remarks, at spot) string {
	if at.isUnbounded() {
		found.fail(at.host, "give it a path: `axra_webhook /webhooks/axra`", "the webhook has no path, so that it answers every request of the site")
		return ""
	}
	var blocked *trail
	path := ""
	for _, candidate := range at.candidates(nil) {
		t := follow(at.server, http.MethodPost, at.host, candidate)
		if t.answer == at.handler {
			blocked, path = t, candidate
			break
		}
		if blocked == nil && at.fits(candidate) {
			blocked, path = t, candidate
		}
	}
	if blocked == nil {
		e.note("whether the webhook of %s is reached: its matchers are not about paths alone", at.host)
		return ""
	}
	e.explainDelivery(found, at, path, blocked)
	return e.webhookAddress(at, path)
}

// isUnbounded reports whether no matcher around the handler has a say on the path.
func (p spot) isUnbounded() bool {
	return !slices.ContainsFunc(p.chain, func(route *caddyhttp.Route) bool {
		return len(route.MatcherSets) > 0 && !slices.ContainsFunc(route.MatcherSets, isAboutHostsOnly)
	})
}

// isAboutHostsOnly reports whether a matcher lets all paths of a site through. What
// matchers of other kinds look at cannot be told.
func isAboutHostsOnly(set caddyhttp.MatcherSet) bool {
	return !slices.ContainsFunc(set, func(matcher any) bool {
		switch matcher.(type) {
		case *caddyhttp.MatchHost, caddyhttp.MatchHost, *caddyhttp.MatchMethod, caddyhttp.MatchMethod,
			*caddyhttp.MatchProtocol, caddyhttp.MatchProtocol:
			return false
		case *caddyhttp.MatchPath, caddyhttp.MatchPath:
			return len(samplesOfSets(caddyhttp.MatcherSets{{matcher}})) > 0
		}
		return true
	})
}

// checkKeySets finds key sets that answer in place of the site.
func (e *examination) checkKeySets() []finding {
	found := &remarks{check: "key set"}
	spots := e.spots(isKeySet)
	for _, at := range spots {
		if at.isUnbounded() {
			found.fail(at.host, "give it a path: `axra_jwks /.well-known/jwks.json`", "axra_jwks has no path, so that it answers every request of the site")
		}
	}
	if len(spots) == 0 {
		return nil
	}
	return found.orOK("the public keys have a path of their own")
}

// fits reports whether the innermost matcher before the handler matches a path, whatever
// stands around it.
func (p spot) fits(path string) bool {
	request := strangersRequest(p.server, http.MethodPost, p.host, path)
	for _, route := range slices.Backward(p.chain) {
		if len(samplesOfSets(route.MatcherSets)) > 0 {
			match, err := route.MatcherSets.AnyMatchWithError(request)
			return match && err == nil
		}
	}
	return false
}

func (e *examination) webhookAddress(at spot, path string) string {
	if origin := e.originOf(at, e.siteURLNear(at)); origin != "" {
		return origin + (&url.URL{Path: path}).EscapedPath()
	}
	return ""
}

// siteURLNear is the site_url of a gate of the same host.
func (e *examination) siteURLNear(at spot) string {
	for _, other := range e.spots(isGate) {
		if gate, _ := other.handler.(*Handler); other.server == at.server && other.host == at.host && gate.siteURL != "" {
			return gate.siteURL
		}
	}
	return ""
}

func (e *examination) explainDelivery(found *remarks, at spot, path string, t *trail) {
	const first = "write `axra_webhook` at the level of the site, outside `route` and `handle`, where it comes first"
	subject := at.host + path
	switch {
	case t.gated():
		found.fail(subject, first+", or before the gate", "a gate covers the webhook: Axra would be asked to pay")
	case len(t.guards) > 0:
		found.fail(subject, first+", or exempt its path from "+t.guards[0], "%s stands before the webhook, and Axra has no password", t.guards[0])
	case t.answer != at.handler && !at.leadsTo(http.MethodPost, path):
		found.fail(subject, fixAround, "no delivery reaches the webhook: what stands around it does not match its path")
	case t.answer != at.handler && t.redirects():
		found.fail(subject, first+", or exempt its path from the redirect", "a redirect answers before the webhook, and deliveries are not redirected")
	case t.answer != at.handler:
		found.fail(subject, first, "no delivery reaches the webhook: %s answers before it", t.said())
	}
	for _, id := range t.unknown {
		e.note("whether the handler %s lets Axra's deliveries to %s pass", id, subject)
	}
	e.checkReachability(found, at, subject)
}

func (e *examination) checkReachability(found *remarks, at spot, subject string) {
	origin := e.originOf(at, e.siteURLNear(at))
	host := gates.HostOf(origin)
	if parsed, err := url.Parse(e.app.endpoint); err == nil && gates.IsLoopback(parsed.Hostname()) {
		return // a sandbox on this machine
	}
	if isPrivate(host) {
		found.warn(subject, "put the webhook on a host that the internet can reach", "Axra cannot reach %s", host)
	}
	if port := portOf(origin); port != "" && port != "443" {
		e.note("whether Axra delivers to port %s of %s", port, host)
	}
	if origin == "" {
		e.note("the public address of the webhook: its site has no host name")
	}
}

func portOf(origin string) string {
	_, host, _ := strings.Cut(origin, "://")
	_, port, err := net.SplitHostPort(host)
	if err != nil {
		return ""
	}
	return port
}
