package paywall

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// examine loads a configuration as `caddy validate` does and checks it.
func examine(ctx context.Context, file, adapter string, live bool) *diagnosis {
	config, err := loadForCheck(file, adapter)
	if err != nil {
		return unusable(err)
	}
	if missing := missingSecrets(config); len(missing) > 0 {
		return &diagnosis{
			Findings:  missing,
			Unchecked: []string{"everything else: Caddy does not load a configuration whose secrets are empty"},
		}
	}
	result := new(diagnosis)
	err = provisionFor(config, func(e *examination) {
		e.ctx, e.live = ctx, live
		result.Findings = append(result.Findings, e.run()...)
		result.Unchecked = e.unchecked
	})
	if err != nil {
		return unusable(innermost(err))
	}
	return result
}

// unusable reports what does not load. It says by itself where it is wrong.
func unusable(err error) *diagnosis {
	found, fix := remarks{check: "configuration"}, ""
	if errors.Is(err, errNoAxra) {
		fix = "add the global option axra, or name the configuration of the paywall with --config"
	}
	found.fail("", fix, "%s", err)
	return &diagnosis{Findings: found.list, Unchecked: []string{"everything else: the configuration does not load"}}
}

// ownMessage is what the plugin itself says, at the end of Caddy's list of modules.
var ownMessage = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?s)^.*\b(axra(?:_[a-z]+)?(?:: | needs ).*)$`) })

// innermost leaves out the modules on the way to a message of ours.
func innermost(err error) error {
	return errors.New(ownMessage().ReplaceAllString(err.Error(), "$1"))
}

var (
	errNoConfig = errors.New("there is no Caddyfile in this folder: add --config /etc/caddy/Caddyfile")
	errNoAxra   = errors.New("the configuration has no global option axra: there is no paywall to check")
)

func loadForCheck(file, adapter string) (*caddy.Config, error) {
	raw, _, _, err := caddycmd.LoadConfig(file, adapter)
	if err != nil {
		return nil, err
	}
	if len(raw) == 0 {
		return nil, errNoConfig
	}
	config := new(caddy.Config)
	if err := caddy.StrictUnmarshalJSON(caddy.RemoveMetaFields(raw), config); err != nil {
		return nil, err
	}
	if config.AppsRaw["axra"] == nil && !strings.Contains(string(raw), `"axra_`) {
		return nil, errNoAxra
	}
	return config, nil
}

// missingSecrets finds all secrets that are empty: Caddy's own message would name the
// first only.
func missingSecrets(config *caddy.Config) []finding {
	found := remarks{check: "secrets"}
	var app App
	if json.Unmarshal(config.AppsRaw["axra"], &app) != nil {
		return nil // Caddy says it better
	}
	for _, secret := range app.placeholders() {
		if _, err := resolveSecret(secret.name, secret.value); err == nil || secretIsPlaceholder(secret.name, secret.value) != nil {
			continue
		}
		if path, isFile := strings.CutPrefix(secret.value, "{file."); isFile {
			found.fail(secret.name, "write the secret into that file, and let the user of Caddy read it", "%s is empty or cannot be read", strings.TrimSuffix(path, "}"))
			continue
		}
		found.fail(secret.name, "set it. If the service gets its environment from a file (EnvironmentFile of systemd, env_file of Docker), add --envfile FILE",
			"%s is empty in the environment of this command, which may differ from the service's", secret.value)
	}
	return found.list
}

// configuredSecret is a secret as it is configured.
type configuredSecret struct{ name, value string }

// placeholders are those of all secrets that are configured.
func (a *App) placeholders() []configuredSecret {
	all := []configuredSecret{{"api_key", a.APIKey}, {"api_secret", a.APISecret}}
	for _, value := range a.WebhookSecrets {
		all = append(all, configuredSecret{"webhook_secret", value})
	}
	if a.Database != nil && needsSecrecy(a.Database.URL) {
		all = append(all, configuredSecret{"database postgres", a.Database.URL})
	}
	return slices.DeleteFunc(all, func(p configuredSecret) bool { return p.value == "" })
}

// examiner is an app that looks at the others while Caddy validates a configuration.
// So it is Caddy that cleans up; of ProvisionContext nobody else can cancel the context.
type examiner struct{}

// examinerApp is no module of the plugin's: it exists while the command runs.
const examinerApp = "axra_check"

var (
	registerExaminer sync.Once
	examining        atomic.Pointer[func(caddy.Context) error]
)

// CaddyModule returns the Caddy module information.
func (*examiner) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  examinerApp,
		New: func() caddy.Module { return new(examiner) },
	}
}

// Provision looks.
func (*examiner) Provision(ctx caddy.Context) error { return (*examining.Load())(ctx) }

// Start does nothing.
func (*examiner) Start() error { return nil }

// Stop does nothing.
func (*examiner) Stop() error { return nil }

// provisionFor provisions a configuration, lets look at it, and cleans up.
func provisionFor(config *caddy.Config, look func(*examination)) error {
	registerExaminer.Do(func() { caddy.RegisterModule(new(examiner)) })
	trusting := trustingServers(config)
	logging := config.Logging
	provision := func(ctx caddy.Context) error {
		found, err := appsOf(ctx)
		if err != nil {
			return err
		}
		if found.logs, err = requestLogs(ctx, logging); err != nil {
			return err
		}
		for name, server := range found.servers {
			found.trustsProxies[server] = trusting[name]
		}
		look(found)
		return nil
	}
	examining.Store(&provision)
	// Logs could be files, and what is logged would drown the diagnosis.
	config.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{
		caddy.DefaultLoggerName: {BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(`{"output":"discard"}`)}},
	}}
	if config.AppsRaw == nil {
		config.AppsRaw = make(caddy.ModuleMap)
	}
	config.AppsRaw[examinerApp] = json.RawMessage(`{}`)
	return caddy.Validate(config)
}

// trustingServers are those with trusted_proxies, of which provisioning leaves no trace.
func trustingServers(config *caddy.Config) map[string]bool {
	var app struct {
		Servers map[string]struct {
			TrustedProxies     json.RawMessage `json:"trusted_proxies"`
			TrustedProxiesUnix bool            `json:"trusted_proxies_unix"`
		} `json:"servers"`
	}
	_ = json.Unmarshal(config.AppsRaw["http"], &app) // Caddy says what is wrong with it
	trusting := make(map[string]bool)
	for name, server := range app.Servers {
		trusting[name] = server.TrustedProxies != nil || server.TrustedProxiesUnix
	}
	return trusting
}

// appsOf provisions what is looked at.
func appsOf(ctx caddy.Context) (*examination, error) {
	found := &examination{servers: make(map[string]*caddyhttp.Server), trustsProxies: make(map[*caddyhttp.Server]bool)}
	module, err := ctx.AppIfConfigured("http")
	if err != nil && !errors.Is(err, caddy.ErrNotConfigured) {
		return nil, err
	}
	if app, ok := module.(*caddyhttp.App); ok {
		found.servers = app.Servers
	}
	found.app, err = appFrom(ctx, "axra_paywall")
	return found, err
}

// isRoot reports whether the command runs as the superuser, for whom every folder is
// writable.
func isRoot() bool { return os.Geteuid() == 0 }
