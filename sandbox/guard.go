package sandbox

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

var (
	errNotLoopback = errors.New("only clients on this machine are served")
	errForeignHost = errors.New("the Host header names another site")
)

// guard keeps the sandbox to its own machine: RemoteAddr must be loopback, the
// Host header must be a name of this machine (a page that rebinds its DNS name
// to 127.0.0.1 sends its own), and a request that changes something must not
// come from a page of another origin.
func (s *Sandbox) guard(r *http.Request) error {
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !addr.Addr().IsLoopback() {
		return errNotLoopback
	}
	if !s.ownHost(r.Host) {
		return errForeignHost
	}
	if err := s.crossOrigin.Check(r); err != nil {
		return fmt.Errorf("a page of another site sent this request: %w", err)
	}
	return nil
}

func (s *Sandbox) ownHost(hostport string) bool {
	host := hostname(hostport)
	if host == "localhost" {
		return true
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsLoopback()
	}
	base, err := url.Parse(s.cfg.BaseURL)
	return err == nil && host != "" && host == strings.ToLower(base.Hostname())
}

func hostname(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// secureHeaders sets what every answer carries. There is no form-action in the
// policy: Chromium applies it to the redirect after a form post as well, and
// the checkout form ends on the merchant's site.
func secureHeaders(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	// The checkout token stands in the page's address: keep it from the merchant's logs.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}
