package preflight

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// maxSkew is how far clocks may differ: times in tokens and events are compared to the second and minute.
const maxSkew = 30 * time.Second

// checkAxra sends Axra one request that creates nothing.
func (c *checker) checkAxra(r *report) {
	if c.Client == nil {
		return
	}
	probe, err := c.Client.Probe(c.ctx)
	asked := "api_key"
	if probe.Exchanged {
		asked += " and api_secret"
	}
	switch {
	case err != nil:
		r.fail(c.Endpoint, "copy key and secret again from one page of Axra's dashboard, check `endpoint`, "+
			"and whether this machine can reach it; if all is right, try again later", "asked with %s: %v", asked, err)
	case probe.Created:
		r.warn(c.Endpoint, "none: it is unpaid, costs nothing and expires", "Axra created a session over the amount 0")
	default:
		r.ok(c.Endpoint, "Axra accepts %s, and nothing was created", asked)
	}
	if skew := probe.Date.Sub(c.Now()).Round(time.Second).Abs(); !probe.Date.IsZero() && skew > maxSkew {
		r.warn("Axra", "set the clock, and keep it right with NTP (`timedatectl set-ntp true`)",
			"its clock and this machine's differ by %s: access would begin and end at wrong times", skew)
	}
}

// checkWebhookAddresses requests the webhooks at their public addresses.
func (c *checker) checkWebhookAddresses(r *report) {
	for _, at := range c.places[webhook] {
		t := at.reached(http.MethodPost)
		if t == nil || at.takesAll(http.MethodPost) {
			continue // which is reported
		}
		if address := c.publicAddress(t); address.Host != "" {
			c.requestWebhook(r, address.String())
		}
	}
	r.note("", "the way from Axra to the webhook: it was requested from this machine, maybe behind the same firewall")
}

// requestWebhook requests a webhook by GET, which it refuses.
func (c *checker) requestWebhook(r *report, address string) {
	ctx, cancel := context.WithTimeout(c.ctx, 10*time.Second)
	defer cancel()
	request, _ := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody) // the address is a URL
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request) // follows no redirect
	if err == nil {
		_ = response.Body.Close() // it is not read
		if response.StatusCode == http.StatusMethodNotAllowed && response.Header.Get("Allow") == http.MethodPost {
			r.ok(address, "the webhook answers")
			return
		}
		target, _, _ := strings.Cut(response.Header.Get("Location"), "?") // the query may hold a secret
		err = fmt.Errorf("something else does: %s %s", response.Status, target)
	}
	r.fail(address, "look at the host's DNS record, the firewall, the certificate (not one of `tls internal`), and "+
		"whether Caddy runs with this configuration; put axra_webhook before gates, passwords and redirects, or enter "+
		"in Axra the address that a redirect leads to", "the webhook does not answer: %v", err)
}
