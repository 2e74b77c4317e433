package preflight

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strings"
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
		c, err := p.newChecker(loaded, config.Logging, proxied)
		if err == nil {
			c.ctx = ctx
			result = c.run(live)
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

var (
	errNoConfig = errors.New("there is no Caddyfile in this folder: add --config /etc/caddy/Caddyfile")
	errNoAxra   = errors.New("the configuration has no global option axra, so there is no paywall to check")
)

func unusable(err error) *Diagnosis {
	r, fix := report{check: "configuration"}, ""
	if errors.Is(err, errNoAxra) {
		fix = "add the global option axra, or name the paywall's configuration with --config"
	}
	r.fail("", fix, "%s", err)
	return &Diagnosis{r.findings, []string{"everything else: the configuration does not load"}}
}

func load(file, adapter string) (*caddy.Config, error) {
	raw, _, _, err := caddycmd.LoadConfig(file, adapter)
	switch {
	case err != nil:
		return nil, err
	case len(raw) == 0:
		return nil, errNoConfig
	}
	config := new(caddy.Config)
	if err := caddy.StrictUnmarshalJSON(caddy.RemoveMetaFields(raw), config); err != nil {
		return nil, err
	}
	if config.AppsRaw["axra"] == nil && !bytes.Contains(raw, []byte(`"axra_`)) {
		return nil, errNoAxra
	}
	return config, nil
}

// missingSecrets finds all secrets that are empty. Caddy's own message would name only the first.
func missingSecrets(secrets []Secret) []Finding {
	r := report{check: "secrets"}
	for _, secret := range secrets {
		path, isFile := strings.CutPrefix(strings.TrimSuffix(secret.Placeholder, "}"), "{file.")
		switch {
		case secret.Value != "":
		case isFile:
			r.fail(secret.Name, "write the secret to that file, and let Caddy's user read it", "%s is empty or cannot be read", path)
		default:
			r.fail(secret.Name, "set it. If the service gets its environment from a file (EnvironmentFile of systemd, env_file of Docker), add --envfile FILE",
				"%s is empty in the environment of this command, which may differ from the service's", secret.Placeholder)
		}
	}
	return r.findings
}

func (p Plugin) newChecker(ctx caddy.Context, logging *caddy.Logging, proxied map[string]bool) (*checker, error) {
	app := new(caddyhttp.App)
	module, err := ctx.AppIfConfigured("http")
	switch loaded, ok := module.(*caddyhttp.App); {
	case ok:
		app = loaded
	case !errors.Is(err, caddy.ErrNotConfigured):
		return nil, err
	}
	described, err := p.Describe(ctx) // which needs the HTTP app
	if err != nil {
		return nil, err
	}
	c := &checker{
		Config: *described, sites: sitesOf(app.Servers, described.Describe), proxied: make(map[*caddyhttp.Server]bool),
		logger: logging.Logger(app), logged: &logged,
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
	config.Logging.Sink = nil
	if config.Logging.Logs == nil {
		config.Logging.Logs = make(map[string]*caddy.CustomLog)
	}
	if config.Logging.Logs[caddy.DefaultLoggerName] == nil {
		config.Logging.Logs[caddy.DefaultLoggerName] = new(caddy.CustomLog) // Caddy adds it
	}
	for _, log := range config.Logging.Logs {
		if !bytes.Contains(log.WriterRaw, []byte(`"discard"`)) {
			log.WriterRaw, log.CoreRaw, log.Sampling = json.RawMessage(`{"output":"`+inspectorName+`"}`), nil, nil
		}
	}
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
