// Package preflight checks a configuration before it goes live: `caddy axra check`.
package preflight

import (
	"context"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/session"
)

// Config describes what the plugin has read of a configuration.
type Config struct {
	Secrets  []Secret
	SiteURL  string // of the app
	Endpoint string
	Client   *session.Client // nil without an API key
	Ledger   Ledger
	Pricing  []Pricing
	// StartError is why the app would not start.
	StartError error
	// Describe returns the *Gate, *Webhook or *KeySet of a handler, the same each time, and nil for a handler of others.
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

// Webhook describes an axra_webhook handler. It has a size, so that its address tells it from others.
type Webhook struct{ _ byte }

// KeySet describes an axra_jwks handler.
type KeySet struct{}

// checker is a configuration that is provisioned.
type checker struct {
	Config
	sites                    []*site
	gates, webhooks, keySets []*location

	// Only `caddy axra check` has these.
	ctx        context.Context              //nolint:containedctx // it lives as long as the command
	loaded     caddy.Context                // of the configuration
	configured map[string]*caddyhttp.Server // before provisioning, which erases trusted_proxies
	logs       map[string]*caddy.CustomLog  // not provisioned
}

type check struct {
	name string
	run  func(*checker, *report)
	ok   string // what is reported if nothing else is
}

var (
	configChecks = []check{
		{"secrets", (*checker).checkSecrets, "all are set"},
		{"endpoint", (*checker).checkEndpoint, "key, secrets and endpoint belong together"},
		{"prices", (*checker).checkPrices, "no placeholder of the environment is empty"},
	}
	routeChecks = []check{ // they look at nothing but the routes
		{"addresses", (*checker).checkAddresses, "visitors return by https to a host that the configuration names"},
		{"webhook", (*checker).checkWebhooks, ""},
		{"order", (*checker).checkOrder, "every gate comes before what it protects"},
		{"overlap", (*checker).checkOverlap, "no path is behind two gates that sell different things"},
		{"caches", (*checker).checkCaches, "nothing in this Caddy makes gated answers public"},
	}
	machineChecks = []check{
		{"files", (*checker).checkFiles, ""},
		{"logs", (*checker).checkLogs, "no log keeps an address that opens a purchase"},
		{"ledger", (*checker).checkLedger, ""},
		{"clock", (*checker).checkClock, "it may be right"},
		{"outside", (*checker).noteOutside, ""},
	}
	liveChecks = []check{ // they call others
		{"axra", (*checker).checkAxra, ""},
		{"webhook from outside", (*checker).checkWebhookAddresses, ""},
	}
)

func (c *checker) run(checks ...[]check) (findings []Finding) {
	for _, check := range slices.Concat(checks...) {
		r := &report{check: check.name}
		check.run(c, r)
		if len(r.findings) == 0 && check.ok != "" {
			r.ok("", "%s", check.ok)
		}
		findings = append(findings, r.findings...)
	}
	return findings
}

// CheckRoutes returns what is wrong with the routes of servers.
func CheckRoutes(config *Config, servers map[string]*caddyhttp.Server) []Finding {
	c := &checker{Config: *config}
	c.locate(servers)
	return slices.DeleteFunc(c.run(routeChecks), func(f Finding) bool { return f.Level != "error" && f.Level != "warning" })
}
