// The tests of this package run Caddy in processes of their own: the test binary
// starts itself again, as a node. Each test has a short form, for every run, and
// a long one, which measures more:
//
//	go test ./internal/faults -v -timeout=30m -long
//	go test ./internal/faults -v -run Kill -long
//
// The figures are those of the log (-v). Without -race they say more about memory
// and latency. What concerns PostgreSQL runs where its server is installed.
package faults_test

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-axra/paywall"
	"github.com/caddy-axra/paywall/internal/pgtest"
)

var long = flag.Bool("long", false, "run the long forms of the tests, which take minutes")

// inForm returns the number that belongs to the form in which the tests run.
func inForm[T any](shortForm, longForm T) T {
	if *long {
		return longForm
	}
	return shortForm
}

// nodeFile names the environment variable that makes the test binary a node.
const nodeFile = "AXRA_NODE"

func TestMain(m *testing.M) {
	if file := os.Getenv(nodeFile); file != "" {
		if err := serve(file, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "node:", err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	pgtest.Stop()
	os.Exit(code)
}

// serve is the node's side: it adapts a Caddyfile and says "set", loads it on
// command and says "ready", and serves until it is killed. The test holds the
// other end of the input: where the test ends, in whatever way, so does the node.
func serve(file string, in io.Reader, out io.Writer) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(raw, map[string]any{"filename": file})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "set")
	commands := bufio.NewScanner(in)
	if !commands.Scan() {
		return nil
	}
	if err := caddy.Load(config, true); err != nil {
		return err
	}
	fmt.Fprintln(out, "ready")
	for commands.Scan() {
		if err := limitFiles(commands.Text()); err != nil {
			return err
		}
		fmt.Fprintln(out, "limited")
	}
	return nil
}

// limitFiles carries out a further command, which bounds the size of files; nil where the system cannot.
var limitFiles func(command string) error

// node is a Caddy of its own process.
type node struct {
	t         *testing.T
	name      string
	port      string
	admin     string // port of the admin API
	file      string // the Caddyfile
	stderr    string // file of what it writes, over all its starts
	home      string
	transport *http.Transport // leads every request to this node, whatever its host

	cmd      *exec.Cmd
	stdin    io.Closer
	commands io.Writer
	stdout   chan string
	starts   int
}

// startTimeout bounds how long a node may take, on a busy machine with the race
// detector.
const startTimeout = 60 * time.Second

// prepare starts the process, which then waits for the command to load.
func (n *node) prepare() {
	n.t.Helper()
	executable, err := os.Executable()
	must(n.t, err)
	stderr, err := os.OpenFile(n.stderr, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(n.t, err)
	defer stderr.Close()
	cmd := exec.Command(executable)
	cmd.Dir, cmd.Stderr = n.home, stderr
	cmd.Env = append(os.Environ(), nodeFile+"="+n.file,
		"HOME="+n.home, "XDG_DATA_HOME="+n.home, "XDG_CONFIG_HOME="+n.home,
		"AXRA_API_KEY=bk_test_sandbox", "AXRA_WEBHOOK_SECRET="+secret)
	stdin, err := cmd.StdinPipe()
	must(n.t, err)
	stdout, err := cmd.StdoutPipe()
	must(n.t, err)
	must(n.t, cmd.Start())
	n.cmd, n.stdin, n.commands, n.starts = cmd, stdin, stdin, n.starts+1
	lines := make(chan string, 16)
	n.stdout = lines
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	n.expect("set")
}

// load gives the command to load.
func (n *node) load() {
	n.t.Helper()
	_, err := io.WriteString(n.commands, "go\n")
	must(n.t, err)
}

func (n *node) expect(word string) {
	n.t.Helper()
	timer := time.NewTimer(startTimeout)
	defer timer.Stop()
	for {
		select {
		case line, ok := <-n.stdout:
			if !ok {
				n.t.Fatalf("node %s ended before it was %s", n.name, word)
			}
			if line == word {
				return
			}
		case <-timer.C:
			n.t.Fatalf("node %s is not %s after %s", n.name, word, startTimeout)
		}
	}
}

// start starts the process and waits until it serves.
func (n *node) start() *node {
	n.t.Helper()
	n.prepare()
	n.load()
	n.expect("ready")
	return n
}

// kill ends the process as a loss of power does, and waits for its end. It is
// harmless where none runs, and may be called from any goroutine, by one at a time.
func (n *node) kill() {
	if n.cmd == nil {
		return
	}
	if err := n.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		n.t.Errorf("killing node %s: %v", n.name, err)
	}
	for range n.stdout { // Wait may be called only after all was read
	}
	_ = n.cmd.Wait()
	_ = n.stdin.Close()
	n.cmd = nil
	n.transport.CloseIdleConnections()
}

// finish ends the node for good, and reports what it should not have written.
func (n *node) finish() {
	n.kill()
	written, err := os.ReadFile(n.stderr)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		n.t.Error(err)
	}
	for _, bad := range append([]string{"DATA RACE", "panic", "fatal error"}, pgtest.Passwords...) {
		if at := strings.Index(string(written), bad); at >= 0 {
			n.t.Errorf("node %s wrote:\n%.3000s", n.name, written[max(0, at-200):])
			return
		}
	}
	if n.t.Failed() {
		n.t.Logf("node %s wrote last:\n%s", n.name, written[max(0, len(written)-3000):])
	}
}

// write replaces the node's Caddyfile, for its next start.
func (n *node) write(caddyfile string) {
	n.t.Helper()
	must(n.t, os.WriteFile(n.file, []byte(caddyfile), 0o600))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	must(t, os.WriteFile(path, []byte(content), 0o600))
}
