package browser

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/caddy-axra/paywall/internal/exampletest"
)

const (
	wide   = 1280
	narrow = 320 // WCAG 2.2, 1.4.10: at this width nothing scrolls sideways
)

// inspect looks at the page a tab shows: for accessibility in light and dark,
// for its width on the smallest screen, and with BROWSER_SHOTS for the human eye.
// The rules that do not apply are named with a reason by who calls it.
func (p *tab) inspect(name string, exceptRules ...string) {
	p.t.Helper()
	if !p.script {
		name += "-without-script"
	}
	shots := os.Getenv("BROWSER_SHOTS")
	found := map[string][]string{} // complaint -> looks
	for _, look := range []struct {
		name, scheme string
		width        int64
	}{{"light", "light", wide}, {"dark", "dark", wide}, {"narrow", "light", narrow}} {
		call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: look.scheme},
		}})
		call(p, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: look.width, Height: 800, DeviceScaleFactor: 1})
		if look.width == narrow {
			p.checkWidth(name)
		}
		for _, complaint := range p.askAxe(exceptRules) {
			found[complaint] = append(found[complaint], look.name)
		}
		if shots != "" {
			p.shoot(filepath.Join(shots, name+"-"+look.name+".png"))
		}
	}
	for complaint, looks := range found {
		p.t.Errorf("%s (%s): %s", name, strings.Join(looks, ", "), complaint)
	}
	call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{})
	call(p, emulation.ClearDeviceMetricsOverride, cdp.Empty{})
}

func (p *tab) checkWidth(name string) {
	p.t.Helper()
	excess, err := evaluate[int](p, "document.documentElement.scrollWidth - document.documentElement.clientWidth")
	if err != nil {
		p.t.Fatal(err)
	}
	if excess > 0 {
		p.t.Errorf("%s: at a width of %d the page is %d pixels too wide", name, narrow, excess)
	}
}

func (p *tab) shoot(path string) {
	p.t.Helper()
	yes := true
	shot := call(p, page.CaptureScreenshot, page.CaptureScreenshotParams{CaptureBeyondViewport: &yes, Clip: p.extent()})
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, shot.Data, 0o644); err != nil {
		p.t.Fatal(err)
	}
}

func (p *tab) extent() *page.Viewport {
	p.t.Helper()
	size, err := evaluate[[]float64](p, "[document.documentElement.clientWidth, Math.max(document.documentElement.scrollHeight, innerHeight)]")
	if err != nil {
		p.t.Fatal(err)
	}
	return &page.Viewport{Width: size[0], Height: size[1], Scale: 1}
}

// axe is the script of axe-core.
var axe = sync.OnceValues(func() (string, error) {
	path := os.Getenv("AXE")
	if path == "" {
		return "", errors.New("AXE is not set to the path of axe.min.js")
	}
	script, err := os.ReadFile(path)
	return string(script), err
})

func TestAxeIsThere(t *testing.T) {
	if _, err := axe(); err != nil {
		if exampletest.InCI() {
			t.Fatal(err)
		}
		t.Skip("no accessibility checks:", err)
	}
}

type violation struct {
	ID    string `json:"id"`
	Help  string `json:"help"`
	Nodes []struct {
		HTML    string `json:"html"`
		Summary string `json:"failureSummary"`
	} `json:"nodes"`
}

// askAxe runs axe-core in the page and returns its complaints. It comes through
// the debugger, so the page's policy does not apply to it.
func (p *tab) askAxe(exceptRules []string) []string {
	p.t.Helper()
	script, err := axe()
	if err != nil {
		return nil // TestAxeIsThere says so
	}
	if !p.script {
		p.allowScript(true)
		defer p.allowScript(false)
	}
	if there, err := evaluate[bool](p, "typeof axe === 'object'"); err != nil || !there {
		if _, err := evaluate[chromedp.Void](p, script+"; undefined"); err != nil {
			p.t.Fatalf("loading axe-core: %v", err)
		}
	}
	rules := map[string]map[string]bool{}
	for _, rule := range exceptRules {
		rules[rule] = map[string]bool{"enabled": false}
	}
	options, err := json.Marshal(map[string]any{"resultTypes": []string{"violations"}, "preload": false, "rules": rules})
	if err != nil {
		p.t.Fatal(err)
	}
	answer, err := evaluate[string](p, fmt.Sprintf("axe.run(document, %s).then(result => JSON.stringify(result.violations))", options))
	if err != nil {
		p.t.Fatalf("axe-core: %v", err)
	}
	var violations []violation
	if err := json.Unmarshal([]byte(answer), &violations); err != nil {
		p.t.Fatal(err)
	}
	var complaints []string
	for _, v := range violations {
		for _, node := range v.Nodes {
			complaints = append(complaints, fmt.Sprintf("%s (%s)\n\t%s\n\t%s", v.Help, v.ID, node.HTML, strings.ReplaceAll(node.Summary, "\n", "\n\t")))
		}
	}
	return complaints
}
