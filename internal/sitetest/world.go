// Package sitetest runs a site with the plugin in a real Caddy, with a sandbox of Axra, a clock, visitors and an operator.
package sitetest

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/spf13/cobra"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/sandbox"
)

// Test cards [reference/testing].
const (
	cardGood     = "4242 4242 4242 4242"
	CardDeclined = "4000 0000 0000 0002"
)

// Marker stands in every paid file; no byte of it may reach a stranger.
const Marker = "PAID-CONTENT-MARKER"

// Plugin is what a world needs to know of the plugin under test, of which packages must not know.
type Plugin struct {
	SetClock      func(now func() time.Time) (restore func()) // of configurations that are loaded later
	PollFeeds     func(context.Context) error                 // of the open ledgers; nil: they and their keys are read
	NewCommand    func() *cobra.Command                       // `caddy axra`
	RunningLedger func() (*ledger.Ledger, error)
}

// World is a real Caddy with the plugin, a sandbox of Axra, and a clock. There is one at a time.
type World struct {
	T         testing.TB
	Sandbox   *sandbox.Sandbox
	Axra      *httptest.Server // which the sandbox is behind
	Port      string
	Site      string // "http://localhost:PORT"
	Config    string // the Caddyfile in force
	Database  string // what the option `database` says
	Logs      string // Caddy's log file
	plugin    Plugin
	options   Options
	root      string          // files of the site
	storage   string          // Caddy's storage
	adminPort string          // of Caddy's admin API; empty: it has none
	transport *http.Transport // of visitors
	offset    atomic.Int64    // of the clock, in nanoseconds
}

// Options vary a world. Caddyfile may use the words of Expand.
type Options struct {
	Caddyfile string
	Sandbox   sandbox.Config
	LogLevel  string // default: DEBUG
	// DatabaseURL puts the ledger into PostgreSQL.
	DatabaseURL string
	// Broken says that the ledger cannot be opened at first.
	Broken bool
}

// New starts a world, which ends with the test.
func New(t testing.TB, plugin Plugin, options Options) *World {
	t.Helper()
	options.LogLevel = cmp.Or(options.LogLevel, "DEBUG")
	w := &World{
		T: t, plugin: plugin, options: options, Port: FreePort(t), Logs: filepath.Join(t.TempDir(), "caddy.log"),
		root: t.TempDir(), storage: t.TempDir(), transport: new(http.Transport),
	}
	w.Database = "sqlite " + filepath.Join(w.storage, "axra", "ledger.db")
	if options.DatabaseURL != "" {
		t.Setenv("AXRA_DATABASE_URL", options.DatabaseURL)
		w.Database = "postgres {env.AXRA_DATABASE_URL}"
	}
	w.Site = "http://localhost:" + w.Port
	w.Write("index.html", "free")
	w.Write("premium/index.html", Marker+" index")
	w.Write("premium/article.html", Marker+" article")
	w.Write("premium/other.html", Marker+" other")
	t.Cleanup(w.plugin.SetClock(w.Now))
	t.Setenv("AXRA_API_KEY", "bk_test_sandbox")
	t.Setenv("AXRA_API_SECRET", "bs_test_sandbox")
	t.Setenv("AXRA_WEBHOOK_SECRET", "bs_test_sandbox")

	w.startAxra()
	w.Load(cmp.Or(options.Caddyfile, FiveLines))
	t.Cleanup(w.Stop)
	return w
}

// startAxra starts the sandbox.
func (w *World) startAxra() {
	w.T.Helper()
	config := w.options.Sandbox
	config.Now = w.Now
	config.WebhookURL = w.Site + "/webhooks/axra"
	if config.RetryDelays == nil {
		config.RetryDelays = []time.Duration{20 * time.Millisecond}
	}
	if config.SettleAfter == 0 {
		config.SettleAfter = sandbox.SettleByHand
	}
	w.Axra = httptest.NewUnstartedServer(nil)
	config.BaseURL = "http://" + w.Axra.Listener.Addr().String()
	var err error
	w.Sandbox, err = sandbox.New(config)
	must(w.T, err)
	w.Axra.Config.Handler = w.Sandbox
	w.Axra.Start()
	w.T.Cleanup(func() {
		must(w.T, w.Sandbox.Close())
		w.Axra.Close()
	})
}

// Write writes a file of the site.
func (w *World) Write(name, content string) {
	w.T.Helper()
	path := filepath.Join(w.root, filepath.FromSlash(name))
	must(w.T, os.MkdirAll(filepath.Dir(path), 0o700))
	must(w.T, os.WriteFile(path, []byte(content), 0o600))
}

// Expand fills in what differs from run to run: SETUP, SETUP ADMIN (with the admin API), SETUP MAX (with large headers),
// ENDPOINT, PORT and ROOT. With local_certs the site has HTTPS.
func (w *World) Expand(config string) string {
	maxHeader := ""
	if strings.Contains(config, "SETUP MAX") {
		maxHeader = "\n\t\tmax_header_size 2MB"
		config = strings.Replace(config, "SETUP MAX", "SETUP", 1)
	}
	admin := "off"
	if strings.Contains(config, "SETUP ADMIN") {
		admin = w.AdminAddress()
		config = strings.Replace(config, "SETUP ADMIN", "SETUP", 1)
	}
	tlsSite := strings.Contains(config, "local_certs")
	expanded := strings.NewReplacer(
		"SETUP", fmt.Sprintf(`admin %s
	persist_config off
	auto_https off
	storage file_system %s
	log {
		output file %s
		level %s
	}
	servers {
		protocols h1%s
	}`, admin, w.storage, w.Logs, w.options.LogLevel, maxHeader),
		"ENDPOINT", w.Axra.URL+"/api/v1\n\t\tdatabase "+w.Database,
		"PORT", w.Port,
		"ROOT", w.root,
	).Replace(config)
	if tlsSite {
		expanded = strings.NewReplacer("auto_https off", "auto_https disable_redirects", "protocols h1", "protocols h1 h2").Replace(expanded)
	}
	return expanded
}

// AdminAddress is where Caddy's admin API listens, where a test wants one.
func (w *World) AdminAddress() string {
	if w.adminPort == "" {
		w.adminPort = FreePort(w.T)
	}
	return "127.0.0.1:" + w.adminPort
}

// Load adapts and loads a Caddyfile, as a start or a reload.
func (w *World) Load(config string) {
	w.T.Helper()
	w.Config = config
	must(w.T, w.TryLoad(w.Expand(config)))
	w.transport.CloseIdleConnections() // those to the listeners that were
	w.settle()
}

// TryLoad loads a Caddyfile as it is.
func (w *World) TryLoad(expanded string) error {
	w.T.Helper()
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(expanded), map[string]any{"filename": "Caddyfile"})
	must(w.T, err)
	return caddy.Load(adapted, true)
}

// settle waits for the ledger to be open, so that a busy machine is not mistaken for a database that hangs.
func (w *World) settle() {
	if w.options.Broken || !strings.Contains(w.Config, "\t\tapi_key") {
		return
	}
	for range 500 {
		if w.plugin.PollFeeds(w.T.Context()) == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Stop ends Caddy.
func (w *World) Stop() {
	if err := caddy.Stop(); err != nil {
		w.T.Error(err)
	}
}

// Restart ends Caddy and starts it again on the same storage.
func (w *World) Restart() {
	w.T.Helper()
	w.Stop()
	w.Load(w.Config)
}

// Now is the time of the plugin and the sandbox.
func (w *World) Now() time.Time {
	return time.Now().Add(time.Duration(w.offset.Load()))
}

// Pass lets time go by.
func (w *World) Pass(d time.Duration) {
	w.offset.Add(int64(d))
	_ = w.plugin.PollFeeds(w.T.Context()) // which fails where a test has put the database out of reach
}

// Delivered waits until the sandbox has nothing left to send.
func (w *World) Delivered() {
	w.T.Helper()
	ctx, cancel := context.WithTimeout(w.T.Context(), 10*time.Second)
	defer cancel()
	if err := w.Sandbox.Idle(ctx); err != nil {
		w.T.Fatalf("webhooks were not delivered: %v", err)
	}
}

// Creations counts the calls that create sessions.
func (w *World) Creations() int { return w.Sandbox.CallCount(sandbox.RouteSession) }

// LastPayment is the newest payment.
func (w *World) LastPayment() sandbox.Payment {
	w.T.Helper()
	payments := w.Sandbox.Payments()
	if len(payments) == 0 {
		w.T.Fatal("there is no payment")
	}
	last := payments[0]
	for _, payment := range payments {
		if payment.CreatedAt.After(last.CreatedAt) {
			last = payment
		}
	}
	return last
}

// givenPorts are those that FreePort has returned. Caddy shares ports (SO_REUSEPORT), so two servers with the same one
// would not notice.
var givenPorts sync.Map

// FreePort is a port that nothing listens on, another one for each call.
func FreePort(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() //nolint:errcheck // nothing to be done
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	if _, isGiven := givenPorts.LoadOrStore(port, true); isGiven {
		return FreePort(t) // while this listener holds its port
	}
	return port
}

// Log is what Caddy has logged.
func (w *World) Log() string {
	w.T.Helper()
	raw, err := os.ReadFile(w.Logs)
	must(w.T, err)
	return string(raw)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
