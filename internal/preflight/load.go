package preflight

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"sync"

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
	caddy.BufferedLog() // for what is logged before the logs are silenced
	config, err := load(file, adapter)
	if err != nil {
		return unusable(err)
	}
	if missing := missingSecrets(p.Secrets(config.AppsRaw["axra"])); len(missing) > 0 {
		return &Diagnosis{missing, []string{"everything else: Caddy does not load a configuration whose secrets are empty"}}
	}
	var http caddyhttp.App
	_ = json.Unmarshal(config.AppsRaw["http"], &http) // Caddy reports what is wrong with it
	c := &checker{ctx: ctx, configured: http.Servers, logs: silence(config)}
	var result *Diagnosis
	err = provision(config, func(loaded caddy.Context) error {
		module, err := loaded.App("http")
		if err != nil {
			return err
		}
		described, err := p.Describe(loaded)
		if err != nil {
			return err
		}
		c.loaded, c.Config = loaded, *described
		c.locate(module.(*caddyhttp.App).Servers)
		result = c.diagnose(live)
		return nil
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
	config := new(caddy.Config)
	switch {
	case err != nil:
	case len(raw) == 0:
		err = errors.New("there is no Caddyfile in this folder: add --config /etc/caddy/Caddyfile")
	default:
		err = caddy.StrictUnmarshalJSON(caddy.RemoveMetaFields(raw), config)
	}
	if err == nil && (config.AppsRaw == nil || !bytes.Contains(raw, []byte(`"axra`))) {
		err = errors.New("the configuration has no global option axra, so there is no paywall to check: add it, or name another file with --config")
	}
	return config, err
}

// silence makes all logs write nowhere, so that no log file is opened. It returns those that wrote somewhere.
func silence(config *caddy.Config) (logs []caddy.CustomLog) {
	if config.Logging == nil {
		config.Logging = new(caddy.Logging)
	}
	if config.Logging.Logs == nil {
		config.Logging.Logs = make(map[string]*caddy.CustomLog)
	}
	if config.Logging.Logs[caddy.DefaultLoggerName] == nil {
		config.Logging.Logs[caddy.DefaultLoggerName] = new(caddy.CustomLog) // as Caddy does
	}
	for _, log := range config.Logging.Logs {
		if !bytes.Contains(log.WriterRaw, []byte(`"discard"`)) {
			logs = append(logs, *log)
		}
		log.WriterRaw, log.CoreRaw = json.RawMessage(`{"output":"discard"}`), nil
	}
	config.Logging.Sink = nil
	return logs
}

// inspector is an app that sees the others while Caddy validates a configuration. Caddy then cleans up.
type inspector struct{}

var (
	register sync.Once
	inspect  func(caddy.Context) error
)

// CaddyModule returns the Caddy module information.
func (*inspector) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "axra_check", New: func() caddy.Module { return new(inspector) }}
}

// Provision runs the inspection.
func (*inspector) Provision(ctx caddy.Context) error { return inspect(ctx) }

// Start does nothing.
func (*inspector) Start() error { return nil }

// Stop does nothing.
func (*inspector) Stop() error { return nil }

// provision provisions a configuration, runs a function on it, and cleans up.
func provision(config *caddy.Config, run func(caddy.Context) error) error {
	register.Do(func() { caddy.RegisterModule(new(inspector)) })
	inspect = run
	config.AppsRaw["axra_check"] = json.RawMessage(`{}`)
	return caddy.Validate(config)
}
