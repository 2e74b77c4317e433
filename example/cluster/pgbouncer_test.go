package main

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/pgtest"
)

// Both nodes, with ten connections, share two of the server. Each transaction may get the other one, with the search
// path of somebody else.
func TestTheClusterBehindATransactionPooler(t *testing.T) {
	program := findPgBouncer(t)
	server := pgtest.New(t)
	databaseURL := server.NewDatabase(t)
	name := pgtest.Name(databaseURL)
	server.Exec(t, "ALTER DATABASE "+name+" SET search_path = elsewhere")
	c := start(t, startPgBouncer(t, program, databaseURL))
	servesAndEnds(t, c)
	if n := server.Count(t, `SELECT COUNT(*) FROM pg_stat_activity WHERE datname = $1`, name); n < 1 || n > 2 {
		t.Errorf("the pooler has %d connections", n)
	}
}

func findPgBouncer(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"pgbouncer", "/usr/sbin/pgbouncer"} { // not in everyone's PATH
		if program, err := exec.LookPath(name); err == nil {
			return program
		}
	}
	t.Skip("not run: PgBouncer is not installed")
	return ""
}

// startPgBouncer starts a pooler before a database and returns the database's URL through it.
func startPgBouncer(t *testing.T, program, databaseURL string) string {
	t.Helper()
	at, err := url.Parse(databaseURL)
	must(t, err)
	password, _ := at.User.Password()
	_, port, err := net.SplitHostPort(freeAddress(t))
	must(t, err)
	folder, err := os.MkdirTemp("", "pgbouncer-*") // another user reads it
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(folder) })
	must(t, os.Chmod(folder, 0o755)) //nolint:gosec // as above
	users := filepath.Join(folder, "users")
	must(t, os.WriteFile(users, fmt.Appendf(nil, "%q %q\n", at.User.Username(), password), 0o644)) //nolint:gosec // as above
	config := filepath.Join(folder, "config")
	must(t, os.WriteFile(config, fmt.Appendf(nil, `[databases]
* = host=%s port=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %s
unix_socket_dir =
auth_type = scram-sha-256
auth_file = %s
pool_mode = transaction
default_pool_size = 2
`, at.Hostname(), at.Port(), port, users), 0o644)) //nolint:gosec // as above

	// The shell's input ends with this process, however it ends.
	args := []string{"-c", `"$@" & pooler=$!; read -r _; kill $pooler; wait $pooler`, "sh", program, "-q"}
	if os.Geteuid() == 0 {
		args = append(args, "-u", "nobody") // it refuses to run as root
	}
	guard := exec.Command("sh", append(args, config)...)
	stdin, err := guard.StdinPipe()
	must(t, err)
	var output lockedBuffer
	guard.Stdout, guard.Stderr = io.Discard, &output
	must(t, guard.Start())
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = guard.Wait() // it ends by a signal
		if t.Failed() {
			t.Logf("PgBouncer:\n%s", output.String())
		}
	})
	for end := time.Now().Add(deadline); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	return strings.Replace(databaseURL, ":"+at.Port()+"/", ":"+port+"/", 1)
}
