package preflight

import (
	"cmp"
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddy-axra/paywall/internal/gate"
)

// checkWebhooks follows deliveries to the webhooks.
func (c *checker) checkWebhooks(r *report) {
	for _, at := range c.webhooks {
		if at.matches(http.MethodPost, unmatched) {
			r.fail(at.host, "give it a path: `axra_webhook /webhooks/axra`", "the webhook has no path, so it answers every request of the site")
		} else if t, isReached := at.request(http.MethodPost); t == nil {
			r.note("whether the webhook of %s is reached: not all matchers before it are about paths", at.host)
		} else {
			c.checkDelivery(r, at, t, isReached)
		}
	}
	const fix = "add `axra_webhook /webhooks/axra` to the site"
	switch {
	case len(c.webhooks) > 0 || len(c.gates) == 0:
	case c.Ledger.Named:
		r.warn("", fix+", unless another Caddy with the same `database` has it", "there is none here, so buyers wait until another Caddy receives the event")
	default:
		r.fail("", fix, "there is none, so buyers would never get in")
	}
}

// checkDelivery finds what a delivery meets before the webhook, and whether Axra can reach the site.
func (c *checker) checkDelivery(r *report, at *location, t *trace, isReached bool) {
	const first = "write `axra_webhook` at the level of the site, outside `route` and `handle`, where it comes first"
	subject, address := at.host+t.path, c.addressOf(t)
	endpoint, _ := url.Parse(c.Endpoint) // it was built from a URL
	switch {
	case t.isGated():
		r.fail(subject, first+", or before the gate", "a gate covers the webhook: Axra would be asked to pay")
	case len(t.guards) > 0:
		r.fail(subject, first+", or exempt its path from "+t.guards[0], "%s is in front of the webhook, and Axra has no password", t.guards[0])
	case !isReached:
		at.explainUnreached(r, subject, t, first)
	case address.Host == "":
	case isPrivate(address.Hostname()) && !gate.IsLoopback(endpoint.Hostname()): // where a sandbox is
		r.warn(subject, "put the webhook on a host that can be reached from the internet", "Axra cannot reach %s", address.Hostname())
	default:
		r.ok(address.String(), "no gate and no other handler is in front of it; enter it in Axra")
	}
	for _, name := range t.unknown {
		r.note("whether the handler %s lets Axra's deliveries to %s pass", name, subject)
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

// addressOf is the public address of a delivery, as a gate of the site knows the site; without a host if there is none.
func (c *checker) addressOf(t *trace) *url.URL {
	siteURL := ""
	for _, at := range c.gates {
		if at.site == t.site {
			siteURL = cmp.Or(siteURL, at.gate.SiteURL)
		}
	}
	origin, _ := url.Parse(c.originOf(t.site, siteURL)) // it was built from a URL
	return origin.JoinPath(t.path)
}

// checkWebhookAddresses requests the webhooks at their public addresses.
func (c *checker) checkWebhookAddresses(r *report) {
	for _, at := range c.webhooks {
		t, _ := at.request(http.MethodPost)
		if t == nil || at.matches(http.MethodPost, unmatched) {
			continue
		}
		if address := c.addressOf(t); address.Host != "" {
			c.requestWebhook(r, address.String())
		}
	}
	r.note("the way from Axra to the webhook: it was requested from this machine, which may be behind the same firewall")
}

// requestWebhook requests a webhook by GET, which it refuses.
func (c *checker) requestWebhook(r *report, address string) {
	ctx, cancel := context.WithTimeout(c.ctx, 10*time.Second)
	defer cancel()
	request, _ := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody) // the address is a URL
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request) // follows no redirect
	if err != nil {
		r.fail(address, "look at the host's DNS record, the firewall, the certificate (one of `tls internal` or `local_certs` will not do), "+
			"and whether Caddy runs with this configuration; behind a proxy that handles TLS, set `site_url`", "no answer: %v", err)
		return
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusMethodNotAllowed && response.Header.Get("Allow") == http.MethodPost {
		r.ok(address, "the webhook answers")
		return
	}
	answer := map[int]string{401: "it asks for a password", 402: "a gate covers the webhook", 403: "it is forbidden"}[response.StatusCode]
	if target, _, _ := strings.Cut(response.Header.Get("Location"), "?"); target != "" { // the query may hold a secret
		answer = "it redirects to " + target + ": enter that address in Axra"
	}
	r.fail(address, "put axra_webhook before whatever answers, exempt its path from passwords, and point the host at this Caddy; or reload Caddy, if it runs an older configuration",
		"it answers %d: %s", response.StatusCode, cmp.Or(answer, "something else answers"))
}
