package paywall_test

import (
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-axra/paywall/internal/pgtest"
	"github.com/caddy-axra/paywall/ledger"
)

// The queries of docs/ledger.md work on both databases, and it names every table.
func TestTheQueriesOfTheDocumentation(t *testing.T) {
	t.Parallel()
	document := readDoc(t, "docs/ledger.md")
	path := filepath.Join(t.TempDir(), "ledger.db")
	createLedger(t, ledger.Options{Path: path})
	sqlite := connect(t, "sqlite", path)
	postgres := pgtest.Shared(t).NewDatabase(t)
	createLedger(t, ledger.Options{URL: postgres})
	replacements := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| `([^`]+)` \\|$").FindAllStringSubmatch(document, -1)
	for _, query := range blocks(document, "sql") {
		execute(t, sqlite, query)
		for _, row := range replacements {
			from := strings.ReplaceAll(regexp.QuoteMeta(row[1]), "paid_at", `(\w+)`) // it stands for any column
			query = regexp.MustCompile(from).ReplaceAllString(query, strings.ReplaceAll(row[2], "paid_at", "$1"))
		}
		execute(t, connect(t, "pgx", postgres+"?search_path=axra"), query)
	}
	var tables string
	mustDo(t, sqlite.QueryRowContext(t.Context(), `SELECT group_concat(name) FROM sqlite_schema WHERE type IN ('table', 'view')`).Scan(&tables))
	for table := range strings.SplitSeq(tables, ",") {
		if !strings.Contains(document, "`"+table+"`") {
			t.Errorf("docs/ledger.md does not have the table %s", table)
		}
	}
}

// The statements of docs/scaling.md make what a ledger needs, by an administrator who is no superuser, and the backup
// can be restored.
func TestTheStatementsForPostgres(t *testing.T) {
	t.Parallel()
	statements := blocks(readDoc(t, "docs/scaling.md"), "sql")
	if len(statements) != 5 {
		t.Fatalf("%d blocks", len(statements))
	}
	newDatabase, newSchema, durable, look, rename := statements[0], statements[1], statements[2], statements[3], statements[4]
	server := pgtest.New(t)
	server.Exec(t, "CREATE ROLE administrator LOGIN PASSWORD 'x' CREATEROLE CREATEDB")
	url := func(user, database string) string {
		return fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s", user, server.Port(), database)
	}
	administrator := connect(t, "pgx", url("administrator:x", "postgres"))
	execute(t, administrator, newDatabase+durable+look)
	role := "axra:a-long-random-password"
	createLedger(t, ledger.Options{URL: url(role, "axra")})

	execute(t, administrator, "CREATE DATABASE shop; REVOKE ALL ON DATABASE shop FROM PUBLIC;")
	shop := connect(t, "pgx", url("administrator:x", "shop"))
	execute(t, shop, strings.Replace(newSchema, "CREATE ROLE", "ALTER ROLE", 1)) // the role exists already
	execute(t, shop, "GRANT CONNECT ON DATABASE shop TO axra;")
	createLedger(t, ledger.Options{URL: url(role, "shop")})
	dump := filepath.Join(t.TempDir(), "axra.dump")
	runTool(t, server, "pg_dump", "--schema=axra", "--format=custom", "--file", dump, url(role, "shop"))
	execute(t, shop, rename)
	runTool(t, server, "pg_restore", "--exit-on-error", "--single-transaction", "--dbname=shop", dump)
	execute(t, shop, "DROP SCHEMA axra_before_restore CASCADE; GRANT CREATE ON DATABASE shop TO axra;")
	execute(t, connect(t, "pgx", url(role, "shop")), rename)
	runTool(t, server, "pg_restore", "--exit-on-error", "--single-transaction", "--dbname="+url(role, "shop"), dump)
}

func createLedger(t *testing.T, options ledger.Options) {
	t.Helper()
	l := ledger.New(options)
	_, err := l.Open(t.Context())
	mustDo(t, err)
	mustDo(t, l.Close())
}

func connect(t *testing.T, driver, source string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, source)
	mustDo(t, err)
	t.Cleanup(func() { mustDo(t, db.Close()) })
	return db
}

// execute runs statements one by one, since some must not run in a transaction.
func execute(t *testing.T, db *sql.DB, statements string) {
	t.Helper()
	for statement := range strings.SplitAfterSeq(regexp.MustCompile("--.*").ReplaceAllString(statements, ""), ";") {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", strings.TrimSpace(statement), err)
		}
	}
}

// runTool runs a program of PostgreSQL as the administrator.
func runTool(t *testing.T, server *pgtest.Server, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "PGHOST=127.0.0.1", "PGPORT="+strconv.Itoa(server.Port()), "PGUSER=administrator", "PGPASSWORD=x")
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, output)
	}
}
