// Package preflight checks a configuration before it goes live: `caddy axra check`.
package preflight

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

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
	// Origin is the public address of a host of a server.
	Origin func(server *caddyhttp.Server, host string) string
	Now    func() time.Time
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
	Name     string
	Matchers caddyhttp.MatcherSets
	SiteURL  string
	Products []string
	// HasLinks reports that whoever reads a visitor's address can use the purchase.
	HasLinks bool
	// Covers reports whether a request is the gate's business, and whether it is refused as ambiguous.
	Covers func(*http.Request) (covered, refused bool)
}

func (g *Gate) subject() string { return "gate " + g.Name }

// Webhook describes an axra_webhook handler.
type Webhook struct{ Matchers caddyhttp.MatcherSets }

// KeySet stands for an axra_jwks handler.
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
	c.note("what stands in front of Caddy: a CDN or proxy must not cache gated pages, and must pass on cookies and the webhook's body unchanged")
	c.note("whether the webhook address is entered in Axra, and how Axra signs: make a first payment with a test key")
	result.Unchecked = c.unchecked
	return result
}

// Levels of a finding.
const (
	levelOK      = "ok"
	levelWarning = "warning"
	levelError   = "error"
)

// Finding is the result of one check. It never quotes a secret.
type Finding struct {
	Level   string `json:"level"`
	Check   string `json:"check"`
	Subject string `json:"subject,omitempty"`
	Message string `json:"message"`
	Fix     string `json:"fix,omitempty"`
}

// report collects the findings of one check.
type report struct {
	check    string
	findings []Finding
}

func (r *report) add(level, subject, fix, format string, args []any) {
	r.findings = append(r.findings, Finding{level, r.check, subject, fmt.Sprintf(format, args...), fix})
}

func (r *report) ok(subject, format string, args ...any) { r.add(levelOK, subject, "", format, args) }

func (r *report) warn(subject, fix, format string, args ...any) {
	r.add(levelWarning, subject, fix, format, args)
}

func (r *report) fail(subject, fix, format string, args ...any) {
	r.add(levelError, subject, fix, format, args)
}

// orOK reports that all is well where nothing else was found.
func (r *report) orOK(format string, args ...any) {
	if len(r.findings) == 0 {
		r.ok("", format, args...)
	}
}

// Diagnosis is the outcome of `caddy axra check`.
type Diagnosis struct {
	Findings  []Finding `json:"findings"`
	Unchecked []string  `json:"unchecked"` // what cannot be checked from here
}

// Errors counts the errors.
func (d *Diagnosis) Errors() int { return d.count(levelError) }

// Warnings counts the warnings.
func (d *Diagnosis) Warnings() int { return d.count(levelWarning) }

func (d *Diagnosis) count(level string) (count int) {
	for _, finding := range d.Findings {
		if finding.Level == level {
			count++
		}
	}
	return count
}

// WriteText writes the diagnosis for people, grouped by check, with each fix below its finding.
func (d *Diagnosis) WriteText(out io.Writer) error {
	check := ""
	for _, finding := range d.Findings {
		if finding.Check != check {
			check = finding.Check
			fmt.Fprintln(out, check)
		}
		subject := finding.Subject
		if subject != "" {
			subject += ": "
		}
		fmt.Fprintf(out, "  %-8s %s%s\n", finding.Level, subject, finding.Message)
		if finding.Fix != "" {
			fmt.Fprintf(out, "           fix: %s\n", finding.Fix)
		}
	}
	if len(d.Unchecked) > 0 {
		fmt.Fprintln(out, "not checked")
	}
	for _, note := range d.Unchecked {
		fmt.Fprintf(out, "  -        %s\n", note)
	}
	_, err := fmt.Fprintf(out, "\nerrors: %d, warnings: %d\n", d.Errors(), d.Warnings())
	return err
}

// resolve replaces the placeholders that are known without a request.
func resolve(text string) string { return caddy.NewReplacer().ReplaceKnown(text, "") }
