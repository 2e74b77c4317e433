package settings_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-axra/paywall/internal/settings"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/webhook"
)

// planted is in every secret of these tests; no error may repeat it.
const planted = "PLANTED"

// wantError compares an error with a part of it that must be there; empty: there must be no error.
func wantError(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case err == nil && want != "":
		t.Errorf("accepted, want %q", want)
	case err != nil && (want == "" || !strings.Contains(err.Error(), want)):
		t.Errorf("refused with %q, want %q", err, want)
	case err != nil && strings.Contains(err.Error(), planted):
		t.Errorf("the error repeats a secret: %v", err)
	}
}

func setenv(t *testing.T, env map[string]string) {
	t.Helper()
	for name, value := range env {
		t.Setenv(name, value)
	}
}

func TestW2SecretsAreResolvedPlaceholders(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("bs_live_PLANTED\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	type env = map[string]string
	for name, c := range map[string]struct {
		env         env
		key, secret string
		webhooks    []string
		want        string // the secrets, or the error
	}{
		"none":                         {},
		"key":                          {env{"PW_A": "bk_test_PLANTED\n"}, "{env.PW_A}", "", nil, "bk_test_PLANTED||"},
		"file":                         {nil, "", "", []string{"{file." + file + "}"}, "||bs_live_PLANTED"},
		"API secret signs webhooks":    {env{"PW_A": "a", "PW_B": "b"}, "{env.PW_A}", "{env.PW_B}", nil, "a|b|b"},
		"webhook secrets":              {env{"PW_A": "a", "PW_B": "b", "PW_C": "c"}, "{env.PW_A}", "{env.PW_B}", []string{"{env.PW_C}", "{env.PW_A}"}, "a|b|c,a"},
		"key unset":                    {nil, "{env.PW_A}", "", nil, "api_key {env.PW_A} is empty in the running Caddy"},
		"key blank":                    {env{"PW_A": " \n"}, "{env.PW_A}", "", nil, "api_key {env.PW_A} is empty"},
		"secret unset":                 {env{"PW_A": "a"}, "{env.PW_A}", "{env.PW_B}", nil, "api_secret {env.PW_B} is empty"},
		"secret without key":           {env{"PW_B": "b"}, "", "{env.PW_B}", nil, "api_secret is set without api_key: add `api_key"},
		"file missing":                 {nil, "", "", []string{"{file./nonexistent/axra}"}, "webhook_secret {file./nonexistent/axra} is empty"},
		"second webhook secret unset":  {env{"PW_A": "a"}, "", "", []string{"{env.PW_A}", "{env.PW_B}"}, "webhook_secret {env.PW_B} is empty"},
		"second webhook secret empty":  {env{"PW_A": "a"}, "", "", []string{"{env.PW_A}", ""}, "webhook_secret is empty: anyone could sign with it"},
		"literal key":                  {nil, "bk_live_PLANTED", "", nil, "api_key must be a placeholder"},
		"literal secret":               {env{"PW_A": "a"}, "{env.PW_A}", "bs_live_PLANTED", nil, "api_secret must be a placeholder"},
		"literal webhook secret":       {nil, "", "", []string{"bs_live_PLANTED"}, "webhook_secret must be a placeholder"},
		"literal around a placeholder": {env{"PW_A": "a"}, "PLANTED{env.PW_A}", "", nil, "must be a placeholder"},
		"two placeholders":             {env{"PW_A": "a"}, "{env.PW_A}{env.PW_A}", "", nil, "must be a placeholder"},
		"another placeholder":          {nil, "{system.hostname}", "", nil, "must be a placeholder"},
	} {
		t.Run(name, func(t *testing.T) {
			setenv(t, c.env)
			secrets, err := settings.ResolveSecrets(c.key, c.secret, c.webhooks)
			if err != nil {
				wantError(t, err, c.want)
				return
			}
			var webhooks []string
			for _, secret := range secrets.Webhook {
				webhooks = append(webhooks, string(secret))
			}
			if got := secrets.Key + "|" + secrets.Secret + "|" + strings.Join(webhooks, ","); got != c.want && (got != "||" || c.want != "") {
				t.Errorf("resolved %s, want %s", got, c.want)
			}
		})
	}
}

func TestEndpointsFollowFromTheKey(t *testing.T) {
	t.Setenv("PW_ENDPOINT", "http://127.0.0.1:8403")
	t.Setenv("PW_PLAIN", "http://api.useaxra.com")
	const other = "https://axra.example.com"
	for name, c := range map[string]struct {
		endpoint, key, secret string
		hosts                 []string
		want                  string // endpoint and hosts; or else
		err                   string
	}{
		"live":                       {key: "bk_live_x", want: "https://api.useaxra.com/api/v1 pay.useaxra.com"},
		"sandbox":                    {key: "bk_test_x", secret: "bs_test_x", want: "https://staging-api.useaxra.com/api/v1 *.useaxra.com"},
		"another":                    {endpoint: other + "/v1/", key: "key_x", want: other + "/v1 axra.example.com"},
		"this machine":               {endpoint: "{env.PW_ENDPOINT}", key: "bk_test_x", want: "http://127.0.0.1:8403 127.0.0.1:8403 insecure"},
		"hosts":                      {key: "bk_live_x", hosts: []string{"*.example.com", "pay.example.com"}, want: "https://api.useaxra.com/api/v1 *.example.com,pay.example.com"},
		"live key, sandbox endpoint": {endpoint: "https://staging-api.useaxra.com/api/v1", key: "bk_live_PLANTED", err: "api_key is a live key, but endpoint staging-api.useaxra.com is a sandbox one: use the sandbox key"},
		"live key, local endpoint":   {endpoint: "http://[::1]:8403", key: "bk_live_PLANTED", err: "but endpoint ::1 is a sandbox one"},
		"test key, live endpoint":    {endpoint: "https://API.useaxra.com/api/v1", key: "bk_test_PLANTED", err: "but endpoint api.useaxra.com is a live one: use the live key"},
		"live key, test secret":      {key: "bk_live_PLANTED", secret: "bs_test_PLANTED", err: "api_key is a live key and api_secret a sandbox secret"},
		"test key, live secret":      {key: "bk_test_PLANTED", secret: "bs_live_PLANTED", err: "api_key is a sandbox key and api_secret a live secret"},
		"key of no mode":             {key: "key_PLANTED", err: "api_key begins neither with bk_live_ nor with bk_test_"},
		"secret in place of the key": {key: "bs_live_PLANTED", err: "api_key begins neither with bk_live_ nor with bk_test_"},
		"endpoint unset":             {endpoint: "{env.PW_UNSET}", key: "bk_test_x", err: "endpoint {env.PW_UNSET} is empty in the running Caddy"},
		"plain http":                 {endpoint: "{env.PW_PLAIN}", key: "bk_live_x", err: "plain http is accepted for localhost only"},
		"another scheme":             {endpoint: "gopher://api.useaxra.com", key: "bk_live_x", err: "endpoint: not an absolute address: write it as https://example.com"},
		"a password":                 {endpoint: "https://user:PLANTED@api.useaxra.com", key: "bk_live_x", err: "endpoint: must not hold a user"},
		"address as checkout host":   {key: "bk_live_x", hosts: []string{"https://pay.useaxra.com"}, err: "without https:// and path"},
		"star as checkout host":      {key: "bk_live_x", hosts: []string{"*"}, err: "checkout_hosts * is not a host"},
	} {
		t.Run(name, func(t *testing.T) {
			endpoint, hosts, err := settings.Endpoint(c.endpoint, c.key, c.secret, c.hosts)
			wantError(t, err, c.err)
			got := endpoint + " " + strings.Join(hosts.Hosts, ",")
			if hosts.Insecure {
				got += " insecure"
			}
			if err == nil && got != c.want {
				t.Errorf("resolved %s, want %s", got, c.want)
			}
		})
	}
}

func TestSiteURLIsAnOrigin(t *testing.T) {
	t.Setenv("PW_SITE", "https://Example.com/")
	for configured, c := range map[string]struct{ origin, err string }{
		"":                          {},
		"{env.PW_SITE}":             {origin: "https://example.com"},
		"http://localhost:8080":     {origin: "http://localhost:8080"},
		"http://shop.localhost.":    {origin: "http://shop.localhost."},
		"{env.PW_UNSET}":            {err: "site_url {env.PW_UNSET} is empty: set that variable or file before starting Caddy"},
		"http://example.com":        {err: "plain http is accepted for localhost only"},
		"https://example.com/shop":  {err: "must not hold a path"},
		"https://example.com/?a=b":  {err: "must not hold a user, a query or a fragment"},
		"example.com":               {err: "not an absolute address"},
		"http://127.0.0.1.evil.com": {err: "plain http"},
	} {
		origin, err := settings.SiteURL(configured)
		wantError(t, err, c.err)
		if origin != c.origin {
			t.Errorf("site_url %s is %s, want %s", configured, origin, c.origin)
		}
	}
}

func TestDatabasesAreLocated(t *testing.T) {
	t.Setenv("HOME", "/home/shop")
	t.Setenv("XDG_DATA_HOME", "")
	t.Setenv("PW_PATH", "/var/lib/axra/./ledger.db")
	t.Setenv("PW_URL", " postgres://shop:PLANTED%2F@127.0.0.1:1/shop\n")
	t.Setenv("PW_SLASH", "postgres://shop:12/PLANTED@localhost/shop")
	t.Setenv("PW_MYSQL", "mysql://shop:PLANTED@localhost/shop")
	t.Setenv("PW_CERT", "postgres://shop:PLANTED@localhost/shop?sslmode=verify-full&sslrootcert=/nonexistent.pem")
	type database = settings.Database
	for name, c := range map[string]struct {
		database database
		want     string // path or URL
		err      string
	}{
		"the default":                        {database{}, filepath.Join(caddy.AppDataDir(), "axra", "ledger.db"), ""},
		"a path":                             {database{Path: "/var/lib/axra/ledger.db"}, "/var/lib/axra/ledger.db", ""},
		"a path from the environment":        {database{Path: "{env.PW_PATH}"}, "/var/lib/axra/ledger.db", ""},
		"a URL from the environment":         {database{URL: "{env.PW_URL}"}, "postgres://shop:PLANTED%2F@127.0.0.1:1/shop", ""},
		"a literal URL without a password":   {database{URL: "postgres:///shop?host=/run/postgresql"}, "", "must be a placeholder"},
		"a path that is unset":               {database{Path: "{env.PW_UNSET}"}, "", "database sqlite {env.PW_UNSET} is empty in the running Caddy"},
		"a relative path":                    {database{Path: "ledger.db"}, "", "needs an absolute path"},
		"a path and a URL":                   {database{Path: "/var/lib/axra/ledger.db", URL: "{env.PW_URL}"}, "", "database takes a path or a URL"},
		"a URL as a path":                    {database{Path: "postgres://shop:PLANTED@localhost/shop"}, "", "needs an absolute path"},
		"a literal URL with a password":      {database{URL: "postgres://shop:PLANTED@localhost/shop"}, "", "must be a placeholder"},
		"a URL of another placeholder":       {database{URL: "{system.hostname}"}, "", "must be a placeholder"},
		"a URL that is unset":                {database{URL: "{env.PW_UNSET}"}, "", "database postgres {env.PW_UNSET} is empty in the running Caddy"},
		"a password that is not escaped":     {database{URL: "{env.PW_SLASH}"}, "", "%-escapes for the special characters of the password"},
		"a URL of another kind of database":  {database{URL: "{env.PW_MYSQL}"}, "", "database postgres: the URL of the database cannot be read"},
		"a URL whose certificate is missing": {database{URL: "{env.PW_CERT}"}, "", "open /nonexistent.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			path, url, err := c.database.Location()
			wantError(t, err, c.err)
			if path+url != c.want {
				t.Errorf("%s, want %s", path+url, c.want)
			}
		})
	}
}

func TestDatabasesAreParsed(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]settings.Database{
		"sqlite":                       {},
		"sqlite /var/lib/ledger.db":    {Path: "/var/lib/ledger.db"},
		"sqlite {env.PW_PATH}":         {Path: "{env.PW_PATH}"},
		"postgres {env.PW_URL}":        {URL: "{env.PW_URL}"},
		"postgres {file./run/url.txt}": {URL: "{file./run/url.txt}"},
	} {
		database, err := settings.ParseDatabase(strings.Fields(args))
		if err != nil || database != want {
			t.Errorf("database %s: %+v, %v", args, database, err)
		}
	}
	for args, want := range map[string]string{
		"":                                    "database takes a driver and an address",
		"sqlite a b":                          "database takes a driver and an address",
		"sqlite ledger.db":                    "needs an absolute path",
		"/var/lib/axra/ledger":                "database takes a driver and an address",
		"postgres":                            "database takes a driver and an address",
		"postgres://u:PLANTED@localhost/shop": "database takes a driver and an address",
		"postgres a{env.PW_URL}":              "must be a placeholder",
	} {
		_, err := settings.ParseDatabase(strings.Fields(args))
		wantError(t, err, want)
	}
}

func TestLimitsHaveDefaults(t *testing.T) {
	t.Parallel()
	minute := caddy.Duration(time.Minute)
	for name, c := range map[string]struct {
		limits           settings.Limits
		perClient, total session.Rate
		err              string
	}{
		"none":       {settings.Limits{}, session.DefaultPerClient, session.DefaultTotal, ""},
		"per client": {settings.Limits{PerClient: settings.Rate{Events: 1, Per: minute}}, session.Rate{Events: 1, Per: time.Minute}, session.DefaultTotal, ""},
		"total":      {settings.Limits{Total: settings.Rate{Events: 2, Per: minute}}, session.DefaultPerClient, session.Rate{Events: 2, Per: time.Minute}, ""},
		"of nothing": {settings.Limits{Total: settings.Rate{Per: minute}}, session.DefaultPerClient, session.DefaultTotal, "limit total must allow at least one session"},
		"in no time": {settings.Limits{PerClient: settings.Rate{Events: 1}}, session.DefaultPerClient, session.DefaultTotal, "limit per_client must allow at least one session"},
	} {
		perClient, total, err := c.limits.Rates()
		wantError(t, err, c.err)
		if err == nil && (perClient != c.perClient || total != c.total) {
			t.Errorf("%s: %v and %v", name, perClient, total)
		}
	}
}

func TestSignaturesAreVerifiedAsConfigured(t *testing.T) {
	t.Parallel()
	secrets := [][]byte{[]byte("PLANTED")}
	for name, c := range map[string]struct {
		signature settings.Signature
		header    string
		err       string
	}{
		"the default":         {settings.Signature{}, webhook.DefaultHeader, ""},
		"another header":      {settings.Signature{Header: "X-Hash"}, "X-Hash", ""},
		"an unknown scheme":   {settings.Signature{Scheme: "none"}, "", "unknown signature scheme"},
		"an encoding":         {settings.Signature{SecretEncoding: "none"}, "", `secret encoding "none" is unknown`},
		"a secret of another": {settings.Signature{SecretEncoding: "hex"}, "", "secret 1 is not hex"},
	} {
		verifier, err := c.signature.Verifier(secrets)
		wantError(t, err, c.err)
		if err == nil && verifier.Header != c.header {
			t.Errorf("%s: header %s", name, verifier.Header)
		}
	}
}
