package preflight

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-axra/paywall/internal/gate"
)

// checkWebhooks follows deliveries to the webhooks.
func (c *checker) checkWebhooks(r *report) {
	for at := range handlers[*Webhook](c.sites) {
		if at.takesAll(http.MethodPost) {
			r.fail(at.host, "give it a path: `axra_webhook /webhooks/axra`", "the webhook has no path, so it answers every request of the site")
			continue
		}
		delivery := at.request(http.MethodPost)
		if delivery == nil {
			c.note("whether the webhook of %s is reached: not all matchers before it are about paths", at.host)
			continue
		}
		before := len(r.findings)
		c.explainDelivery(r, at, delivery)
		c.checkReachable(r, at, delivery)
		if address := c.addressOf(delivery); len(r.findings) == before && address != "" {
			r.ok(address, "no gate and no other handler is in front of it; enter it in Axra")
		}
	}
	const fix = "add `axra_webhook /webhooks/axra` to the site"
	switch {
	case hasAny[*Webhook](c.sites) || !hasAny[*Gate](c.sites):
	case c.Ledger.Named:
		r.warn("", fix+", unless another Caddy with the same `database` has it", "there is none here, so buyers wait until another Caddy receives the event")
	default:
		r.fail("", fix, "there is none, so buyers would never get in")
	}
}

// explainDelivery finds what a delivery meets before the webhook.
func (c *checker) explainDelivery(r *report, at *location, t *trace) {
	const first = "write `axra_webhook` at the level of the site, outside `route` and `handle`, where it comes first"
	subject := at.host + t.path
	switch {
	case t.isGated():
		r.fail(subject, first+", or before the gate", "a gate covers the webhook: Axra would be asked to pay")
	case len(t.guards) > 0:
		r.fail(subject, first+", or exempt its path from "+t.guards[0], "%s is in front of the webhook, and Axra has no password", t.guards[0])
	case at.isReachedBy(t):
	case !at.matches(http.MethodPost, t.path):
		r.fail(subject, fixAround, "no delivery reaches the webhook: what is around it does not match its path")
	default:
		r.fail(subject, first, "no delivery reaches the webhook: %s answers before it", t.answerer())
	}
	for _, name := range t.unknown {
		c.note("whether the handler %s lets Axra's deliveries to %s pass", name, subject)
	}
}

// checkReachable finds out whether Axra can reach the site of a webhook.
func (c *checker) checkReachable(r *report, at *location, t *trace) {
	if endpoint, err := url.Parse(c.Endpoint); err == nil && gate.IsLoopback(endpoint.Hostname()) {
		return // a sandbox on this machine
	}
	if origin := c.webhookOrigin(at.site); origin != "" && isPrivate(gate.HostOf(origin)) {
		r.warn(at.host+t.path, "put the webhook on a host that can be reached from the internet", "Axra cannot reach %s", gate.HostOf(origin))
	}
}

// isPrivate reports whether Axra cannot reach a host.
func isPrivate(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.IsPrivate() || addr.IsLoopback()
	}
	return gate.IsLoopback(host) || !strings.Contains(host, ".") ||
		slices.ContainsFunc([]string{".local", ".internal", ".lan", ".home.arpa", ".test"}, func(end string) bool { return strings.HasSuffix(host, end) })
}

// addressOf is the public address of a delivery, "" if there is none.
func (c *checker) addressOf(t *trace) string {
	origin := c.webhookOrigin(t.site)
	if origin == "" {
		return ""
	}
	return origin + (&url.URL{Path: t.path}).EscapedPath()
}

// webhookOrigin is the public address of a webhook's site, as a gate there knows it.
func (c *checker) webhookOrigin(s *site) string {
	for _, gate := range handlers[*Gate]([]*site{s}) {
		if gate.SiteURL != "" {
			return gate.SiteURL
		}
	}
	return c.originOf(s, "")
}
