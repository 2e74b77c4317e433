package preflight

import (
	"cmp"
	"errors"
	"net/http"
	"time"

	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/settings"
	"github.com/caddy-axra/paywall/session"
)

// checkAddresses finds out where visitors return to after the checkout.
func (c *checker) checkAddresses(r *report) {
	if c.StartError != nil {
		r.fail("", "", "Caddy would not start: %s", c.StartError) // it names the fix
		return
	}
	if len(c.gates) == 0 {
		r.warn("", "add `axra_paywall /premium/* { price 5.00 usd }` to a site, unless this Caddy only receives webhooks", "there is no gate")
	}
	for _, at := range c.gates {
		c.checkOrigin(r, at.site, c.originOf(at.site, at.gate.SiteURL), at.gate.SiteURL != "" || c.SiteURL != "" && at.host == "")
	}
}

// originOf is the public address of a site, where a gate's site_url may name another.
func (c *checker) originOf(s *site, siteURL string) string {
	if siteURL != "" || s.host == "" {
		return cmp.Or(siteURL, c.SiteURL)
	}
	ports := append(gate.ListenPorts(s.server), "")
	return gate.OriginOf(NewRequest(s.server, http.MethodGet, s.host, "/"), s.host, ports[0])
}

func (c *checker) checkOrigin(r *report, s *site, origin string, isConfigured bool) {
	host := gate.HostOf(origin)
	switch {
	case gate.IsLoopback(host) && settings.KeyMode(c.secret("api_key"), "bk_") == "live":
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
	if configured := c.configured[s.name]; configured != nil && configured.TrustedProxiesRaw == nil && !configured.TrustedProxiesUnix {
		r.warn(origin, "name the proxy in the global option `servers { trusted_proxies static 10.0.0.0/8 }`",
			"something in front handles TLS, and no trusted_proxies are set: all visitors would share one limit_per_client")
	}
}

// checkAxra sends Axra one request that creates nothing.
func (c *checker) checkAxra(r *report) {
	if c.Client == nil {
		return
	}
	probe, err := c.Client.Probe(c.ctx)
	subject, sent := c.Endpoint, "api_key"
	if probe.Exchanged {
		sent = "api_key and api_secret"
	}
	switch {
	case errors.Is(err, session.ErrCredentials), errors.Is(err, session.ErrRefused):
		r.fail(subject, "copy what was refused again from one page of Axra's dashboard, and check `endpoint`", "Axra refuses %s: %v", sent, err)
	case err != nil:
		r.fail(subject, "check that this machine can reach it (name server, firewall, proxy); if it can, try again later", "%v", err)
	case probe.Created:
		r.warn(subject, "none: an unpaid session costs nothing and expires", "the key is good, but Axra accepted a session over the amount 0, so an unpaid one was created")
	case probe.Exchanged:
		r.ok(subject, "key and secret are good: they were exchanged for an access token")
	default:
		r.ok(subject, "the key is good: Axra refused a session over the amount 0 as invalid, and nothing was created")
	}
	if skew := probe.Date.Sub(c.Now()).Round(time.Second).Abs(); !probe.Date.IsZero() && skew > maxSkew {
		r.warn("Axra", fixClock, "its clock and this machine's differ by %s: access would begin and end at wrong times", skew)
	}
}

const (
	maxSkew  = 30 * time.Second // times in tokens and events are compared to the second and minute
	fixClock = "set the clock, and keep it right with NTP (`timedatectl set-ntp true`)"
)

// noteOutside names what cannot be seen from here.
func (*checker) noteOutside(r *report) {
	r.note("what is in front of Caddy: a CDN or proxy must not cache gated pages, and must pass on cookies and the webhook's body unchanged")
	r.note("whether a payment comes through: `--live` asks Axra; then make a first payment with a test key")
}

// checkClock finds a clock that cannot be right.
func (c *checker) checkClock(r *report) {
	if year := c.Now().Year(); year < 2025 || year > 2100 {
		r.fail("", fixClock, "it is %d by this machine's clock", year)
	}
}
