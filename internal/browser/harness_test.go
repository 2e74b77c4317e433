// Package browser walks the example with a real browser, as a visitor does.
//
// It needs Chromium in the PATH and, for the accessibility checks, the script of
// axe-core, whose path the environment names as AXE. With CI=true nothing may be
// missing; without it what is missing is skipped. BROWSER_SHOTS names a folder
// for screenshots.
package browser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/caddy-axra/paywall/internal/exampletest"
)

const (
	deadline = exampletest.Deadline // for anything to happen that should happen
	tick     = exampletest.Tick     // between two looks at a condition
)

// chromium is the one browser of all tests; binary is the example, built once.
var (
	chromium context.Context //nolint:containedctx // the browser is what this context carries
	binary   string
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
		if exampletest.InCI() {
			return 1, err
		}
		fmt.Println("browser tests: everything is skipped:", err)
		return m.Run(), nil
	}
	folder, err := os.MkdirTemp("", "paywall-browser-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	if binary, err = exampletest.Build(folder); err != nil {
		return 1, err
	}
	var stop func()
	if chromium, stop, err = startChromium(path, folder); err != nil {
		return 1, err
	}
	defer stop()
	return m.Run(), nil
}

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

// startExample starts the example; without a browser the test is skipped.
func startExample(t *testing.T) *exampletest.Example {
	t.Helper()
	if chromium == nil {
		t.Skip("no Chromium")
	}
	return exampletest.Start(t, binary)
}
