package preflight

import (
	"net/http"

	"github.com/caddy-axra/paywall/internal/gate"
)

// checkAddresses finds out where visitors return to after the checkout.
func (c *checker) checkAddresses(r *report) {
	if c.StartError != nil {
		r.fail("", "", "Caddy would not start: %s", c.StartError) // it names the fix
		return
	}
	if !hasAny[*Gate](c.sites) {
		r.warn("", "add `axra_paywall /premium/* { price 5.00 usd }` to a site, unless this Caddy only receives webhooks", "there is no gate")
	}
	for at, gate := range handlers[*Gate](c.sites) {
		c.checkOrigin(r, at.site, c.originOf(at.site, gate.SiteURL), gate.SiteURL != "" || c.SiteURL != "" && at.host == "")
	}
	r.orOK("", "visitors return by https to a host that the configuration names")
}

// originOf is the public address of a site, where a gate's site_url may name another.
func (c *checker) originOf(s *site, siteURL string) string {
	switch {
	case siteURL != "":
		return siteURL
	case s.host == "":
		return c.SiteURL
	}
	ports := append(gate.ListenPorts(s.server), "")
	return gate.OriginOf(NewRequest(s.server, http.MethodGet, s.host, "/"), s.host, ports[0])
}

func (c *checker) checkOrigin(r *report, s *site, origin string, isConfigured bool) {
	host := gate.HostOf(origin)
	switch {
	case gate.IsLoopback(host) && c.isLive():
		r.fail(origin, "give the site its public host name, or set `site_url https://…`", "the key is live, and visitors are sent back to this machine")
		return
	case gate.IsLoopback(host):
		r.warn(origin, "before going live, give the site its public host name", "only this machine can buy there")
		return
	}
	if isConfigured && s.host != "" && s.host != host {
		r.warn(origin, "make sure that whatever serves it passes requests on to "+s.host+", or correct site_url",
			"visitors of %s are sent back to another host", s.host)
	}
	if len(s.server.TLSConnPolicies) > 0 {
		return
	}
	if !isConfigured && c.SiteURL == "" {
		r.warn(s.host, "remove `http://` from the site address, so that Caddy gets a certificate; behind a proxy that handles TLS, set `site_url "+origin+"`",
			"it is served over plain HTTP, but visitors are sent back to %s, since the cookies need https", origin)
	}
	if c.proxied != nil && !c.proxied[s.server] {
		r.warn(origin, "name the proxy in the global option `servers { trusted_proxies static 10.0.0.0/8 }`",
			"something in front handles TLS, and no trusted_proxies are set: all visitors would share one limit_per_client")
	}
}
