package browser

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"

	"github.com/caddy-axra/paywall/internal/exampletest"
)

// Service workers of a site, as they are written.
const (
	// honestWorker passes every request on as it is. A navigation stays one, but nothing
	// says any more that it is for a document.
	honestWorker = `addEventListener('fetch', (event) => event.respondWith(fetch(event.request)));`

	// rewritingWorker makes a new request of every navigation, which then looks like a script's.
	rewritingWorker = `addEventListener('fetch', (event) => {
		const {method, mode, url, headers} = event.request;
		if (method === 'GET' && mode === 'navigate') {
			event.respondWith(fetch(new Request(url, {headers, credentials: 'include', redirect: 'manual'})));
		}
	});`
)

const workerPath = "/sw.js"

// wire is the visitor's way to the internet: a proxy that notes what the browser really
// sends, and gives the site a service worker.
type wire struct {
	url    string
	worker string // script at workerPath

	mu   sync.Mutex
	seen []exchange
}

type exchange struct {
	url    string
	sent   http.Header
	status int
}

func newWire(t *testing.T, worker string) *wire {
	t.Helper()
	w := &wire{worker: worker}
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:        func(*httputil.ProxyRequest) {}, // it comes with its whole address
		Transport:      w,
		ModifyResponse: w.note,
	})
	t.Cleanup(proxy.Close)
	w.url = proxy.URL
	return w
}

// RoundTrip answers for the worker's script, and fetches what is on this machine.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	switch {
	case r.Method == http.MethodConnect: // Chromium calls home
		return &http.Response{StatusCode: http.StatusForbidden, Request: r, Body: http.NoBody}, nil
	case r.URL.Path == workerPath:
		return &http.Response{
			StatusCode: http.StatusOK, Request: r,
			Header: http.Header{"Content-Type": {"text/javascript"}}, Body: io.NopCloser(strings.NewReader(w.worker)),
		}, nil
	}
	return http.DefaultTransport.RoundTrip(r)
}

func (w *wire) note(answer *http.Response) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, exchange{answer.Request.URL.String(), answer.Request.Header.Clone(), answer.StatusCode})
	return nil
}

// requests are those whose address begins so. There must be some.
func (w *wire) requests(t *testing.T, begins string) []exchange {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	found := slices.DeleteFunc(slices.Clone(w.seen), func(x exchange) bool { return !strings.HasPrefix(x.url, begins) })
	if len(found) == 0 {
		t.Errorf("the browser has sent no request to %s", begins)
	}
	return found
}

// newVisitor is a visitor who goes by the wire, to localhost too.
func (w *wire) newVisitor(t *testing.T, script bool) *visitor {
	t.Helper()
	ctx, cancel := chromedp.NewContext(chromium, chromedp.WithNewBrowserContext(func(params *target.CreateBrowserContextParams) {
		params.ProxyServer, params.ProxyBypassList = w.url, "<-loopback>"
	}))
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	v := &visitor{t: t, ctx: ctx, script: script, said: &console{}}
	t.Cleanup(v.checkConsole)
	return v
}

// openWithWorker opens the site's front page under the control of its service worker.
func (v *visitor) openWithWorker(e *exampletest.Example) *tab {
	v.t.Helper()
	tab := v.open("about:blank")
	tab.allowScript(true)
	tab.visit(e.Site)
	tab.arriveAt(e.Site+"/", "The Tide Almanac")
	active, err := evaluate[bool](tab, `navigator.serviceWorker.register('`+workerPath+`')
		.then(() => navigator.serviceWorker.ready).then((registration) => !!registration.active)`)
	if err != nil || !active {
		v.t.Fatalf("the service worker is active: %v, %v", active, err)
	}
	tab.visit(e.Site)
	tab.arriveAt(e.Site+"/", "The Tide Almanac")
	tab.mustBeControlled()
	tab.allowScript(v.script)
	return tab
}

// mustBeControlled fails the test unless the page came by the service worker.
func (p *tab) mustBeControlled() {
	p.t.Helper()
	controlled, err := evaluate[bool](p, `!!navigator.serviceWorker.controller && performance.getEntriesByType('navigation')[0].workerStart > 0`)
	if err != nil || !controlled {
		p.t.Errorf("the page at %s came by the service worker: %v, %v", p.place().URL, controlled, err)
	}
}

// startExampleElsewhere starts the example with the sandbox on another site, as Axra is:
// what differs in the port alone is one site.
func startExampleElsewhere(t *testing.T) *exampletest.Example {
	t.Helper()
	e := startExample(t)
	e.Axra = strings.Replace(e.Axra, "localhost", "127.0.0.1", 1)
	e.Restart()
	return e
}

// Some browsers on phones name their app in every request.
func TestFA1BrowserThatNamesItsAppBuys(t *testing.T) {
	everyBrowser(t, func(t *testing.T, script bool) {
		e := startExampleElsewhere(t)
		w := newWire(t, "")
		tab := w.newVisitor(t, script).open("about:blank")
		call(tab, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{
			Headers: network.Headers{"X-Requested-With": "com.example.browser"},
		})
		tab.visit(e.Site + article)
		tab.arriveAtCheckout(e, passPrice)
		tab.pay(cardGood)
		tab.arriveAt(e.Site+article, headline)
		tab.visit(e.Site + article + "?axra_receipt")
		tab.arriveHead("Your receipt")

		for _, x := range w.requests(t, e.Site+article) {
			if app := x.sent.Get("X-Requested-With"); app != "com.example.browser" {
				t.Errorf("%s: X-Requested-With: %q", x.url, app)
			}
		}
	})
}

// Without JavaScript the worker stays, and the waiting page follows its own link.
func TestFA2SiteWithServiceWorkerSells(t *testing.T) {
	everyBrowser(t, func(t *testing.T, script bool) {
		e := startExampleElsewhere(t)
		e.Control("webhooks", `{"hold":true}`)
		w := newWire(t, honestWorker)
		tab := w.newVisitor(t, script).openWithWorker(e)
		tab.click(`a[href="` + article + `"]`)
		tab.arriveAtCheckout(e, passPrice)
		tab.pay(cardGood)
		tab.arriveHead("Waiting for confirmation")
		tab.mustBeControlled()
		e.Control("webhooks", `{"hold":false}`)
		tab.arriveAt(e.Site+article, headline)
		tab.mustBeControlled()
		tab.visit(e.Site + article + "?axra_receipt")
		tab.arriveHead("Your receipt")
		tab.mustBeControlled()

		for _, begins := range []string{article, article + "?axra_session=", article + "?axra_receipt"} {
			for _, x := range w.requests(t, e.Site+begins) {
				mode, dest := x.sent.Get("Sec-Fetch-Mode"), x.sent.Get("Sec-Fetch-Dest")
				if isPage := strings.Contains(x.sent.Get("Accept"), "text/html"); isPage && (mode != "navigate" || dest != "empty") {
					t.Errorf("%s: Sec-Fetch-Mode: %q, Sec-Fetch-Dest: %q; this tests nothing", x.url, mode, dest)
				}
			}
		}
	})
}

// What looks like a script opens no checkout by itself. The page has a button that does,
// and its policy lets the form go there.
func TestFA3ButtonWhereServiceWorkerRewritesNavigations(t *testing.T) {
	everyBrowser(t, func(t *testing.T, script bool) {
		e := startExampleElsewhere(t)
		w := newWire(t, rewritingWorker)
		tab := w.newVisitor(t, script).openWithWorker(e)
		tab.click(`a[href="` + article + `"]`)
		tab.arrive("the page that asks for a payment", func(at place) bool { return at.URL == e.Site+article && at.Head != "" })
		tab.mustBeControlled()
		for _, x := range w.requests(t, e.Site+article) {
			mode, dest := x.sent.Get("Sec-Fetch-Mode"), x.sent.Get("Sec-Fetch-Dest")
			if mode == "navigate" || dest != "empty" || !strings.Contains(x.sent.Get("Accept"), "text/html") {
				t.Errorf("%s: Sec-Fetch-Mode: %q, Sec-Fetch-Dest: %q; this tests nothing", x.url, mode, dest)
			}
			if x.status != http.StatusPaymentRequired {
				t.Errorf("%s: status %d", x.url, x.status)
			}
		}
		tab.inspect("behind-service-worker")

		tab.click(`form[method="post"] button`)
		tab.arriveAtCheckout(e, passPrice)
		tab.pay(cardGood)
		tab.arriveAt(e.Site+article, headline)
		tab.mustBeControlled()
	})
}
