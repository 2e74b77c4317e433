package session

import (
	"net/url"
	"strings"
)

// CheckoutHosts lists where a checkout URL may lead. A host that starts with "*."
// matches its subdomains. A host with a port allows only that port.
type CheckoutHosts struct {
	Hosts []string
	// Insecure also allows http, for an endpoint on the loopback interface.
	Insecure bool
}

// Allow reports whether visitors may be sent to the URL.
func (c CheckoutHosts) Allow(target *url.URL) bool {
	isSecure := target.Scheme == "https" || c.Insecure && target.Scheme == "http"
	if !isSecure || target.User != nil || target.Opaque != "" || target.Hostname() == "" {
		return false
	}
	host := strings.ToLower(target.Host)
	for _, allowed := range c.Hosts {
		allowed = strings.ToLower(allowed)
		if host == allowed || host == allowed+":443" {
			return true
		}
		domain, ok := strings.CutPrefix(allowed, "*.")
		if sub, found := strings.CutSuffix(host, "."+domain); ok && domain != "" && found && sub != "" {
			return true
		}
	}
	return false
}

// Sources returns source expressions of a Content-Security-Policy that let a form lead
// to the checkout (https://www.w3.org/TR/CSP3/#framework-directive-source-list).
func (c CheckoutHosts) Sources() []string {
	scheme := "https:"
	if c.Insecure {
		scheme = "http:" // includes https
	}
	var sources []string
	for _, host := range c.Hosts {
		source := scheme + "//" + host
		if strings.HasPrefix(host, "[") { // the grammar has no IPv6 addresses
			source = scheme
		}
		sources = append(sources, source)
	}
	return sources
}
