package preflight

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
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
	subject := c.Endpoint
	switch {
	case errors.Is(err, session.ErrCredentials) && probe.Exchanged:
		r.fail(subject, "copy both again from Axra's dashboard, from the same page", "Axra refuses api_key and api_secret: %v", err)
	case errors.Is(err, session.ErrCredentials):
		r.fail(subject, "copy it again from Axra's dashboard", "Axra refuses api_key: %v", err)
	case errors.Is(err, session.ErrRefused):
		r.fail(subject, "check `endpoint`, and that key and secret are complete", "Axra refuses the token exchange itself: %v", err)
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
		problem, fix := explainFailure(err)
		r.fail(address, fix, "%s", problem)
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

// explainFailure returns why there was no answer.
func explainFailure(err error) (problem, fix string) {
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &dns):
		return "the host name is unknown: " + dns.Err, "add a DNS record for the host that names this server"
	case errors.As(err, &unknown):
		return "the certificate is from an authority that Axra does not know either", "let Caddy get a public certificate: no `tls internal`, no `local_certs`"
	case errors.As(err, &certificate):
		return "the certificate is not valid: " + certificate.Err.Error(), "let Caddy get a certificate for this host, and look at its log if it does not"
	case errors.As(err, &record):
		return "what listens there does not speak TLS", "remove `http://` from the site address, or set `site_url` to the address of the proxy that handles TLS"
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer within 10 s", "open the port in the firewall, and forward it to this server"
	}
	return "no connection: " + err.Error(), "start Caddy with this configuration, and open the port in the firewall"
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
	case status == http.StatusNotFound:
		return "no webhook is there", "point the host at this Caddy"
	case status < 300:
		return "the webhook would refuse a GET, so something else answers", "put axra_webhook before whatever answers, or point the host at this Caddy"
	case status >= 500:
		return "the server is in trouble", "look at the log of Caddy, and of whatever is in front of it"
	}
	return "the webhook's own answer is 405 with Allow: POST", "look at what is in front of Caddy"
}
