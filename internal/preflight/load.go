package preflight

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"regexp"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Plugin reads the plugin's own part of a configuration.
type Plugin struct {
	// Secrets returns the secrets of the axra app, without provisioning it.
	Secrets func(app json.RawMessage) []Secret
	// Describe describes a provisioned configuration.
	Describe func(caddy.Context) (*Config, error)
}

// Check loads a configuration as `caddy validate` does, and checks it.
func (p Plugin) Check(ctx context.Context, file, adapter string, live bool) *Diagnosis {
	caddy.BufferedLog() // for what is logged before the logs are captured
	config, err := load(file, adapter)
	if err != nil {
		return unusable(err)
	}
	if missing := missingSecrets(p.Secrets(config.AppsRaw["axra"])); len(missing) > 0 {
		return &Diagnosis{missing, []string{"everything else: Caddy does not load a configuration whose secrets are empty"}}
	}
	var result *Diagnosis
	proxied := proxiedServers(config)
	err = provision(config, func(loaded caddy.Context) error {
		c, err := p.newChecker(ctx, loaded, config.Logging, proxied)
		if err == nil {
			result = c.diagnose(live)
		}
		return err
	})
	if err != nil {
		return unusable(errors.New(modulesBefore.ReplaceAllString(err.Error(), "$1")))
	}
	return result
}

// modulesBefore matches Caddy's list of modules before a message of this plugin.
var modulesBefore = regexp.MustCompile(`(?s)^.*\b(axra(?:_[a-z]+)?(?:: | needs ).*)$`)

// unusable reports a configuration that does not load. The message names the fix.
func unusable(err error) *Diagnosis {
	return &Diagnosis{
		[]Finding{{Level: "error", Check: "configuration", Message: err.Error()}}, []string{"everything else: the configuration does not load"},
	}
}

func load(file, adapter string) (*caddy.Config, error) {
	raw, _, _, err := caddycmd.LoadConfig(file, adapter)
	switch {
	case err != nil:
		return nil, err
	case len(raw) == 0:
		return nil, errors.New("there is no Caddyfile in this folder: add --config /etc/caddy/Caddyfile")
	case !bytes.Contains(raw, []byte(`"axra`)):
		return nil, errors.New("the configuration has no global option axra, so there is no paywall to check: add it, or name another file with --config")
	}
	config := new(caddy.Config)
	return config, caddy.StrictUnmarshalJSON(caddy.RemoveMetaFields(raw), config)
}

func (p Plugin) newChecker(ctx context.Context, loaded caddy.Context, logging *caddy.Logging, proxied map[string]bool) (*checker, error) {
	module, err := loaded.AppIfConfigured("http")
	app, ok := module.(*caddyhttp.App)
	if !ok && !errors.Is(err, caddy.ErrNotConfigured) {
		return nil, err
	}
	if !ok {
		app = new(caddyhttp.App)
	}
	described, err := p.Describe(loaded) // which needs the HTTP app
	if err != nil {
		return nil, err
	}
	c := &checker{
		Config: *described, ctx: ctx, sites: sitesOf(app.Servers, described.Describe),
		proxied: make(map[*caddyhttp.Server]bool), logger: logging.Logger(app),
	}
	for name, server := range app.Servers {
		c.proxied[server] = proxied[name]
	}
	return c, nil
}

// proxiedServers are those with trusted_proxies, which provisioning erases.
func proxiedServers(config *caddy.Config) map[string]bool {
	var app caddyhttp.App
	_ = json.Unmarshal(config.AppsRaw["http"], &app) // Caddy reports what is wrong with it
	proxied := make(map[string]bool)
	for name, server := range app.Servers {
		proxied[name] = server != nil && (server.TrustedProxiesRaw != nil || server.TrustedProxiesUnix)
	}
	return proxied
}

// inspector is an app that sees the others while Caddy validates a configuration. Caddy then cleans up.
type inspector struct{}

const inspectorName = "axra_check" // as an app and as a log writer

var (
	register sync.Once
	inspect  atomic.Pointer[func(caddy.Context) error]
	logged   capture
)

// CaddyModule returns the Caddy module information.
func (*inspector) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: inspectorName, New: func() caddy.Module { return new(inspector) }}
}

// Provision runs the inspection.
func (*inspector) Provision(ctx caddy.Context) error { return (*inspect.Load())(ctx) }

// Start does nothing.
func (*inspector) Start() error { return nil }

// Stop does nothing.
func (*inspector) Stop() error { return nil }

// provision provisions a configuration, runs a function on it, and cleans up.
func provision(config *caddy.Config, run func(caddy.Context) error) error {
	register.Do(func() {
		caddy.RegisterModule(new(inspector))
		caddy.RegisterModule(new(capture))
	})
	inspect.Store(&run)
	captureLogs(config)
	if config.AppsRaw == nil {
		config.AppsRaw = make(caddy.ModuleMap)
	}
	config.AppsRaw[inspectorName] = json.RawMessage(`{}`)
	return caddy.Validate(config)
}

// captureLogs makes all logs write to memory: no log file is opened, and what they would contain can be checked.
func captureLogs(config *caddy.Config) {
	if config.Logging == nil {
		config.Logging = new(caddy.Logging)
	}
	logs := map[string]*caddy.CustomLog{caddy.DefaultLoggerName: {}} // Caddy adds it
	maps.Copy(logs, config.Logging.Logs)
	for _, log := range logs {
		if !bytes.Contains(log.WriterRaw, []byte(`"discard"`)) {
			log.WriterRaw, log.CoreRaw, log.Sampling = json.RawMessage(`{"output":"`+inspectorName+`"}`), nil, nil
		}
	}
	config.Logging.Logs, config.Logging.Sink = logs, nil
}

// capture is a log writer that keeps what is logged in memory.
type capture struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// CaddyModule returns the Caddy module information.
func (*capture) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.logging.writers." + inspectorName, New: func() caddy.Module { return new(capture) }}
}

func (*capture) String() string { return inspectorName }

// WriterKey is the same for all logs.
func (*capture) WriterKey() string { return inspectorName }

// OpenWriter returns the one writer that there is.
func (*capture) OpenWriter() (io.WriteCloser, error) { return &logged, nil }

func (c *capture) Write(line []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.Write(line)
}

// Close does nothing.
func (*capture) Close() error { return nil }

// take returns what was logged since it was last called.
func (c *capture) take() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.text.Reset()
	return c.text.String()
}
