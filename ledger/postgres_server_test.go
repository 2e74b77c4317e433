package ledger_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-axra/paywall/internal/pgtest"
	"github.com/caddy-axra/paywall/ledger"
)

func TestCheckServer(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	for _, test := range []struct {
		name    string
		prepare func(t *testing.T, databaseURL string) (changedURL string)
		want    string // of the faults; empty: none
		exists  bool
	}{
		{"an empty database", func(_ *testing.T, url string) string { return url }, "", false},
		{"a ledger", func(t *testing.T, url string) string { makeLedger(t, url); return url }, "", true},
		{"read-only", func(t *testing.T, url string) string {
			server.Exec(t, "ALTER DATABASE "+pgtest.Name(url)+" SET default_transaction_read_only = on")
			return url
		}, "read-only", false},
		{"asynchronous", func(t *testing.T, url string) string {
			server.Exec(t, "ALTER DATABASE "+pgtest.Name(url)+" SET synchronous_commit = off")
			return url
		}, "synchronous_commit is off", false},
		{"another encoding", func(t *testing.T, url string) string {
			name := pgtest.Name(url) + "_latin"
			server.Exec(t, "CREATE DATABASE "+name+" TEMPLATE template0 ENCODING 'LATIN1'")
			return server.URL(name)
		}, "not in UTF-8", false},
		{"a user without rights", asGuest(server), "may not create the schema", false},
		{"the ledger of another user", func(t *testing.T, url string) string {
			makeLedger(t, url)
			return asGuest(server)(t, url)
		}, "belongs to another user", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			state, err := ledger.CheckServer(t.Context(), test.prepare(t, server.NewDatabase(t)))
			if err != nil {
				t.Fatal(err)
			}
			said := ""
			for _, fault := range state.Faults {
				said += fault.Problem + fault.Fix
			}
			if !strings.Contains(said, test.want) || (test.want == "") != (said == "") {
				t.Errorf("faults: %q, want %q", said, test.want)
			}
			if state.Exists != test.exists || (state.Installation != "") != (test.exists && test.want == "") {
				t.Errorf("%+v", state)
			}
		})
	}
}

// asGuest makes a user who may only connect.
func asGuest(server *pgtest.Server) func(*testing.T, string) string {
	return func(t *testing.T, databaseURL string) string {
		name := "guest_of_" + pgtest.Name(databaseURL)
		server.Exec(t, "CREATE ROLE "+name+" LOGIN PASSWORD 'guest'")
		_, host, _ := strings.Cut(databaseURL, "@")
		return "postgres://" + name + ":guest@" + host
	}
}

// makeLedger makes a ledger with its installation.
func makeLedger(t *testing.T, databaseURL string) {
	t.Helper()
	must(t, openWorld(t, ledger.Options{URL: databaseURL}).Close())
}

func TestCheckServerSaysWhyItCannot(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	good := server.NewDatabase(t)
	for _, test := range []struct{ name, url, want string }{
		{"another password", strings.Replace(good, "owner:", "owner:x", 1), "password authentication failed"},
		{"another user", strings.Replace(good, "owner:", "nobody:", 1), "password authentication failed"},
		{"another database", server.URL("nowhere"), "does not exist"},
		{"no URL", "example.com", ledger.ErrURL.Error()},
	} {
		if _, err := ledger.CheckServer(t.Context(), test.url); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestVerifiesServer(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]bool{
		"postgres://u@db.example.com/shop":                                        false,
		"postgres://u@db.example.com/shop?sslmode=require":                        false,
		"postgres://u@db.example.com/shop?sslmode=verify-ca":                      false,
		"postgres://u@db.example.com/shop?sslmode=verify-full":                    true,
		"postgres://u@localhost/shop":                                             true,
		"postgres://u@127.0.0.1/shop?sslmode=disable":                             true,
		"postgres://u@[::1]/shop":                                                 true,
		"postgres:///shop?host=/var/run/postgresql":                               true,
		"postgres://u@localhost,db.example.com/shop":                              false,
		"postgres://u@a.example.com,b.example.com/shop?sslmode=verify-full":       true,
		"postgres://u@localhost.example.com/shop?sslmode=allow&application_name=": false,
	} {
		if got, err := ledger.VerifiesServer(url); err != nil || got != want {
			t.Errorf("%s: %v, %v", url, got, err)
		}
	}
}

// A password whose special characters are not escaped must not be taken for a server or a database, which are shown.
func TestAPasswordIsNotTakenForSomethingElse(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"postgres://u:12/secret@h/d", "postgres://u:12#secret@h/d", "postgres://u:12?secret@h/d", "postgres://u:1@secret@h/d",
		"postgres://u:12?secret=x@h/d", "postgres://u:se/cret@h/d", "postgres://u:%zzsecret@h/d", "user=u password=secret",
	} {
		location, err := ledger.CheckURL(url)
		if !errors.Is(err, ledger.ErrURL) || strings.Contains(location+err.Error(), "secret") {
			t.Errorf("%s: %s, %v", url, location, err)
		}
	}
}

func TestAMissingCertificateIsNamed(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "root.pem")
	_, err := ledger.CheckURL("postgres://u:secret@h/d?sslmode=verify-full&sslrootcert=" + missing)
	if err == nil || !strings.Contains(err.Error(), missing) || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}
