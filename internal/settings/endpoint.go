package settings

import (
	"errors"
	"fmt"
	"strings"

	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/session"
)

// Axra's addresses [authentication, reference/testing]. Whether /api/v1 follows
// the sandbox's host is unconfirmed.
const (
	liveHost        = "api.useaxra.com"
	sandboxHost     = "staging-api.useaxra.com"
	apiPath         = "/api/v1"
	liveCheckout    = "pay.useaxra.com"
	sandboxCheckout = "*.useaxra.com"
)

// Modes of keys and endpoints.
const (
	Live    = "live"
	Sandbox = "sandbox"
)

// Endpoint resolves where calls go and where visitors may be sent. It refuses to mix Axra's live and sandbox modes.
func Endpoint(configured, key, secret string, checkoutHosts []string) (string, session.CheckoutHosts, error) {
	address, hosts, err := resolveEndpoint(configured, key, secret, checkoutHosts)
	if err != nil {
		return "", session.CheckoutHosts{}, fmt.Errorf("axra: %w", err)
	}
	return address, hosts, nil
}

func resolveEndpoint(configured, key, secret string, checkoutHosts []string) (string, session.CheckoutHosts, error) {
	hosts := session.CheckoutHosts{Hosts: checkoutHosts}
	mode := KeyMode(key)
	if other := SecretMode(secret); mode != "" && other != "" && mode != other {
		return "", hosts, fmt.Errorf("api_key is a %s key and api_secret a %s secret: take both from the same Axra account page", mode, other)
	}
	if err := CheckCheckoutHosts(checkoutHosts); err != nil {
		return "", hosts, err
	}
	address, err := endpointAddress(configured, mode)
	if err != nil {
		return "", hosts, err
	}
	endpoint, err := BaseURL(address, true)
	if err != nil {
		return "", hosts, fmt.Errorf("endpoint: %w", err) // without the address, which could hold a password
	}
	host := strings.ToLower(endpoint.Hostname())
	if other := EndpointMode(host); mode != "" && other != "" && mode != other {
		return "", hosts, fmt.Errorf("api_key is a %s key, but endpoint %s is a %s one: use the %s key or leave out `endpoint`", mode, host, other, other)
	}
	hosts.Insecure = endpoint.Scheme == "http"
	if len(hosts.Hosts) == 0 {
		switch host {
		case liveHost:
			hosts.Hosts = []string{liveCheckout}
		case sandboxHost:
			hosts.Hosts = []string{sandboxCheckout}
		default:
			hosts.Hosts = []string{endpoint.Host}
		}
	}
	return strings.TrimSuffix(endpoint.String(), "/"), hosts, nil
}

// endpointAddress is the configured address with its placeholders replaced, or Axra's own for the mode.
func endpointAddress(configured, mode string) (string, error) {
	switch {
	case configured != "":
		resolved := resolve(configured)
		if resolved == "" {
			return "", fmt.Errorf("endpoint %s is empty in the running Caddy: set that variable and restart", configured)
		}
		return resolved, nil
	case mode == Live:
		return "https://" + liveHost + apiPath, nil
	case mode == Sandbox:
		return "https://" + sandboxHost + apiPath, nil
	default:
		return "", errors.New("api_key begins neither with bk_live_ nor with bk_test_: check it, or name the `endpoint`")
	}
}

// CheckCheckoutHosts returns an error if one of the names is not a host.
func CheckCheckoutHosts(hosts []string) error {
	for _, host := range hosts {
		name := strings.TrimPrefix(host, "*.")
		if name == "" || strings.ContainsAny(name, "/*@? ;,'\"") {
			return fmt.Errorf("checkout_hosts %s is not a host: write it without https:// and path, such as pay.useaxra.com or *.useaxra.com", host)
		}
	}
	return nil
}

// KeyMode is the mode of an API key; empty: it has none.
func KeyMode(key string) string { return modeAfter(key, "bk_") }

// SecretMode is the mode of an API secret; empty: it has none.
func SecretMode(secret string) string { return modeAfter(secret, "bs_") }

func modeAfter(value, prefix string) string {
	switch {
	case strings.HasPrefix(value, prefix+"live_"):
		return Live
	case strings.HasPrefix(value, prefix+"test_"):
		return Sandbox
	default:
		return ""
	}
}

// EndpointMode is the mode of an endpoint's host; empty: it has none.
func EndpointMode(host string) string {
	switch {
	case host == liveHost:
		return Live
	case host == sandboxHost, gate.IsLoopback(host):
		return Sandbox
	default:
		return ""
	}
}
