package paywall_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"
)

// standIn takes the place of a storage module that is not part of this build. It knows the
// options of the module, as its documentation has them, and stores nothing.
type standIn struct {
	id      caddy.ModuleID
	options []string

	// Options are those that are set.
	Options map[string]string `json:"options,omitempty"`
}

// What docs/storage.md names: pberkel/caddy-storage-redis 1.8.1 and
// yroc92/postgres-storage of March 2023.
func init() {
	for _, module := range []standIn{
		{id: "caddy.storage.redis", options: []string{
			"address", "host", "port", "db", "timeout", "username", "password", "sentinel_password", "master_name", "key_prefix",
			"encryption_key", "compression", "tls_enabled", "tls_insecure", "tls_server_certs_pem", "tls_server_certs_path",
			"route_by_latency", "route_randomly",
		}},
		{id: "caddy.storage.postgres", options: []string{
			"host", "port", "user", "password", "dbname", "sslmode", "connection_string", "disable_ddl",
		}},
	} {
		caddy.RegisterModule(module)
	}
}

func (s standIn) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: s.id, New: func() caddy.Module { return &standIn{id: s.id, options: s.options} }}
}

func (s *standIn) CertMagicStorage() (certmagic.Storage, error) {
	return &certmagic.FileStorage{Path: filepath.Join(os.TempDir(), "never-written")}, nil
}

func (s *standIn) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the module's name
	s.Options = make(map[string]string)
	for d.NextBlock(0) {
		name, value := d.Val(), ""
		if !slices.Contains(s.options, name) || !d.AllArgs(&value) {
			return d.Errf("%s does not take %q so", s.id, name)
		}
		s.Options[name] = value
	}
	return nil
}

// The examples for other storages adapt and are valid, but for their modules, and no
// secret comes into what Caddy saves of them.
func TestTheExamplesOfOtherStorages(t *testing.T) {
	t.Setenv("AXRA_API_KEY", "bk_test_x")
	t.Setenv("AXRA_WEBHOOK_SECRET", "bs_test_x")
	t.Setenv("REDIS_PASSWORD", "the secret")
	files, err := filepath.Glob("examples/storage/*.caddyfile")
	mustDo(t, err)
	if len(files) < 2 {
		t.Fatalf("only %v", files)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		mustDo(t, err)
		config := mustAdapt(t, string(raw))
		if err := validate(t, config); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if strings.Contains(string(config), "the secret") {
			t.Errorf("%s: a secret stands in the configuration", file)
		}
	}
}
