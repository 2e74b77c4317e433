// Package contract holds the example to what docs/openapi.yaml says to programs,
// and runs the script of docs/programs.md against it.
//
// The script needs bash, curl and jq. With CI=true nothing may be missing; without
// it the script is skipped where they are.
package contract

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	deadline = 30 * time.Second      // for anything to happen that should happen
	tick     = 25 * time.Millisecond // between two looks at a condition
)

// binary is the example, built once.
var binary string

func TestMain(m *testing.M) {
	code, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "contract tests:", err)
		code = 1
	}
	os.Exit(code)
}

func buildAndRun(m *testing.M) (code int, err error) {
	folder, err := os.MkdirTemp("", "paywall-contract-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	binary = filepath.Join(folder, "example")
	build := exec.Command("go", "build", "-o", binary, "./example")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("building the example: %w\n%s", err, out)
	}
	return m.Run(), nil
}

func inCI() bool { return os.Getenv("CI") == "true" }

// example is the running example: the site, and the sandbox of Axra.
type example struct {
	t          *testing.T
	site, axra string // http://localhost:port
	admin      string // of Caddy
	data       string // its folder
	cmd        *exec.Cmd
	output     lockedBuffer
	exited     chan struct{}
}

func startExample(t *testing.T) *example {
	t.Helper()
	site, axra, admin := freeAddress(t), freeAddress(t), freeAddress(t)
	e := &example{t: t, site: "http://" + site, axra: "http://" + axra, admin: "http://" + admin, data: t.TempDir(), exited: make(chan struct{})}
	e.cmd = exec.Command(binary, "-data", e.data, "-site", site, "-axra", axra, "-admin", admin)
	e.cmd.Stdout, e.cmd.Stderr = &e.output, &e.output
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = e.cmd.Wait() // how it ended shows in its output
		close(e.exited)
	}()
	t.Cleanup(func() {
		e.stop()
		if t.Failed() {
			t.Logf("output of the example:\n%s", e.output.String())
		}
	})
	for _, address := range []string{e.site, e.axra} {
		eventually(t, address+" answers", func() bool {
			select {
			case <-e.exited:
				t.Fatal("the example ended early")
			default:
			}
			response, err := plain.Get(address)
			if err != nil {
				return false
			}
			response.Body.Close()
			return true
		})
	}
	return e
}

func (e *example) stop() {
	_ = e.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-e.exited:
	case <-time.After(deadline):
		_ = e.cmd.Process.Kill()
		<-e.exited
		e.t.Error("the example had to be killed")
	}
}

// plain is a client that checks nothing, for what is not the site's.
var plain = &http.Client{Timeout: 10 * time.Second, Transport: http.DefaultTransport}

// control posts to the sandbox's JSON control.
func (e *example) control(path, body string) []byte {
	e.t.Helper()
	response, err := plain.Post(e.axra+"/sandbox/"+path, "application/json", strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		e.t.Fatalf("%s: %s\n%s", path, response.Status, answer)
	}
	return answer
}

// operate makes a call to the admin API.
func (e *example) operate(call, body string) []byte {
	e.t.Helper()
	response, err := plain.Post(e.admin+"/axra/"+call, "application/json", strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		e.t.Fatalf("POST %s: %s: %s", call, response.Status, answer)
	}
	return answer
}

// breakRecords moves the ledger's file away, until it is mended.
func (e *example) breakRecords() (mend func()) {
	e.t.Helper()
	ledger := filepath.Join(e.data, "ledger.db")
	away := ledger + ".away"
	if err := os.Rename(ledger, away); err != nil {
		e.t.Fatal(err)
	}
	return func() {
		e.t.Helper()
		if err := os.Rename(away, ledger); err != nil {
			e.t.Fatal(err)
		}
	}
}

// eventually waits until the condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !holds(); time.Sleep(tick) {
		if time.Now().After(end) {
			t.Fatalf("in vain waited until %s", what)
		}
	}
}

// freeAddress finds a port below those that the system gives to connections.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := net.JoinHostPort("localhost", strconv.Itoa(20000+rand.IntN(12000)))
		listener, err := net.Listen("tcp4", address)
		if err != nil {
			continue
		}
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
		return address
	}
	t.Fatal("no free port")
	return ""
}

type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
