// Package preflight checks a configuration before it goes live: `caddy axra check`.
package preflight

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
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
	Options  map[string]string // of gates and passes, as JSON
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
		{"environment", (*checker).checkEnvironment, "no variable that gates and passes use is empty"},
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

// Describe describes a configuration that is provisioned.
type Describe func(caddy.Context) (*Config, error)

// Check provisions a configuration, except for its logs, and checks it.
func (describe Describe) Check(ctx context.Context, file, adapter string, live bool) *Diagnosis {
	caddy.BufferedLog() // for what is logged before the logs are silenced
	c, err := describe.load(ctx, file, adapter)
	if err != nil {
		message := modulesBefore.ReplaceAllString(err.Error(), "$1")
		found := Finding{Level: "error", Check: "configuration", Message: message}
		if strings.Contains(found.Message, "is empty") { // others name the fix
			found.Fix = fixEnvironment
		}
		return &Diagnosis{[]Finding{found}}
	}
	defer c.Close()
	findings := c.run(slices.Concat(routeChecks, otherChecks))
	if live {
		findings = append(findings, c.run(liveChecks)...)
	}
	return &Diagnosis{findings}
}

// fixEnvironment is for what is empty in the environment of this command, but may be set in the service's.
const fixEnvironment = "if it is set in the service's environment (EnvironmentFile of systemd, env_file of Docker), " +
	"add --envfile FILE"

// modulesBefore matches Caddy's list of modules before a message of this plugin.
var modulesBefore = regexp.MustCompile(`(?s)^.*\b(axra(?:_[a-z]+)?(?:: | needs ).*)$`)

// load provisions a configuration. Caddy exports no way to clean up: the plugin's app is closed after the check, the rest
// goes when the command ends.
func (describe Describe) load(ctx context.Context, file, adapter string) (*checker, error) {
	raw, _, _, err := caddycmd.LoadConfig(file, adapter)
	if err != nil {
		return nil, err
	}
	if len(raw) == 0 {
		return nil, errors.New("there is no Caddyfile in this folder: add --config /etc/caddy/Caddyfile")
	}
	if !bytes.Contains(raw, []byte(`"axra`)) {
		return nil, errors.New("the configuration has no global option axra, so there is no paywall to check: " +
			"add it, or name another file with --config")
	}
	config := new(caddy.Config)
	if err := caddy.StrictUnmarshalJSON(caddy.RemoveMetaFields(raw), config); err != nil {
		return nil, err
	}
	var unprovisioned caddyhttp.App
	_ = json.Unmarshal(config.AppsRaw["http"], &unprovisioned) // Caddy reports what is wrong with it
	logs := map[string]*caddy.CustomLog{caddy.DefaultLoggerName: {}}
	if config.Logging != nil {
		maps.Copy(logs, config.Logging.Logs)
	}
	discard := caddy.BaseLog{WriterRaw: json.RawMessage(`{"output":"discard"}`)} // no log file is opened
	config.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{caddy.DefaultLoggerName: {BaseLog: discard}}}
	loaded, err := caddy.ProvisionContext(config)
	if err != nil {
		return nil, err
	}
	described, err := describe(loaded)
	if err != nil {
		return nil, err
	}
	c := &checker{Config: *described, ctx: ctx, configured: unprovisioned.Servers, logs: logs}
	http, err := loaded.App("http")
	if err == nil {
		c.locate(http.(*caddyhttp.App).Servers)
	}
	return c, err
}

// Finding is one result of a check. It never quotes a secret.
type Finding struct {
	Level   string `json:"level"` // ok, warning, error, or unchecked for what cannot be checked from here
	Check   string `json:"check"`
	Subject string `json:"subject,omitempty"`
	Message string `json:"message"`
	Fix     string `json:"fix,omitempty"`
}

// Diagnosis is the outcome of `caddy axra check`.
type Diagnosis struct {
	Findings []Finding `json:"findings"`
}

// Count counts the findings of a level.
func (d *Diagnosis) Count(level string) (count int) {
	for _, finding := range d.Findings {
		if finding.Level == level {
			count++
		}
	}
	return count
}

// WriteText writes the diagnosis for people, with each fix below its finding.
func (d *Diagnosis) WriteText(out io.Writer) {
	for _, f := range d.Findings {
		if f.Subject != "" {
			f.Message = f.Subject + ": " + f.Message
		}
		fmt.Fprintf(out, "%-10s %s: %s\n", f.Level, f.Check, f.Message)
		if f.Fix != "" {
			fmt.Fprintf(out, "           fix: %s\n", f.Fix)
		}
	}
	fmt.Fprintf(out, "\nerrors: %d, warnings: %d\n", d.Count("error"), d.Count("warning"))
}

// severity is the level of a fault.
func severity(isWarning bool) string {
	if isWarning {
		return "warning"
	}
	return "error"
}

// report collects the findings of one check, each one once.
type report struct {
	check    string
	findings []Finding
}

func (r *report) add(level, subject, fix, format string, args ...any) {
	found := Finding{level, r.check, subject, fmt.Sprintf(format, args...), fix}
	if !slices.Contains(r.findings, found) {
		r.findings = append(r.findings, found)
	}
}

func (r *report) ok(subject, format string, args ...any) { r.add("ok", subject, "", format, args...) }

func (r *report) note(subject, format string, args ...any) {
	r.add("unchecked", subject, "", format, args...)
}

func (r *report) warn(subject, fix, format string, args ...any) {
	r.add("warning", subject, fix, format, args...)
}

func (r *report) fail(subject, fix, format string, args ...any) {
	r.add("error", subject, fix, format, args...)
}
