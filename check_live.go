package paywall

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddy-axra/paywall/session"
)

// checkAxra sends Axra one request that creates nothing.
func (e *examination) checkAxra() []finding {
	found := &remarks{check: "axra"}
	if e.app.client == nil {
		return nil
	}
	probe, err := e.app.client.Probe(e.ctx)
	subject := e.app.endpoint
	switch {
	case errors.Is(err, session.ErrCredentials) && probe.Exchanged:
		found.fail(subject, "copy both again from Axra's dashboard, from the same page", "Axra refuses api_key and api_secret: %v", err)
	case errors.Is(err, session.ErrCredentials):
		found.fail(subject, "copy it again from Axra's dashboard", "Axra refuses api_key: %v", err)
	case errors.Is(err, session.ErrRefused):
		found.fail(subject, "check `endpoint`, and that key and secret are complete", "Axra refuses the token exchange itself: %v", err)
	case err != nil:
		found.fail(subject, "check that this machine reaches it (name server, firewall, proxy); if it does, try again later", "%v", err)
	case probe.Exchanged:
		found.ok(subject, "key and secret are good: they were exchanged for an access token")
	case probe.Created:
		found.warn(subject, "none: an unpaid session costs nothing and expires", "the key is good, but Axra accepted a session over the amount 0, so that an unpaid one was created")
	default:
		found.ok(subject, "the key is good: Axra refused a session over the amount 0 as invalid, and nothing was created")
	}
	checkSkew(found, "Axra", probe.Date, now())
	return found.list
}

// checkWebhookAddress requests the webhooks as Axra would, but by GET, which they refuse.
func (e *examination) checkWebhookAddress() []finding {
	found := &remarks{check: "webhook from outside"}
	asked := make(map[string]bool)
	for _, at := range e.spots(isWebhook) {
		address := e.checkDelivery(new(remarks), at)
		if address == "" || asked[address] {
			continue
		}
		asked[address] = true
		requestWebhook(e.ctx, found, address)
	}
	e.note("the way from Axra to the webhook: it was requested from this machine, which may be on the inner side of a firewall")
	return found.list
}

func requestWebhook(ctx context.Context, found *remarks, address string) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		found.fail(address, "correct the path of axra_webhook", "it is no address: %v", err)
		return
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request) // which follows no redirect
	if err != nil {
		explainFailure(found, address, err)
		return
	}
	defer response.Body.Close()
	explainAnswer(found, address, response)
}

// explainFailure says why there was no answer.
func explainFailure(found *remarks, address string, err error) {
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &dns):
		found.fail(address, "add a DNS record for the host that names this server", "the host name is not known: %s", dns.Err)
	case errors.As(err, &certificate) && errors.As(err, &unknown):
		found.fail(address, "let Caddy get a public certificate: no `tls internal`, no `local_certs`", "the certificate is from an authority that Axra does not know either")
	case errors.As(err, &certificate):
		found.fail(address, "let Caddy get a certificate for this host, and look at its log if it does not", "the certificate does not hold: %v", certificate.Err)
	case errors.As(err, &record):
		found.fail(address, "remove `http://` from the site address, or set `site_url` to the address of the proxy that does TLS", "what listens there does not speak TLS")
	case errors.Is(err, context.DeadlineExceeded):
		found.fail(address, "open the port in the firewall, and forward it to this server", "no answer within 10 s")
	default:
		found.fail(address, "start Caddy with this configuration, and open the port in the firewall", "no connection: %v", withoutAddress(err))
	}
}

func withoutAddress(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// explainAnswer says what an answer other than the webhook's own means.
func explainAnswer(found *remarks, address string, response *http.Response) {
	const older = "or reload Caddy, if it runs an older configuration"
	switch status := response.StatusCode; {
	case status == http.StatusMethodNotAllowed && response.Header.Get("Allow") == http.MethodPost:
		found.ok(address, "the webhook answers")
	case status >= 300 && status < 400:
		found.fail(address, "enter in Axra, and name in site_url, the address that it leads to; "+older,
			"it redirects (%d) to %s: Axra need not follow, and would lose the body", status, hostOnly(response.Header.Get("Location")))
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		found.fail(address, "exempt the webhook's path from what asks for a password, in Caddy or in what stands before it; "+older, "it answers %d: Axra has no password", status)
	case status == http.StatusPaymentRequired:
		found.fail(address, "put axra_webhook before the gate; "+older, "it answers 402: a gate covers the webhook")
	case status == http.StatusNotFound:
		found.fail(address, "point the host at this Caddy; "+older, "it answers 404: no webhook is there")
	case status < 300:
		found.fail(address, "put axra_webhook before whatever answers, or point the host at this Caddy; "+older, "it answers %d to GET, so it is not the webhook that answers", status)
	case status >= 500:
		found.fail(address, "look at the log of Caddy, and of what stands before it", "it answers %d", status)
	default:
		found.fail(address, "look at what stands before Caddy; "+older, "it answers %d, and the webhook's own answer is 405 with Allow: POST", status)
	}
}

// hostOnly leaves out the query of an address, which may be a secret.
func hostOnly(address string) string {
	address, _, _ = strings.Cut(address, "?")
	return address
}
