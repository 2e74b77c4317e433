package preflight

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Describe describes a configuration that is provisioned.
type Describe func(caddy.Context) (*Config, error)

// Check provisions a configuration, except for its logs, as `caddy validate` does, and checks it.
func (describe Describe) Check(ctx context.Context, file, adapter string, live bool) *Diagnosis {
	caddy.BufferedLog() // for what is logged before the logs are silenced
	result := new(Diagnosis)
	config, err := load(file, adapter)
	if err == nil {
		c := newChecker(ctx, config)
		err = provision(config, func(loaded caddy.Context) error {
			http, httpErr := loaded.App("http")
			described, err := describe(loaded) // which needs the HTTP app
			if err := cmp.Or(httpErr, err); err != nil {
				return err
			}
			c.Config = *described
			c.locate(http.(*caddyhttp.App).Servers)
			result.Findings = c.run(slices.Concat(routeChecks, otherChecks))
			if live {
				result.Findings = append(result.Findings, c.run(liveChecks)...)
			}
			return nil
		})
	}
	if err != nil {
		found := Finding{Level: "error", Check: "configuration", Message: modulesBefore.ReplaceAllString(err.Error(), "$1")}
		if strings.Contains(found.Message, "is empty") { // others name the fix
			found.Fix = fixEnvironment
		}
		result.Findings = []Finding{found}
	}
	return result
}

// fixEnvironment is for what is empty in the environment of this command, but may be set in the service's.
const fixEnvironment = "if it is set in the service's environment (EnvironmentFile of systemd, env_file of Docker), " +
	"add --envfile FILE"

// modulesBefore matches Caddy's list of modules before a message of this plugin.
var modulesBefore = regexp.MustCompile(`(?s)^.*\b(axra(?:_[a-z]+)?(?:: | needs ).*)$`)

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
		err = errors.New("the configuration has no global option axra: add it, or name another file with --config")
	}
	return config, err
}

// newChecker keeps what provisioning erases, and silences the logs of the configuration.
func newChecker(ctx context.Context, config *caddy.Config) *checker {
	var http caddyhttp.App
	_ = json.Unmarshal(config.AppsRaw["http"], &http) // Caddy reports what is wrong with it
	c := &checker{ctx: ctx, configured: http.Servers, logs: map[string]*caddy.CustomLog{caddy.DefaultLoggerName: {}}}
	if config.Logging != nil {
		maps.Copy(c.logs, config.Logging.Logs)
	}
	discard := caddy.BaseLog{WriterRaw: json.RawMessage(`{"output":"discard"}`)} // no log file is opened
	config.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{caddy.DefaultLoggerName: {BaseLog: discard}}}
	return c
}

// inspector is an app that sees the others while Caddy validates a configuration. Caddy then cleans up.
type inspector struct{}

var (
	register = sync.OnceFunc(func() { caddy.RegisterModule(inspector{}) }) // of no other command
	inspect  func(caddy.Context) error
)

// CaddyModule returns the Caddy module information.
func (inspector) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "axra_check", New: func() caddy.Module { return new(inspector) }}
}

// Provision runs the inspection.
func (inspector) Provision(ctx caddy.Context) error { return inspect(ctx) }

// Start does nothing.
func (inspector) Start() error { return nil }

// Stop does nothing.
func (inspector) Stop() error { return nil }

// provision provisions a configuration, runs a function on it, and cleans up.
func provision(config *caddy.Config, run func(caddy.Context) error) error {
	register()
	inspect = run
	config.AppsRaw["axra_check"] = json.RawMessage(`{}`)
	return caddy.Validate(config)
}
