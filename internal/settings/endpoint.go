package settings

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/session"
)

// Axra's addresses [authentication, reference/testing]. Whether /api/v1 follows
// the sandbox's host is unconfirmed.
const (
	liveHost    = "api.useaxra.com"
	sandboxHost = "staging-api.useaxra.com"
	apiPath     = "/api/v1"
)

// Endpoint resolves the API's address and the hosts that visitors may be sent to. It rejects a mix of Axra's live and
// sandbox modes.
func Endpoint(configured, key, secret string, checkoutHosts []string) (address string, hosts session.CheckoutHosts, err error) {
	mode := KeyMode(key, "bk_")
	if other := KeyMode(secret, "bs_"); mode != "" && other != "" && mode != other {
		return "", hosts, fmt.Errorf("api_key is a %s key and api_secret a %s secret: take both from the same Axra account page", mode, other)
	}
	for _, host := range checkoutHosts {
		if err := CheckCheckoutHost(host); err != nil {
			return "", hosts, err
		}
	}
	byMode := map[string]string{"live": "https://" + liveHost + apiPath, "sandbox": "https://" + sandboxHost + apiPath}
	switch address = cmp.Or(resolve(configured), byMode[mode]); {
	case configured != "" && resolve(configured) == "":
		return "", hosts, fmt.Errorf("endpoint %s is empty in the running Caddy: set that variable and restart", configured)
	case address == "":
		return "", hosts, errors.New("api_key begins neither with bk_live_ nor with bk_test_: check it, or name the `endpoint`")
	}
	endpoint, err := BaseURL(address, true)
	if err != nil {
		return "", hosts, fmt.Errorf("endpoint: %w", err) // without the address, which could hold a password
	}
	host := strings.ToLower(endpoint.Hostname())
	if other := EndpointMode(host); mode != "" && other != "" && mode != other {
		return "", hosts, fmt.Errorf("api_key is a %s key, but endpoint %s is a %s one: use the %s key or leave out `endpoint`", mode, host, other, other)
	}
	hosts = session.CheckoutHosts{Hosts: checkoutHosts, Insecure: endpoint.Scheme == "http"}
	if len(checkoutHosts) == 0 {
		byHost := map[string]string{liveHost: "pay.useaxra.com", sandboxHost: "*.useaxra.com"}
		hosts.Hosts = []string{cmp.Or(byHost[host], endpoint.Host)}
	}
	return strings.TrimSuffix(endpoint.String(), "/"), hosts, nil
}

// CheckCheckoutHost returns an error if the name is not a host.
func CheckCheckoutHost(host string) error {
	name := strings.TrimPrefix(host, "*.")
	if name == "" || strings.ContainsAny(name, "/*@? ;,'\"") {
		return fmt.Errorf("checkout_hosts %s is not a host: write it without https:// and path, such as pay.useaxra.com or *.useaxra.com", host)
	}
	return nil
}

// KeyMode returns the mode, live or sandbox, of a key or secret; empty if it has none.
func KeyMode(value, prefix string) string {
	switch {
	case strings.HasPrefix(value, prefix+"live_"):
		return "live"
	case strings.HasPrefix(value, prefix+"test_"):
		return "sandbox"
	}
	return ""
}

// EndpointMode returns the mode of an endpoint's host; empty if it has none.
func EndpointMode(host string) string {
	switch {
	case host == liveHost:
		return "live"
	case host == sandboxHost, gate.IsLoopback(host):
		return "sandbox"
	}
	return ""
}

// BaseURL parses an absolute address to which paths are appended.
func BaseURL(raw string, withPath bool) (*url.URL, error) {
	parsed, err := url.Parse(raw)
	switch {
	case err != nil || parsed.Host == "" || parsed.Scheme != "https" && parsed.Scheme != "http":
		return nil, errors.New("not an absolute address: write it as https://example.com")
	case parsed.User != nil || parsed.RawQuery != "" || parsed.Fragment != "":
		return nil, errors.New("must not hold a user, a query or a fragment")
	case !withPath && parsed.Path != "" && parsed.Path != "/":
		return nil, errors.New("must not hold a path")
	case parsed.Scheme == "http" && !gate.IsLoopback(parsed.Hostname()):
		return nil, errors.New("plain http is accepted for localhost only: use https")
	}
	return parsed, nil
}

// SiteURL resolves the origin that site_url names; empty: none is configured.
func SiteURL(configured string) (string, error) {
	if configured == "" {
		return "", nil
	}
	resolved := resolve(configured)
	if resolved == "" {
		return "", fmt.Errorf("site_url %s is empty: set that variable or file before starting Caddy", configured)
	}
	parsed, err := BaseURL(resolved, false)
	if err != nil {
		return "", fmt.Errorf("site_url %q: %w", resolved, err)
	}
	return strings.ToLower(parsed.Scheme + "://" + parsed.Host), nil
}
