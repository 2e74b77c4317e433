package preflight

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-axra/paywall/internal/gate"
)

// checkWebhooks follows deliveries to the webhooks.
func (c *checker) checkWebhooks(r *report) {
	found := false
	for at, webhook := range handlers[*Webhook](c.sites) {
		found = true
		before := len(r.findings)
		if address := c.checkDelivery(r, at, webhook); len(r.findings) == before && address != "" {
			r.ok(address, "no gate and no other handler is in front of it; enter it in Axra")
		}
	}
	const fix = "add `axra_webhook /webhooks/axra` to the site"
	switch {
	case found || len(c.Gates) == 0:
	case c.Ledger.Named:
		r.warn("", fix+", unless another Caddy with the same `database` has it", "there is none here, so buyers wait until another Caddy receives the event")
	default:
		r.fail("", fix, "there is none, so buyers would never get in")
	}
}

// checkDelivery returns the address of a webhook, "" where none can be found.
func (c *checker) checkDelivery(r *report, at *location, webhook *Webhook) string {
	if at.takesAll(http.MethodPost) {
		r.fail(at.host, "give it a path: `axra_webhook /webhooks/axra`", "the webhook has no path, so it answers every request of the site")
		return ""
	}
	delivery := at.find(http.MethodPost, func(t *trace) bool { return t.describe(t.answer) == any(webhook) })
	if delivery == nil {
		delivery = at.find(http.MethodPost, func(t *trace) bool { return slices.Contains(t.shadows, any(webhook)) })
	}
	switch {
	case delivery != nil:
	case !at.isPathOnly(http.MethodPost):
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
		r.fail(subject, first+", or exempt its path from "+t.guards[0], "%s is in front of the webhook, and Axra has no password", t.guards[0])
	case t.describe(t.answer) == any(webhook):
	case !at.matches(http.MethodPost, t.path):
		r.fail(subject, fixAround, "no delivery reaches the webhook: what is around it does not match its path")
	case t.redirects():
		r.fail(subject, first+", or exempt its path from the redirect", "a redirect answers before the webhook, and deliveries do not follow redirects")
	default:
		r.fail(subject, first, "no delivery reaches the webhook: %s answers before it", t.answerer())
	}
	for _, name := range t.unknown {
		c.note("whether the handler %s lets Axra's deliveries to %s pass", name, subject)
	}
	if endpoint, err := url.Parse(c.Endpoint); err == nil && gate.IsLoopback(endpoint.Hostname()) {
		return // a sandbox on this machine
	}
	origin := c.webhookOrigin(at)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(strings.TrimPrefix(origin, "https://"), "http://"))
	switch host := gate.HostOf(origin); {
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
	for _, gate := range handlers[*Gate]([]*site{at.site}) {
		if gate.SiteURL != "" {
			return gate.SiteURL
		}
	}
	return c.originOf(at.site, "")
}
