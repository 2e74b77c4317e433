package browser

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/chromedp"

	"github.com/caddy-axra/paywall/internal/exampletest"
)

// visitor is a person with cookies of their own and any number of tabs.
type visitor struct {
	t      *testing.T
	ctx    context.Context //nolint:containedctx // chromedp's handle of the browser context
	script bool
	said   *console
}

func newVisitor(t *testing.T, script bool) *visitor {
	t.Helper()
	ctx, cancel := chromedp.NewContext(chromium, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	v := &visitor{t: t, ctx: ctx, script: script, said: &console{}}
	t.Cleanup(v.checkConsole)
	return v
}

// checkConsole fails the test for what no page of ours should make a browser say.
func (v *visitor) checkConsole() {
	v.said.mu.Lock()
	defer v.said.mu.Unlock()
	for _, complaint := range v.said.complaints {
		v.t.Errorf("console: %s", complaint)
	}
}

// cookies returns all cookies of the visitor.
func (v *visitor) cookies() []*network.Cookie {
	v.t.Helper()
	id := chromedp.FromContext(v.ctx).BrowserContextID
	result, err := chromedp.CallBrowser(v.ctx, storage.GetCookies, storage.GetCookiesParams{BrowserContextID: id})
	if err != nil {
		v.t.Fatal(err)
	}
	return result.Cookies
}

// console collects what the browser complains about and what it fetches.
type console struct {
	mu         sync.Mutex
	complaints []string
	fetched    []string // by scripts
}

func (c *console) hear(event any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch event := event.(type) {
	case *log.EventEntryAdded:
		// Chromium reports an answer of 4xx or 5xx as an error of the network.
		if event.Entry.Source != log.EntrySourceNetwork {
			c.complaints = append(c.complaints, fmt.Sprintf("%s %s: %s (%s)", event.Entry.Source, event.Entry.Level, event.Entry.Text, event.Entry.URL))
		}
	case *runtime.EventExceptionThrown:
		c.complaints = append(c.complaints, "exception: "+event.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		c.complaints = append(c.complaints, "a script wrote to the console")
	case *network.EventRequestWillBeSent:
		if event.Type == network.ResourceTypeFetch || event.Type == network.ResourceTypeXHR {
			c.fetched = append(c.fetched, event.Request.URL)
		}
	}
}

func (c *console) fetches() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.fetched)
}

// tab is one tab of a visitor.
type tab struct {
	*visitor
	ctx   context.Context //nolint:containedctx // chromedp's handle of the tab
	close func()
	last  float64 // birth of the document that was left by the last action
}

func (v *visitor) open(url string) *tab {
	v.t.Helper()
	ctx, cancel := chromedp.NewContext(v.ctx, chromedp.WithListener(v.said.hear))
	v.t.Cleanup(cancel)
	tab := &tab{visitor: v, ctx: ctx, close: cancel}
	if err := chromedp.Do(ctx); err != nil { // opens it; must not have a deadline
		v.t.Fatal(err)
	}
	tab.allowScript(v.script)
	tab.visit(url)
	return tab
}

func (p *tab) allowScript(allow bool) {
	p.t.Helper()
	if _, err := chromedp.Call(p.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !allow}); err != nil {
		p.t.Fatal(err)
	}
}

// do runs actions against the tab with a deadline.
func (p *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, deadline)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.t.Fatalf("%v; the tab is at %+v", err, p.place())
	}
}

// visit opens an address, as if typed.
func (p *tab) visit(url string) {
	p.t.Helper()
	p.last = p.place().Born
	p.do(chromedp.Navigate(url))
}

func (p *tab) reload() {
	p.t.Helper()
	p.last = p.place().Born
	p.do(chromedp.Reload())
}

func (p *tab) back() {
	p.t.Helper()
	p.last = p.place().Born
	p.do(chromedp.NavigateBack())
}

// click clicks with the mouse on what leads to another page.
func (p *tab) click(selector string) {
	p.t.Helper()
	p.last = p.place().Born
	p.do(chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

// fill types into an empty field.
func (p *tab) fill(selector, text string) {
	p.t.Helper()
	p.do(chromedp.SendKeys(chromedp.CSS(selector), text, chromedp.NodeVisible))
}

// place is where a tab is.
type place struct {
	URL   string  `json:"url"`
	Head  string  `json:"head"`
	Text  string  `json:"text"`
	Ready bool    `json:"ready"`
	Born  float64 `json:"born"` // tells one document from the next
}

const readPlace = `(() => ({
	url: location.href,
	head: document.querySelector('h1') ? document.querySelector('h1').innerText : '',
	text: document.body ? document.body.innerText : '',
	ready: document.readyState === 'complete',
	born: performance.timeOrigin,
}))()`

// place looks where the tab is; between two documents it is nowhere.
func (p *tab) place() place {
	ctx, cancel := context.WithTimeout(p.ctx, deadline)
	defer cancel()
	at, err := chromedp.Run(ctx, chromedp.Evaluate[place](readPlace))
	if err != nil {
		return place{}
	}
	return at
}

// arrive waits for a document that was not there before the last action, that is
// complete, and that fits.
func (p *tab) arrive(what string, fits func(place) bool) place {
	p.t.Helper()
	var at place
	for end := time.Now().Add(deadline); time.Now().Before(end); {
		at = p.place()
		if at.Ready && at.Born != p.last && fits(at) {
			return at
		}
		if err := p.ctx.Err(); err != nil {
			p.t.Fatalf("waiting for %s: %v", what, err)
		}
		time.Sleep(tick)
	}
	p.t.Fatalf("waited for %s; the tab is at %s\n%s\n%s", what, at.URL, at.Head, at.Text)
	return at
}

// arriveAt waits for an address and a heading.
func (p *tab) arriveAt(url, head string) place {
	p.t.Helper()
	return p.arrive(head+" at "+url, func(at place) bool { return at.URL == url && at.Head == head })
}

// arriveHead waits for a heading.
func (p *tab) arriveHead(head string) place {
	p.t.Helper()
	return p.arrive(head, func(at place) bool { return at.Head == head })
}

// evaluate runs a script in the page that answers with a promise.
func evaluate[T any](p *tab, script string) (T, error) {
	ctx, cancel := context.WithTimeout(p.ctx, deadline)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer from the page: %w", err)
	}
	return value, err
}

// call sends one command to the tab.
func call[P, R any](p *tab, command cdp.Command[P, R], params P) R {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, deadline)
	defer cancel()
	result, err := chromedp.Call(ctx, command, params)
	if err != nil {
		p.t.Fatal(err)
	}
	return result
}

// arriveAtCheckout waits for the sandbox's checkout page of an amount.
func (p *tab) arriveAtCheckout(e *exampletest.Example, amount string) place {
	p.t.Helper()
	return p.arrive("the checkout of "+amount, func(at place) bool {
		return strings.HasPrefix(at.URL, e.Axra+"/checkout/") && strings.HasPrefix(at.Head, "Pay ") && strings.Contains(at.Head, amount)
	})
}

// Test cards [sandbox/cards.go].
const (
	cardGood          = "4242 4242 4242 4242"
	cardDeclined      = "4000 0000 0000 0002"
	cardChallenge     = "4000 0025 0000 3155"
	cardChallengeFail = "4000 0082 6000 3178"
)

// pay fills in the checkout form and sends it.
func (p *tab) pay(card string) {
	p.t.Helper()
	p.fill("#number", card)
	p.fill("#expiry", "12/39")
	p.fill("#cvv", "123")
	p.click(`form[novalidate] button:not([formaction])`)
}
