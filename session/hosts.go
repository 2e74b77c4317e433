package session

import (
	"net/url"
	"strings"
)

// CheckoutHosts says where a checkout URL may lead. A host that starts with
// "*." stands for its subdomains; a host with a port allows just that port.
type CheckoutHosts struct {
	Hosts []string
	// Insecure allows http as well: for an endpoint on the loopback interface.
	Insecure bool
}

// Allow reports whether visitors may be sent to the URL.
func (c CheckoutHosts) Allow(target *url.URL) bool {
	if target.Scheme != "https" && (!c.Insecure || target.Scheme != "http") {
		return false
	}
	if target.User != nil || target.Opaque != "" || target.Hostname() == "" {
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
