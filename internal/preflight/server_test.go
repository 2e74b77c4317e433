package preflight_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/pgtest"
)

// passwordForms are the password of pgtest, as it is and as a URL has it, and its telling part.
var passwordForms = []string{"se/cret%", "se%2Fcret%25", "cret%"}

// onServer is a clean configuration with a ledger in PostgreSQL.
var onServer = strings.Replace(good, "axra {", "axra {\n database postgres {env.AXRA_DATABASE_URL}", 1)

// checkServer checks a configuration whose ledger is at a URL.
func (d *desk) checkServer(databaseURL string) verdict {
	d.t.Helper()
	d.t.Setenv("AXRA_DATABASE_URL", databaseURL)
	read := d.check(onServer)
	for _, found := range read.Findings {
		for _, secret := range passwordForms {
			if strings.Contains(found.Subject+found.Message+found.Fix, secret) {
				d.t.Errorf("a part of the password is shown: %+v", found)
			}
		}
	}
	return read
}

func TestCheckFindsFaultsOfTheServer(t *testing.T) {
	server := pgtest.Shared(t)
	for _, test := range []struct {
		name          string
		change        func(t *testing.T, databaseURL string) string
		level, phrase string
		fix           string
	}{
		{"another password", func(_ *testing.T, url string) string { return strings.Replace(url, "owner:", "owner:x", 1) }, "error",
			"password authentication failed", "correct user, password and database"},
		{"another database", func(_ *testing.T, url string) string { return url + "_none" }, "error", "does not exist", "correct user, password and database"},
		{"nothing listens", func(_ *testing.T, url string) string {
			return strings.Replace(url, ":"+strconv.Itoa(server.Port()), ":1", 1)
		}, "error", "cannot be asked", "start the server"},
		{"read-only", func(t *testing.T, url string) string {
			server.Exec(t, "ALTER DATABASE "+pgtest.Name(url)+" SET default_transaction_read_only = on")
			return url
		}, "error", "read-only", "default_transaction_read_only"},
		{"asynchronous", func(t *testing.T, url string) string {
			server.Exec(t, "ALTER DATABASE "+pgtest.Name(url)+" SET synchronous_commit = off")
			return url
		}, "error", "synchronous_commit is off", "ALTER ROLE"},
		{"another encoding", func(t *testing.T, url string) string {
			server.Exec(t, "CREATE DATABASE "+pgtest.Name(url)+"_latin TEMPLATE template0 ENCODING 'LATIN1'")
			return url + "_latin"
		}, "error", "not in UTF-8", "ENCODING"},
		{"no rights", func(t *testing.T, url string) string {
			role := "visitor_of_" + pgtest.Name(url)
			server.Exec(t, "CREATE ROLE "+role+" LOGIN PASSWORD 'se/cret%'")
			return strings.Replace(url, "owner:", role+":", 1)
		}, "error", "may not create the schema", "GRANT CREATE"},
		{"not verified", func(_ *testing.T, url string) string {
			return strings.Replace(url, "127.0.0.1", "127.0.0.1.nip.invalid", 1)
		}, "warning", "certificate is not checked", "sslmode=verify-full"},
	} {
		t.Run(test.name, func(t *testing.T) {
			read := newDesk(t).checkServer(test.change(t, server.NewDatabase(t)))
			found, ok := read.find("ledger", test.phrase)
			if !ok || found.Level != test.level || !strings.Contains(found.Fix, test.fix) {
				t.Errorf("%+v", read.Findings)
			}
			if read.err == nil {
				t.Error("the command succeeds")
			}
			if _, ok := read.find("outside", ""); !ok {
				t.Error("the other checks are missing")
			}
		})
	}
}

func TestCheckFindsAURLThatIsEmpty(t *testing.T) {
	read := newDesk(t).checkServer("")
	if found, ok := read.find("configuration", "{env.AXRA_DATABASE_URL} is empty"); !ok || !strings.Contains(found.Fix, "--envfile") {
		t.Errorf("%+v", read.Findings)
	}
}

// A server that does not answer holds up no check.
func TestCheckGivesUpOnAServerThatIsStopped(t *testing.T) {
	server := pgtest.New(t)
	databaseURL := server.NewDatabase(t)
	server.Pause()
	defer server.Resume()
	began := time.Now()
	read := newDesk(t).checkServer(databaseURL)
	if _, ok := read.find("ledger", "cannot be asked"); !ok || time.Since(began) > 10*time.Second {
		t.Errorf("after %s: %+v", time.Since(began), read.Findings)
	}
}
