package settings

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/caddy-axra/paywall/internal/gate"
)

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
