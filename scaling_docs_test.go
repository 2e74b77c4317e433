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

// scalingSQL are the SQL blocks of docs/scaling.md in their order, each as its statements.
func scalingSQL(t *testing.T) (newDatabase, newSchema, durable, seen, keep []string) {
	t.Helper()
	var blocks [][]string
	for _, block := range regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(readDoc(t, "docs/scaling.md"), -1) {
		plain := regexp.MustCompile("--.*").ReplaceAllString(block[1], "")
		statements := strings.Split(strings.TrimSpace(plain), ";")
		blocks = append(blocks, statements[:len(statements)-1])
	}
	if len(blocks) != 5 {
		t.Fatalf("%d blocks", len(blocks))
	}
	return blocks[0], blocks[1], blocks[2], blocks[3], blocks[4]
}

// administrator is who may make roles and databases, and is no superuser, as on managed servers.
func administrator(t *testing.T, server *pgtest.Server) (connect func(database string) *sql.DB) {
	t.Helper()
	server.Exec(t, "CREATE ROLE administrator LOGIN PASSWORD 'x' CREATEROLE CREATEDB")
	return func(database string) *sql.DB {
		db, err := sql.Open("pgx", fmt.Sprintf("postgres://administrator:x@127.0.0.1:%d/%s", server.Port(), database))
		mustDo(t, err)
		t.Cleanup(func() { mustDo(t, db.Close()) })
		return db
	}
}

func runAll(t *testing.T, db *sql.DB, statements []string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", strings.TrimSpace(statement), err)
		}
	}
}

// documentedURL has the role and the password of the documentation.
func documentedURL(server *pgtest.Server, database string) string {
	return fmt.Sprintf("postgres://axra:a-long-random-password@127.0.0.1:%d/%s", server.Port(), database)
}

func openAsDocumented(t *testing.T, server *pgtest.Server, database string) *ledger.Ledger {
	t.Helper()
	l := ledger.New(ledger.Options{URL: documentedURL(server, database)})
	t.Cleanup(func() { mustDo(t, l.Close()) })
	created, err := l.Open(t.Context())
	mustDo(t, err)
	if !created {
		t.Error("there is a ledger already")
	}
	return l
}

func TestTheDatabaseOfTheDocumentation(t *testing.T) {
	server := pgtest.New(t)
	connect := administrator(t, server)
	newDatabase, _, durable, seen, _ := scalingSQL(t)
	runAll(t, connect("postgres"), newDatabase)
	runAll(t, connect("postgres"), durable)
	openAsDocumented(t, server, "axra")
	rows := selected(t, connect("postgres"), seen[0])
	if len(rows) != 1 || !strings.HasPrefix(rows[0], "5|") {
		t.Errorf("connections and transactions: %q, want five connections", rows)
	}
}

func TestTheSchemaOfTheDocumentation(t *testing.T) {
	server := pgtest.New(t)
	connect := administrator(t, server)
	_, newSchema, _, _, keep := scalingSQL(t)
	runAll(t, connect("postgres"), []string{"CREATE DATABASE shop", "REVOKE ALL ON DATABASE shop FROM PUBLIC"})
	runAll(t, connect("shop"), newSchema)
	runAll(t, connect("shop"), documented(t, "GRANT CONNECT ON DATABASE shop TO axra"))
	l := openAsDocumented(t, server, "shop")
	change := func() {
		_, err := l.ChangeKeys(t.Context(), func(set ledger.KeySet) ([]ledger.Key, error) {
			return append(set.Keys, ledger.Key{ID: strconv.Itoa(len(set.Keys)), Algorithm: "HS256", Secret: []byte("x")}), nil
		})
		mustDo(t, err)
	}
	change()

	// The backup, and what puts it back while a node runs: by the administrator, then by the role itself.
	file := filepath.Join(t.TempDir(), "axra.dump")
	clientTool(t, server, "pg_dump", "--schema=axra", "--format=custom", "--file", file, documentedURL(server, "shop"))
	restore := func(db *sql.DB, database string) {
		t.Helper()
		change()
		seen, err := l.Poll(t.Context(), ledger.Position{})
		mustDo(t, err)
		runAll(t, db, keep)
		if _, err := l.Poll(t.Context(), seen.Position); err == nil {
			t.Error("it polls a schema that is not there")
		}
		clientTool(t, server, "pg_restore", "--exit-on-error", "--single-transaction", "--dbname="+database, file)
		restored, err := l.Poll(t.Context(), seen.Position)
		mustDo(t, err)
		if !restored.All {
			t.Error("it does not notice that the ledger went back")
		}
		change()
		runAll(t, db, documented(t, "DROP SCHEMA axra_before_restore CASCADE"))
	}
	restore(connect("shop"), "shop")
	runAll(t, connect("shop"), documented(t, "GRANT CREATE ON DATABASE shop TO axra"))
	role, err := sql.Open("pgx", documentedURL(server, "shop"))
	mustDo(t, err)
	t.Cleanup(func() { mustDo(t, role.Close()) })
	restore(role, documentedURL(server, "shop"))
}

// documented is a statement that docs/scaling.md has.
func documented(t *testing.T, statement string) []string {
	t.Helper()
	if !strings.Contains(readDoc(t, "docs/scaling.md"), "`"+statement+"`") {
		t.Errorf("not documented: %s", statement)
	}
	return []string{statement}
}

// clientTool runs a program of PostgreSQL as the server's administrator.
func clientTool(t *testing.T, server *pgtest.Server, name string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("not run: %s is not installed", name)
	}
	for _, arg := range args {
		if strings.HasPrefix(arg, "--") && !strings.Contains(arg, "shop") && arg != "--file" && !strings.Contains(readDoc(t, "docs/scaling.md"), arg) {
			t.Errorf("%s %s is not documented", name, arg)
		}
	}
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "PGHOST=127.0.0.1", "PGPORT="+strconv.Itoa(server.Port()), "PGUSER=administrator", "PGPASSWORD=x")
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, output)
	}
}
