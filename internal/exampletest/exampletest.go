// Package exampletest runs the example as a process of its own, for tests of what visitors and programs meet there.
package exampletest

import (
	"bytes"
	"context"
	"encoding/json"
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
	// Deadline is for anything to happen that should happen.
	Deadline = 45 * time.Second
	// Tick is between two looks at a condition.
	Tick = 25 * time.Millisecond
)

// InCI reports whether nothing may be skipped.
func InCI() bool { return os.Getenv("CI") == "true" }

// Build builds the example in a folder, from a package two folders below the root of the repository.
func Build(folder string) (binary string, err error) {
	binary = filepath.Join(folder, "example")
	build := exec.CommandContext(context.Background(), "go", "build", "-o", binary, "./example") //nolint:gosec // our own folder
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the example: %w\n%s", err, out)
	}
	return binary, nil
}

// Example is the running example: the site, and the sandbox of Axra.
type Example struct {
	Site, Axra string // "http://localhost:PORT"
	Admin      string // Caddy's admin API, likewise
	Data       string // its folder

	t      testing.TB
	binary string
	cmd    *exec.Cmd
	exited chan struct{}
	output Buffer
}

// Start starts the example, which ends with the test.
func Start(t testing.TB, binary string) *Example {
	t.Helper()
	e := &Example{t: t, binary: binary, Data: t.TempDir()}
	for _, address := range []*string{&e.Site, &e.Axra, &e.Admin} {
		*address = "http://" + freeAddress(t)
	}
	t.Cleanup(func() {
		e.stop()
		if t.Failed() {
			t.Logf("output of the example:\n%s", e.output.String())
		}
	})
	e.start()
	return e
}

// Restart ends the example and starts it again in its folder.
func (e *Example) Restart() {
	e.t.Helper()
	e.stop()
	e.start()
}

func (e *Example) start() {
	e.t.Helper()
	address := func(url string) string { return strings.TrimPrefix(url, "http://") }
	e.cmd = exec.CommandContext(context.Background(), e.binary, //nolint:gosec // our own program
		"-data", e.Data, "-site", address(e.Site), "-axra", address(e.Axra), "-admin", address(e.Admin))
	e.cmd.Stdout, e.cmd.Stderr = &e.output, &e.output
	must(e.t, e.cmd.Start())
	exited := make(chan struct{})
	e.exited = exited
	go func(cmd *exec.Cmd) {
		_ = cmd.Wait() // how it ended shows in its output
		close(exited)
	}(e.cmd)
	for _, url := range []string{e.Site, e.Axra} {
		Eventually(e.t, url+" answers", func() bool {
			select {
			case <-exited:
				e.t.Fatal("the example ended early")
			default:
			}
			_, err := e.call(http.MethodGet, url, "")
			return err == nil
		})
	}
}

func (e *Example) stop() {
	if e.cmd == nil {
		return
	}
	_ = e.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-e.exited:
	case <-time.After(Deadline):
		_ = e.cmd.Process.Kill()
		<-e.exited
		e.t.Error("the example had to be killed")
	}
}

// Control posts to the sandbox's JSON control, and returns its answer.
func (e *Example) Control(path, body string) []byte {
	e.t.Helper()
	return e.mustCall(http.MethodPost, e.Axra+"/sandbox/"+path, body)
}

// State reads one list of the sandbox's JSON control.
func (e *Example) State(path string, into any) {
	e.t.Helper()
	must(e.t, json.Unmarshal(e.mustCall(http.MethodGet, e.Axra+"/sandbox/"+path, ""), into))
}

// Operate makes a call to the operators' API.
func (e *Example) Operate(call, body string) []byte {
	e.t.Helper()
	return e.mustCall(http.MethodPost, e.Admin+"/axra/"+call, body)
}

func (e *Example) mustCall(method, url, body string) []byte {
	e.t.Helper()
	answer, err := e.call(method, url, body)
	must(e.t, err)
	return answer
}

func (e *Example) call(method, url, body string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(e.t.Context(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, url, response.Status, answer)
	}
	return answer, err
}

// File is a file of the site.
func (e *Example) File(path string) string {
	e.t.Helper()
	content, err := os.ReadFile(filepath.Join(e.Data, "site", filepath.FromSlash(path)))
	must(e.t, err)
	if len(content) == 0 {
		e.t.Fatalf("%s is empty", path)
	}
	return string(content)
}

// BreakLedger moves the ledger's file away, until it is mended.
func (e *Example) BreakLedger() (mend func()) {
	e.t.Helper()
	ledger := filepath.Join(e.Data, "ledger.db")
	must(e.t, os.Rename(ledger, ledger+".away"))
	return func() {
		e.t.Helper()
		must(e.t, os.Rename(ledger+".away", ledger))
	}
}

// Eventually waits until the condition holds.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(Deadline); !holds(); time.Sleep(Tick) {
		if time.Now().After(end) {
			t.Fatalf("in vain waited until %s", what)
		}
	}
}

// freeAddress finds a port below those that the system gives to connections, so that it stays free while the example
// restarts.
func freeAddress(t testing.TB) string {
	t.Helper()
	for range 100 {
		address := net.JoinHostPort("localhost", strconv.Itoa(20000+rand.IntN(12000))) //nolint:gosec // no secret
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp4", address)
		if err == nil {
			must(t, listener.Close())
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}

// Buffer may be written to by a process while a test reads it.
type Buffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
