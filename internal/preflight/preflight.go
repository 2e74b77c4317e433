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
	KeyMode  string // live or sandbox; "" without an API key
	SiteURL  string // of the app
	Endpoint string
	Client   *session.Client // nil without an API key
	Ledger   Ledger
	Offers   []Offer
	// StartError is why the app would not start.
	StartError error
	// GateOf returns the gate of an axra_paywall handler, and nil for any other handler.
	GateOf func(caddyhttp.MiddlewareHandler) *gate.Gate
	Now    func() time.Time
	Close  func() // releases what the app has acquired
}

// Secret is a secret as configured, such as {env.AXRA_API_KEY}, and its value.
type Secret struct{ Name, Placeholder, Value string }

// Ledger is where purchases are kept: a file, or a PostgreSQL server.
type Ledger struct {
	Named    bool   // by the configuration
	URL      string // of a server
	Location string // the path of the file, or the server without its password
}

// Offer is what a gate or a product of the app says with placeholders.
type Offer struct {
	Subject string
	Price   gate.Price
	Options string // as JSON
}

// checker is a configuration that is provisioned.
type checker struct {
	Config
	sites  []*site
	places map[string][]*location // of handlers, by the name of their module

	// Only `caddy axra check` has these.
	ctx        context.Context              //nolint:containedctx // it lives as long as the command
	configured map[string]*caddyhttp.Server // before provisioning, which erases trusted_proxies
	logs       map[string]*caddy.CustomLog  // not provisioned
}

// Names of the plugin's modules.
const (
	paywall = "axra_paywall"
	webhook = "axra_webhook"
	keySet  = "axra_jwks"
)

type check struct {
	name string
	run  func(*checker, *report)
	ok   string // what is reported if nothing else is
}

var (
	routeChecks = []check{ // they look at nothing but the routes
		{"addresses", (*checker).checkAddresses, "visitors return by https to a host that the configuration names"},
		{"webhook", (*checker).checkWebhooks, ""},
		{"order", (*checker).checkOrder, "every gate comes before what it protects"},
		{"overlap", (*checker).checkOverlap, "no path is behind two gates that sell different things"},
		{"caches", (*checker).checkCaches, "nothing in this Caddy makes gated answers public"},
	}
	otherChecks = []check{
		{"secrets", (*checker).checkSecrets, "all are set, and belong together"},
		{"prices", (*checker).checkPrices, "no placeholder of the environment is empty"},
		{"files", (*checker).checkFiles, ""},
		{"logs", (*checker).checkLogs, "no log keeps an address that opens a purchase"},
		{"ledger", (*checker).checkLedger, ""},
		{"outside", (*checker).noteOutside, ""},
	}
	liveChecks = []check{ // they call others
		{"axra", (*checker).checkAxra, ""},
		{"webhook from outside", (*checker).checkWebhookAddresses, ""},
	}
)

func (c *checker) run(checks []check) (findings []Finding) {
	for _, check := range checks {
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
	isHarmless := func(f Finding) bool { return f.Level == "ok" || f.Level == "unchecked" }
	return slices.DeleteFunc(c.run(routeChecks), isHarmless)
}

// noteOutside names what cannot be seen from here.
func (*checker) noteOutside(r *report) {
	r.note("", "what is in front of Caddy: a CDN or proxy must not cache gated pages, "+
		"and must pass on cookies and the webhook's body unchanged")
	r.note("", "whether a payment comes through: `--live` asks Axra; then make a first payment with a test key")
}
