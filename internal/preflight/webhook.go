package preflight

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// checkAddresses finds out where visitors return to after the checkout.
func (c *checker) checkAddresses(r *report) {
	if c.StartError != nil {
		r.fail("", "", "Caddy would not start: %s", c.StartError) // it names the fix
		return
	}
	if len(c.Gates) == 0 {
		r.warn("", "add `axra_paywall /premium/* { price 5.00 usd }` to a site, unless this Caddy only receives webhooks", "there is no gate")
	}
	seen := make(map[string]bool)
	for at, gate := range handlers[*Gate](c.sites) {
		origin := c.originOf(at.site, gate.SiteURL)
		if key := origin + "\n" + at.host; !seen[key] {
			seen[key] = true
			c.checkOrigin(r, at.site, origin, gate.SiteURL != "" || c.SiteURL != "" && at.host == "")
		}
	}
	r.orOK("visitors return by https to a host that the configuration names")
}

// originOf is the public address of a site, where a gate's site_url may name another.
func (c *checker) originOf(s *site, siteURL string) string {
	switch {
	case siteURL != "":
		return siteURL
	case s.host == "":
		return c.SiteURL
	}
	return c.Origin(s.server, s.host)
}

func (c *checker) checkOrigin(r *report, s *site, origin string, isConfigured bool) {
	host := hostname(origin)
	switch {
	case isLoopback(host) && c.isLive():
		r.fail(origin, "give the site its public host name, or set `site_url https://…`", "the key is live, and visitors are sent back to this machine")
		return
	case isLoopback(host):
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
	if !c.proxied[s.server] {
		r.warn(origin, "name the proxy in the global option `servers { trusted_proxies static 10.0.0.0/8 }`",
			"something in front handles TLS, and no trusted_proxies are set: all visitors would share one limit_per_client")
	}
}

func hostname(address string) string {
	parsed, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return parsed.Hostname()
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && addr.IsLoopback()
}

// isPrivate reports whether Axra cannot reach a host.
func isPrivate(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.IsPrivate() || addr.IsLoopback()
	}
	return isLoopback(host) || !strings.Contains(host, ".") ||
		slices.ContainsFunc([]string{".local", ".internal", ".lan", ".home.arpa", ".test"}, func(end string) bool { return strings.HasSuffix(host, end) })
}

// checkWebhooks follows deliveries to the webhooks.
func (c *checker) checkWebhooks(r *report) {
	found := false
	for at, webhook := range handlers[*Webhook](c.sites) {
		found = true
		before := len(r.findings)
		if address := c.checkDelivery(r, at, webhook); len(r.findings) == before && address != "" {
			r.ok(address, "no gate and no other handler stands before it; enter it in Axra")
		}
	}
	const fix = "add `axra_webhook /webhooks/axra` to the site"
	switch {
	case found || len(c.Gates) == 0:
	case c.Ledger.Named:
		r.warn("", fix+", unless another Caddy with the same `database` has it", "there is none here, so whoever pays waits until another Caddy hears of it")
	default:
		r.fail("", fix, "there is none, so nobody who pays would get in")
	}
}

// checkDelivery returns the address of a webhook, "" where none can be found.
func (c *checker) checkDelivery(r *report, at *location, webhook *Webhook) string {
	if at.takesAll() {
		r.fail(at.host, "give it a path: `axra_webhook /webhooks/axra`", "the webhook has no path, so it answers every request of the site")
		return ""
	}
	delivery := at.find(http.MethodPost, func(t *trace) bool { return t.describe(t.answer) == any(webhook) })
	if delivery == nil {
		delivery = at.find(http.MethodPost, func(t *trace) bool { return slices.Contains(t.shadows, any(webhook)) })
	}
	switch {
	case delivery != nil:
	case !at.isPathOnly():
		c.note("whether the webhook of %s is reached: not all matchers before it are about paths", at.host)
		return ""
	default:
		delivery = at.trace(http.MethodPost, at.samples()[0])
	}
	c.explainDelivery(r, at, webhook, delivery)
	if origin := c.webhookOrigin(at); origin != "" {
		return origin + (&url.URL{Path: delivery.path}).EscapedPath()
	}
	return ""
}

func (c *checker) explainDelivery(r *report, at *location, webhook *Webhook, t *trace) {
	const first = "write `axra_webhook` at the level of the site, outside `route` and `handle`, where it comes first"
	subject := at.host + t.path
	switch {
	case t.isGated():
		r.fail(subject, first+", or before the gate", "a gate covers the webhook: Axra would be asked to pay")
	case len(t.guards) > 0:
		r.fail(subject, first+", or exempt its path from "+t.guards[0], "%s stands before the webhook, and Axra has no password", t.guards[0])
	case t.describe(t.answer) == any(webhook):
	case !at.matches(t.original()):
		r.fail(subject, fixAround, "no delivery reaches the webhook: what is around it does not match its path")
	case t.redirects():
		r.fail(subject, first+", or exempt its path from the redirect", "a redirect answers before the webhook, and deliveries do not follow redirects")
	default:
		r.fail(subject, first, "no delivery reaches the webhook: %s answers before it", t.answerer())
	}
	for _, name := range t.unknown {
		c.note("whether the handler %s lets Axra's deliveries to %s pass", name, subject)
	}
	if isLoopback(hostname(c.Endpoint)) {
		return // a sandbox on this machine
	}
	origin := c.webhookOrigin(at)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(strings.TrimPrefix(origin, "https://"), "http://"))
	switch host := hostname(origin); {
	case origin == "":
		c.note("the public address of the webhook: its site has no host name")
	case isPrivate(host):
		r.warn(subject, "put the webhook on a host that can be reached from the internet", "Axra cannot reach %s", host)
	case port != "" && port != "443":
		c.note("whether Axra delivers to port %s of %s", port, host)
	}
}

// webhookOrigin is the public address of a webhook's site, as a gate there knows it.
func (c *checker) webhookOrigin(at *location) string {
	for other, gate := range handlers[*Gate]([]*site{at.site}) {
		if gate.SiteURL != "" {
			return c.originOf(other.site, gate.SiteURL)
		}
	}
	return c.originOf(at.site, "")
}
