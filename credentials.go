package paywall

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"

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

// secrets are resolved once and kept out of every exported field.
type secrets struct {
	key, secret string
	webhook     [][]byte
}

func (a *App) resolveSecrets() (secrets, error) {
	var s secrets
	var err error
	if s.key, err = resolveSecret("api_key", a.APIKey); err != nil {
		return s, err
	}
	if s.secret, err = resolveSecret("api_secret", a.APISecret); err != nil {
		return s, err
	}
	if s.secret != "" && s.key == "" {
		return s, errors.New("axra: api_secret is set without api_key: add `api_key {env.AXRA_API_KEY}`")
	}
	for _, value := range a.WebhookSecrets {
		resolved, err := resolveSecret("webhook_secret", value)
		if err != nil {
			return s, err
		}
		if resolved == "" {
			return s, errors.New("axra: webhook_secret is empty: anybody could sign with it; remove it or give it a value")
		}
		s.webhook = append(s.webhook, []byte(resolved))
	}
	if len(s.webhook) == 0 && s.secret != "" {
		s.webhook = [][]byte{[]byte(s.secret)}
	}
	return s, nil
}

// resolveSecret reads a placeholder once. A literal is refused: it would be
// shown by Caddy's admin API and stand in its autosaved configuration.
func resolveSecret(name, value string) (string, error) {
	if value == "" {
		return "", nil
	}
	if err := secretIsPlaceholder(name, value); err != nil {
		return "", fmt.Errorf("axra: %w", err)
	}
	resolved, err := caddy.NewReplacer().ReplaceOrErr(value, true, true)
	resolved = strings.TrimSpace(resolved)
	if err != nil || resolved == "" {
		return "", fmt.Errorf("axra: %s %s is empty in the running Caddy: set that variable and restart, or use {file./path}", name, value)
	}
	return resolved, nil
}

func secretIsPlaceholder(name, value string) error {
	inner, isOne := strings.CutPrefix(value, "{")
	inner, closed := strings.CutSuffix(inner, "}")
	if isOne && closed && !strings.ContainsAny(inner, "{}") && (strings.HasPrefix(inner, "env.") || strings.HasPrefix(inner, "file.")) {
		return nil
	}
	return fmt.Errorf("%s must be a placeholder, so that the secret stays out of the configuration: "+
		"write {env.NAME} or {file./path} (not {$NAME}, which Caddy expands into the configuration)", name)
}

// Modes of keys and endpoints.
const (
	live    = "live"
	sandbox = "sandbox"
)

// resolveEndpoint settles where calls go and where visitors may be sent, and
// refuses to mix Axra's live and sandbox worlds.
func resolveEndpoint(configured, key, secret string, checkoutHosts []string) (string, session.CheckoutHosts, error) {
	none := session.CheckoutHosts{}
	mode := keyMode(key, "bk_")
	if other := keyMode(secret, "bs_"); secret != "" && mode != "" && other != "" && mode != other {
		return "", none, fmt.Errorf("axra: api_key is a %s key and api_secret a %s secret: take both from the same Axra account page", mode, other)
	}
	if err := checkCheckoutHosts(checkoutHosts); err != nil {
		return "", none, fmt.Errorf("axra: %w", err)
	}
	if configured != "" {
		resolved, err := caddy.NewReplacer().ReplaceOrErr(configured, true, true)
		if err != nil || resolved == "" {
			return "", none, fmt.Errorf("axra: endpoint %s is empty in the running Caddy: set that variable and restart", configured)
		}
		configured = resolved
	}
	if configured == "" {
		switch mode {
		case live:
			configured = "https://" + liveHost + apiPath
		case sandbox:
			configured = "https://" + sandboxHost + apiPath
		default:
			return "", none, errors.New("axra: api_key begins neither with bk_live_ nor with bk_test_: check it, or name the `endpoint`")
		}
	}
	endpoint, err := parseBaseURL(configured, true)
	if err != nil {
		return "", none, fmt.Errorf("axra: endpoint: %w", err) // it could hold a password
	}
	host := strings.ToLower(endpoint.Hostname())
	if at := endpointMode(host); mode != "" && at != "" && mode != at {
		return "", none, fmt.Errorf("axra: api_key is a %s key, but endpoint %s is a %s one: use the key of that world or leave out `endpoint`", mode, host, at)
	}
	hosts := session.CheckoutHosts{Hosts: checkoutHosts, Insecure: endpoint.Scheme == "http"}
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

func checkCheckoutHosts(hosts []string) error {
	for _, host := range hosts {
		name := strings.TrimPrefix(host, "*.")
		if name == "" || strings.ContainsAny(name, "/*@? ;,'\"") {
			return fmt.Errorf("checkout_hosts %s is no host: write it without https:// and path, such as pay.useaxra.com or *.useaxra.com", host)
		}
	}
	return nil
}

func keyMode(key, prefix string) string {
	switch {
	case strings.HasPrefix(key, prefix+"live_"):
		return live
	case strings.HasPrefix(key, prefix+"test_"):
		return sandbox
	default:
		return ""
	}
}

func endpointMode(host string) string {
	switch {
	case host == liveHost:
		return live
	case host == sandboxHost, gate.IsLoopback(host):
		return sandbox
	default:
		return ""
	}
}

var (
	errNotAbsolute = errors.New("not an absolute address: write it as https://example.com")
	errInsecure    = errors.New("plain http is accepted for localhost only: use https")
	errParts       = errors.New("must not hold a user, a query or a fragment")
)

// parseBaseURL reads an address that others are built from.
func parseBaseURL(raw string, withPath bool) (*url.URL, error) {
	parsed, err := url.Parse(raw)
	if err != nil || parsed.Host == "" || (parsed.Scheme != "https" && parsed.Scheme != "http") {
		return nil, errNotAbsolute
	}
	if parsed.User != nil || parsed.RawQuery != "" || parsed.Fragment != "" {
		return nil, errParts
	}
	if !withPath && parsed.Path != "" && parsed.Path != "/" {
		return nil, errors.New("must not hold a path")
	}
	if parsed.Scheme == "http" && !gate.IsLoopback(parsed.Hostname()) {
		return nil, errInsecure
	}
	return parsed, nil
}

// resolveSiteURL returns the origin that site_url names, "" for none.
func resolveSiteURL(configured string) (string, error) {
	if configured == "" {
		return "", nil
	}
	resolved, err := caddy.NewReplacer().ReplaceOrErr(configured, true, true)
	if err != nil || resolved == "" {
		return "", fmt.Errorf("axra: site_url %s is empty: set that variable or file before starting Caddy", configured)
	}
	parsed, err := parseBaseURL(resolved, false)
	if err != nil {
		return "", fmt.Errorf("axra: site_url %q: %w", resolved, err)
	}
	return strings.ToLower(parsed.Scheme + "://" + parsed.Host), nil
}
