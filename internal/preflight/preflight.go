// Package preflight checks a configuration before it goes live: `caddy axra check`.
package preflight

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/session"
)

// Config describes what the plugin has read of a configuration.
type Config struct {
	Secrets  []Secret
	SiteURL  string // of the app
	Endpoint string
	// IsAxra reports that the endpoint is one of Axra's own, or on this machine.
	IsAxra  bool
	Client  *session.Client // nil without an API key
	Ledger  Ledger
	Gates   []*Gate
	Pricing []Pricing
	// StartError is why the app would not start.
	StartError error
	// Describe returns the *Gate, *Webhook or *KeySet of a handler, nil for a handler of others.
	Describe func(caddyhttp.MiddlewareHandler) any
	Now      func() time.Time
}

// Secret is a secret as configured, such as {env.AXRA_API_KEY}, and its value.
type Secret struct{ Name, Placeholder, Value string }

// Ledger is where purchases are kept: a file, or a PostgreSQL server.
type Ledger struct {
	Named     bool // by the configuration
	Path, URL string
	Location  string // of the server, without its password
}

// Pricing is what a gate or a product says with placeholders.
type Pricing struct {
	Subject          string
	Amount, Currency string
	Texts            []string
}

// Gate describes an axra_paywall handler.
type Gate struct {
	*gate.Gate
	Name     string
	SiteURL  string
	Takeover bool // another browser may take over a checkout
}

func (g *Gate) subject() string { return "gate " + g.Name }

// Webhook describes an axra_webhook handler.
type Webhook struct{ Matchers caddyhttp.MatcherSets }

// KeySet describes an axra_jwks handler.
type KeySet struct{}

// checker is a configuration that is provisioned but not started.
type checker struct {
	Config
	ctx       context.Context //nolint:containedctx // it lives as long as the command
	sites     []*site
	proxied   map[*caddyhttp.Server]bool // servers with trusted_proxies
	logger    *zap.Logger                // of the HTTP app
	logged    *capture                   // what it logs
	unchecked []string
}

// note adds to what cannot be checked from here.
func (c *checker) note(format string, args ...any) {
	if note := fmt.Sprintf(format, args...); !slices.Contains(c.unchecked, note) {
		c.unchecked = append(c.unchecked, note)
	}
}

// run makes all checks. Those that call others come last, and only if asked for.
func (c *checker) run(live bool) *Diagnosis {
	checks := []struct {
		name string
		run  func(*report)
	}{
		{"secrets", c.checkSecrets},
		{"endpoint", c.checkEndpoint},
		{"prices", c.checkPrices},
		{"addresses", c.checkAddresses},
		{"webhook", c.checkWebhooks},
		{"key set", c.checkKeySets},
		{"order", c.checkOrder},
		{"overlap", c.checkOverlap},
		{"files", c.checkFiles},
		{"caches", c.checkCaches},
		{"logs", c.checkLogs},
		{"ledger", c.checkLedger},
		{"clock", c.checkClock},
		{"axra", c.checkAxra},
		{"webhook from outside", c.checkWebhookAddresses},
	}
	if !live {
		checks = checks[:len(checks)-2]
		c.note("whether Axra accepts the credentials, and whether the webhook can be reached from outside: add --live")
	}
	result := new(Diagnosis)
	for _, check := range checks {
		r := &report{check: check.name}
		check.run(r)
		result.Findings = append(result.Findings, r.findings...)
	}
	c.note("what is in front of Caddy: a CDN or proxy must not cache gated pages, and must pass on cookies and the webhook's body unchanged")
	c.note("whether the webhook address is entered in Axra, and how Axra signs: make a first payment with a test key")
	result.Unchecked = c.unchecked
	return result
}
