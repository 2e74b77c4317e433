// Package browser walks the example with a real browser, as a visitor does.
//
// It needs Chromium in the PATH and, for the accessibility checks, the script of
// axe-core, whose path the environment names as AXE. With CI=true nothing may be
// missing; without it what is missing is skipped. BROWSER_SHOTS names a folder
// for screenshots.
package browser

import (
	"bytes"
	"context"
	"encoding/json"
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

	"github.com/chromedp/chromedp"
)

const (
	deadline = 45 * time.Second      // for anything to happen that should happen
	tick     = 25 * time.Millisecond // between two looks at a condition
)

// chromium is the one browser of all tests; bin is where the built programs are.
var (
	chromium context.Context //nolint:containedctx // the browser is what this context carries
	bin      string
)

func TestMain(m *testing.M) {
	code, err := prepare(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "browser tests:", err)
		code = 1
	}
	os.Exit(code)
}

func prepare(m *testing.M) (code int, err error) {
	path, err := findChromium()
	if err != nil {
		if inCI() {
			return 1, err
		}
		fmt.Println("browser tests: everything is skipped:", err)
		return m.Run(), nil
	}
	if bin, err = os.MkdirTemp("", "paywall-browser-"); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(bin)) }()
	build := exec.Command("go", "build", "-o", filepath.Join(bin, "example"), "./example")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("building the example: %w\n%s", err, out)
	}
	var stop func()
	if chromium, stop, err = startChromium(path, bin); err != nil {
		return 1, err
	}
	defer stop()
	return m.Run(), nil
}

func inCI() bool { return os.Getenv("CI") == "true" }

func findChromium() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("Chromium is not in the PATH")
}

// startChromium starts the browser, with a profile of its own. Its usual user agent says that it is headless,
// and the paywall sends nobody to a checkout who says that.
func startChromium(path, folder string) (context.Context, func(), error) {
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.UserDataDir(filepath.Join(folder, "profile")),
		chromedp.Env("TMPDIR="+folder),
		chromedp.NoSandbox,
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-crash-reporter", true),
		chromedp.Flag("hide-scrollbars", true),
		chromedp.Flag("lang", "en-US"),
		chromedp.UserAgent("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"),
		chromedp.WindowSize(1280, 800),
	)
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, stopBrowser := chromedp.NewContext(allocator)
	stop := func() {
		stopBrowser()
		stopAllocator()
	}
	if err := chromedp.Do(ctx); err != nil {
		stop()
		return nil, nil, fmt.Errorf("starting %s: %w", path, err)
	}
	return ctx, stop, nil
}

// example is the running example program.
type example struct {
	site, axra string // http://localhost:port
	args       []string
	program    *program
}

func startExample(t *testing.T) *example {
	t.Helper()
	if chromium == nil {
		t.Skip("no Chromium")
	}
	site, axra := freeAddress(t), freeAddress(t)
	e := &example{
		site: "http://" + site,
		axra: "http://" + axra,
		args: []string{"-data", t.TempDir(), "-site", site, "-axra", axra, "-admin", freeAddress(t)},
	}
	e.start(t)
	t.Cleanup(func() { e.program.stop(t) })
	return e
}

func (e *example) start(t *testing.T) {
	t.Helper()
	e.program = startProgram(t, "example", e.site, e.args...)
	e.program.ready(t, e.axra)
}

func (e *example) restart(t *testing.T) {
	t.Helper()
	e.program.stop(t)
	e.start(t)
}

// control posts to the sandbox's JSON control.
func (e *example) control(t *testing.T, path, body string) {
	t.Helper()
	response, err := http.Post(e.axra+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	answer := readAll(t, response)
	if response.StatusCode != http.StatusOK {
		t.Fatalf("POST %s: %s\n%s", path, response.Status, answer)
	}
}

// state reads one list of the sandbox's JSON control.
func (e *example) state(t *testing.T, path string, into any) {
	t.Helper()
	response, err := http.Get(e.axra + path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(readAll(t, response), into); err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
}

func readAll(t *testing.T, response *http.Response) []byte {
	t.Helper()
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// program is a process that the test started and ends by its own id.
type program struct {
	cmd    *exec.Cmd
	output lockedBuffer
	exited chan struct{}
}

func startProgram(t *testing.T, name, url string, args ...string) *program {
	t.Helper()
	p := &program{cmd: exec.Command(filepath.Join(bin, name), args...), exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended shows in its output
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.stop(t)
		if t.Failed() {
			t.Logf("output of %s:\n%s", name, p.output.String())
		}
	})
	p.ready(t, url)
	return p
}

// ready waits until the address answers.
func (p *program) ready(t *testing.T, url string) {
	t.Helper()
	client := &http.Client{Timeout: 5 * time.Second}
	for end := time.Now().Add(deadline); ; time.Sleep(tick) {
		if response, err := client.Get(url); err == nil {
			response.Body.Close()
			return
		}
		select {
		case <-p.exited:
			t.Fatalf("%s ended early", p.cmd.Path)
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not answer", url)
		}
	}
}

func (p *program) stop(t *testing.T) {
	t.Helper()
	select {
	case <-p.exited:
		return
	default:
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended just now
	select {
	case <-p.exited:
	case <-time.After(deadline):
		_ = p.cmd.Process.Kill()
		<-p.exited
		t.Errorf("%s had to be killed", p.cmd.Path)
	}
}

// freeAddress finds a port below those that the system gives to connections, so
// that it stays free while a program restarts.
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
