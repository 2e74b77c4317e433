package preflight

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

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
