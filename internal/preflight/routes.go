package preflight

import (
	"cmp"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/caddy-axra/paywall/internal/gate"
)

// checkAddresses finds out where visitors return to after the checkout.
func (c *checker) checkAddresses(r *report) {
	if c.StartError != nil {
		r.fail("", "", "Caddy would not start: %s", c.StartError) // it names the fix
		return
	}
	if len(c.places[paywall]) == 0 {
		r.warn("", "add `axra_paywall /premium/* { price 5.00 usd }`, unless this Caddy only receives webhooks",
			"there is no gate")
	}
	for _, at := range c.places[paywall] {
		c.checkOrigin(r, at.site, c.origin(at.site))
	}
}

func (c *checker) checkOrigin(r *report, s *site, origin string) {
	host := gate.HostOf(origin)
	switch {
	case gate.IsLoopback(host):
		r.add(severity(c.KeyMode != "live"), origin, "before going live, give the site its public host name",
			"visitors are sent back to this machine, so only it can buy")
		return
	case s.host != "" && s.host != host:
		r.warn(origin, "make sure that whatever serves it passes requests on to "+s.host+", or correct site_url",
			"visitors of %s are sent back to another host", s.host)
	}
	if len(s.server.TLSConnPolicies) > 0 {
		return
	}
	if s.siteURL == "" && c.SiteURL == "" {
		r.warn(origin, "remove `http://` from the site address, so that Caddy gets a certificate; "+
			"behind a proxy that handles TLS, set `site_url "+origin+"`",
			"it is served over plain HTTP, but the cookies of buyers need https")
	}
	configured := c.configured[s.name]
	if configured != nil && configured.TrustedProxiesRaw == nil && !configured.TrustedProxiesUnix {
		r.warn(origin, "name the proxy in the global option `servers { trusted_proxies static 10.0.0.0/8 }`",
			"something in front handles TLS, and no trusted_proxies are set: all visitors would share one limit_per_client")
	}
}

// checkWebhooks follows deliveries to the webhooks.
func (c *checker) checkWebhooks(r *report) {
	const first = "write `axra_webhook` at the level of the site, outside `route` and `handle`, where it comes first"
	for _, at := range c.places[webhook] {
		switch t := at.reached(http.MethodPost); {
		case at.takesAll(http.MethodPost):
			r.fail(at.subject(), "give it a path: `axra_webhook /webhooks/axra`", "it answers every request of the site")
		case t == nil:
			r.unreached(at, at.missed(http.MethodPost), first)
		case len(t.gates) > 0:
			r.fail(t.address(), first+", or before the gate", "a gate covers the webhook: Axra would be asked to pay")
		case len(t.guards) > 0:
			r.fail(t.address(), first, "%s is in front of the webhook, and Axra has no password", t.guards[0])
		default:
			c.checkPublic(r, c.publicAddress(t))
		}
	}
	if len(c.places[webhook]) == 0 && len(c.places[paywall]) > 0 {
		r.add(severity(c.Ledger.Named), "", "add `axra_webhook /webhooks/axra`, unless another Caddy has it",
			"there is none here, so no payment would open a gate")
	}
}

// checkPublic finds webhooks that Axra cannot reach.
func (c *checker) checkPublic(r *report, address *url.URL) {
	endpoint, _ := url.Parse(c.Endpoint) // it was built from a URL
	switch {
	case address.Host == "":
	case isPrivate(address.Hostname()) && !gate.IsLoopback(endpoint.Hostname()): // where a sandbox is
		r.warn(address.String(), "put the webhook on a host that can be reached from the internet", "Axra cannot reach it")
	default:
		r.ok(address.String(), "no gate and no other handler is in front of it; enter it in Axra")
	}
}

// isPrivate reports whether Axra cannot reach a host.
func isPrivate(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.IsPrivate() || addr.IsLoopback()
	}
	ends := []string{"", ".local", ".internal", ".lan", ".arpa", ".test"}
	return gate.IsLoopback(host) || slices.Contains(ends, path.Ext(host))
}

// origin is the public address of the site, "" if it has none.
func (c *checker) origin(s *site) string {
	if s.siteURL != "" || s.host == "" {
		return cmp.Or(s.siteURL, c.SiteURL)
	}
	ports := append(gate.ListenPorts(s.server), "")
	return gate.OriginOf(NewRequest(s.server, http.MethodGet, s.host, "/"), s.host, ports[0])
}

// publicAddress is the public address of a request, without a host if its site has none.
func (c *checker) publicAddress(t *trace) *url.URL {
	origin, _ := url.Parse(c.origin(t.site)) // it was built from a URL
	return origin.JoinPath(t.path)
}

// checkOrder finds gates that come too late, and key sets that answer instead of the site.
func (c *checker) checkOrder(r *report) {
	for _, at := range c.places[keySet] {
		if at.takesAll(http.MethodGet) {
			r.fail(at.subject(), "give it a path: `axra_jwks /.well-known/jwks.json`", "axra_jwks answers every request")
		}
	}
	const fix = "write axra_paywall at the level of the site, where it comes before what answers; " +
		"in `route` and `handle`, write it first, in the one that takes its paths"
	for _, at := range c.places[paywall] {
		if at.reached(http.MethodGet) == nil {
			if t := at.missed(http.MethodGet); t == nil || t.answerer() != "redir" { // a whole host may be redirected
				r.unreached(at, t, fix)
			}
			continue
		}
		isLate := func(t *trace) bool { return t.isFree() && slices.Contains(t.late, at.handler) }
		content := at.site.find(http.MethodGet, func(t *trace) bool { return isLate(t) && t.isContent() })
		text := at.site.find(http.MethodGet, func(t *trace) bool { return isLate(t) && t.answerer() == "respond" })
		if t := cmp.Or(content, text); t != nil {
			r.add(severity(content == nil), at.subject(), "unless that is meant for everybody: "+fix,
				"%s answers %s before it, for free", t.answerer(), t.address())
		}
	}
}

// checkOverlap finds gates behind another one that sells something else.
func (c *checker) checkOverlap(r *report) {
	for _, at := range c.places[paywall] {
		opensNot := func(p *gate.Product) bool { return at.gate.Product(p.Name) == nil }
		t := at.site.find(http.MethodGet, func(t *trace) bool {
			i := slices.Index(t.gates, at.gate)
			return i > 0 && slices.ContainsFunc(t.gates[i-1].Products, opensNot)
		})
		if t != nil {
			r.warn(at.subject(), "exempt the path in the matcher of one (`not path …`), or let both sell the same passes",
				"%s is also behind another gate, so a visitor has to pay twice", t.address())
		}
	}
}

// checkCaches finds what could store a paid page and serve it to others.
func (c *checker) checkCaches(r *report) {
	for _, at := range c.places[paywall] {
		if t := at.reached(http.MethodGet); t != nil && len(t.caches) > 0 {
			r.warn(at.subject(), "write `order … after axra_paywall` for a cache; "+
				"for a `header`, write it alone, without `>` and without deletions beside it",
				"shared caches may keep paid pages because of %s before the gate", strings.Join(t.caches, " and "))
		}
	}
}
