package preflight

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-axra/paywall/session"
)

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
	case probe.Exchanged:
		r.ok(subject, "key and secret are good: they were exchanged for an access token")
	case probe.Created:
		r.warn(subject, "none: an unpaid session costs nothing and expires", "the key is good, but Axra accepted a session over the amount 0, so an unpaid one was created")
	default:
		r.ok(subject, "the key is good: Axra refused a session over the amount 0 as invalid, and nothing was created")
	}
	if skew := probe.Date.Sub(c.Now()).Round(time.Second).Abs(); !probe.Date.IsZero() && skew > maxSkew {
		r.warn("Axra", fixClock, "its clock and this machine's differ by %s: access would begin and end at wrong times", skew)
	}
}

// maxSkew is how far clocks may differ. Times in tokens and events are compared to the second and minute.
const maxSkew = 30 * time.Second

const fixClock = "set the clock, and keep it right with NTP (`timedatectl set-ntp true`)"

// checkClock finds a clock that cannot be right.
func (c *checker) checkClock(r *report) {
	now := c.Now()
	if year := now.Year(); year < 2025 || year > 2100 {
		r.fail("", fixClock, "it is %d by this machine's clock", year)
	}
	r.orOK("", "%s", now.UTC().Format("2006-01-02 15:04 UTC"))
}

// checkWebhookAddresses requests the webhooks at their public addresses.
func (c *checker) checkWebhookAddresses(r *report) {
	var addresses []string
	for at := range handlers[*Webhook](c.sites) {
		if delivery := at.request(http.MethodPost); delivery != nil && !at.takesAll(http.MethodPost) {
			addresses = append(addresses, c.addressOf(delivery))
		}
	}
	for _, address := range distinct(addresses) {
		if address != "" {
			c.requestWebhook(r, address)
		}
	}
	c.note("the way from Axra to the webhook: it was requested from this machine, which may be behind the same firewall")
}

// requestWebhook requests a webhook by GET, which it refuses.
func (c *checker) requestWebhook(r *report, address string) {
	ctx, cancel := context.WithTimeout(c.ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		r.fail(address, "correct the path of axra_webhook", "it is not a valid address: %v", err)
		return
	}
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
	problem, fix := explainAnswer(response)
	r.fail(address, fix+"; or reload Caddy, if it runs an older configuration", "it answers %d: %s", response.StatusCode, problem)
}

// explainAnswer returns what an answer other than the webhook's own means.
func explainAnswer(response *http.Response) (problem, fix string) {
	switch status := response.StatusCode; {
	case status >= 300 && status < 400:
		target, _, _ := strings.Cut(response.Header.Get("Location"), "?") // the query may hold a secret
		return "it redirects to " + target + ", and Axra need not follow, and would lose the body", "enter the address that it leads to in Axra, and in site_url"
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return "Axra has no password", "exempt the webhook's path from whatever asks for a password, in Caddy or in front of it"
	case status == http.StatusPaymentRequired:
		return "a gate covers the webhook", "put axra_webhook before the gate"
	case status >= 500:
		return "the server is in trouble", "look at the log of Caddy, and of whatever is in front of it"
	}
	return "something else answers", "put axra_webhook before whatever answers, or point the host at this Caddy"
}
