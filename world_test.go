package paywall_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/caddy-axra/paywall"
	"github.com/caddy-axra/paywall/internal/pagetest"
	"github.com/caddy-axra/paywall/sandbox"
)

// Test cards [reference/testing].
const (
	cardGood     = "4242 4242 4242 4242"
	cardDeclined = "4000 0000 0000 0002"
)

// marker stands in every paid file; no byte of it may reach a stranger.
const marker = "PAID-CONTENT-MARKER"

// world is a real Caddy with the plugin, a sandbox of Axra, and a clock.
type world struct {
	t        testing.TB
	sandbox  *sandbox.Sandbox
	axra     *httptest.Server
	port     string
	site     string // "http://localhost:PORT"
	root     string // files of the site
	storage  string // Caddy's storage
	database string // the ledger's file
	keptIn   string // what `database` says; empty: that file
	broken   bool   // by breakLedger
	logs     string // Caddy's log file
	logLevel string
	config   string // the Caddyfile in force

	adminPort string // of Caddy's admin API, "" for none

	offset atomic.Int64 // of the clock, in nanoseconds
}

// worldOptions vary a world. Caddyfile may use the words of expand.
type worldOptions struct {
	Caddyfile string
	Sandbox   sandbox.Config
	LogLevel  string // default: DEBUG
	// DatabaseURL puts the ledger into PostgreSQL.
	DatabaseURL string
	// Broken says that the ledger cannot be opened at first.
	Broken bool
}

// fiveLines is the Caddyfile at the top of the design, with what a test must add.
const fiveLines = `{
	SETUP
	axra {
		api_key        {env.AXRA_API_KEY}
		webhook_secret {env.AXRA_WEBHOOK_SECRET}
		endpoint       ENDPOINT
	}
}
http://localhost:PORT {
	axra_webhook /webhooks/axra
	axra_paywall /premium/* {
		price  5.00 usd
		access 30d
	}
	root ROOT
	file_server
}
`

func newWorld(t testing.TB, options worldOptions) *world {
	t.Helper()
	w := &world{t: t, port: freePort(t), root: t.TempDir(), storage: t.TempDir(), logLevel: cmp.Or(options.LogLevel, "DEBUG")}
	w.logs = filepath.Join(t.TempDir(), "caddy.log")
	w.database = filepath.Join(w.storage, "axra", "ledger.db")
	if options.DatabaseURL != "" {
		t.Setenv("AXRA_DATABASE_URL", options.DatabaseURL)
		w.keptIn = "postgres {env.AXRA_DATABASE_URL}"
	}
	w.broken = options.Broken
	w.site = "http://localhost:" + w.port
	w.write("index.html", "free")
	w.write("premium/index.html", marker+" index")
	w.write("premium/article.html", marker+" article")
	w.write("premium/other.html", marker+" other")
	t.Cleanup(paywall.SetClock(w.now))
	t.Setenv("AXRA_API_KEY", "bk_test_sandbox")
	t.Setenv("AXRA_API_SECRET", "bs_test_sandbox")
	t.Setenv("AXRA_WEBHOOK_SECRET", "bs_test_sandbox")

	conf := options.Sandbox
	conf.Now = w.now
	conf.WebhookURL = w.site + "/webhooks/axra"
	if conf.RetryDelays == nil {
		conf.RetryDelays = []time.Duration{20 * time.Millisecond}
	}
	if conf.SettleAfter == 0 {
		conf.SettleAfter = sandbox.SettleByHand
	}
	var err error
	w.axra = httptest.NewUnstartedServer(nil)
	conf.BaseURL = "http://" + w.axra.Listener.Addr().String()
	if w.sandbox, err = sandbox.New(conf); err != nil {
		t.Fatal(err)
	}
	w.axra.Config.Handler = w.sandbox
	w.axra.Start()
	t.Cleanup(func() {
		if err := w.sandbox.Close(); err != nil {
			t.Error(err)
		}
		w.axra.Close()
	})
	if options.Caddyfile == "" {
		options.Caddyfile = fiveLines
	}
	w.load(options.Caddyfile)
	t.Cleanup(w.stop)
	return w
}

func (w *world) write(name, content string) {
	w.t.Helper()
	path := filepath.Join(w.root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// expand fills in what differs from run to run.
func (w *world) expand(config string) string {
	maxHeader := ""
	if strings.Contains(config, "SETUP MAX") {
		maxHeader = "\n\t\tmax_header_size 2MB"
		config = strings.Replace(config, "SETUP MAX", "SETUP", 1)
	}
	admin := "off"
	if strings.Contains(config, "SETUP ADMIN") {
		admin = w.admin()
		config = strings.Replace(config, "SETUP ADMIN", "SETUP", 1)
	}
	tlsSite := strings.Contains(config, "local_certs")
	expanded := strings.NewReplacer(
		"SETUP", fmt.Sprintf("admin %s\n\tpersist_config off\n\tauto_https off\n\tstorage file_system %s\n\tlog {\n\t\toutput file %s\n\t\tlevel %s\n\t}\n\tservers {\n\t\tprotocols h1%s\n\t}", admin, w.storage, w.logs, w.logLevel, maxHeader),
		"ENDPOINT", w.axra.URL+"/api/v1\n\t\tdatabase "+w.place(),
		"PORT", w.port,
		"ROOT", w.root,
	).Replace(config)
	if tlsSite {
		expanded = strings.NewReplacer("auto_https off", "auto_https disable_redirects", "protocols h1", "protocols h1 h2").Replace(expanded)
	}
	return expanded
}

// place is what the option database says.
func (w *world) place() string { return cmp.Or(w.keptIn, "sqlite "+w.database) }

// admin is where Caddy's admin API listens, where a test wants one.
func (w *world) admin() string {
	if w.adminPort == "" {
		w.adminPort = freePort(w.t)
	}
	return "127.0.0.1:" + w.adminPort
}

// load adapts and loads a Caddyfile, as a start or a reload.
func (w *world) load(config string) {
	w.t.Helper()
	w.config = config
	mustDo(w.t, w.tryLoad(w.expand(config)))
	http.DefaultClient.CloseIdleConnections() // those of visitors, to the listeners that were
	w.settle()
}

// tryLoad loads a Caddyfile as it is.
func (w *world) tryLoad(expanded string) error {
	w.t.Helper()
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(expanded), map[string]any{"filename": "Caddyfile"})
	mustDo(w.t, err)
	return caddy.Load(adapted, true)
}

// settle waits for the ledger to be open, so that a busy machine is not mistaken for a database that hangs.
func (w *world) settle() {
	if w.broken || !strings.Contains(w.config, "\t\tapi_key") {
		return
	}
	for range 500 {
		if paywall.PollFeeds(w.t.Context()) == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (w *world) stop() {
	if err := caddy.Stop(); err != nil {
		w.t.Error(err)
	}
}

// restart ends Caddy and starts it again on the same storage.
func (w *world) restart() {
	w.t.Helper()
	w.stop()
	w.load(w.config)
}

func (w *world) now() time.Time {
	return time.Now().Add(time.Duration(w.offset.Load()))
}

// pass lets time go by.
func (w *world) pass(d time.Duration) {
	w.offset.Add(int64(d))
	_ = paywall.PollFeeds(w.t.Context()) // which fails where a test has put the database out of reach
}

// delivered waits until the sandbox has nothing left to send.
func (w *world) delivered() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	if err := w.sandbox.Idle(ctx); err != nil {
		w.t.Fatalf("webhooks were not delivered: %v", err)
	}
}

// creations counts the calls that create sessions.
func (w *world) creations() int { return w.sandbox.CallCount(sandbox.RouteSession) }

// lastPayment is the newest payment.
func (w *world) lastPayment() sandbox.Payment {
	w.t.Helper()
	payments := w.sandbox.Payments()
	if len(payments) == 0 {
		w.t.Fatal("there is no payment")
	}
	last := payments[0]
	for _, payment := range payments {
		if payment.CreatedAt.After(last.CreatedAt) {
			last = payment
		}
	}
	return last
}

func freePort(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() //nolint:errcheck // nothing to be done
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return port
}

// visitor is a person with a browser.
type visitor struct {
	w      *world
	client *http.Client
}

func (w *world) visitor() *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return &visitor{w: w, client: &http.Client{
		Jar:     browserJar{jar},
		Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}}
}

// browserJar compares the paths of cookies with addresses as they are sent, as
// browsers do; cookiejar compares them with what they stand for.
type browserJar struct{ *cookiejar.Jar }

func (j browserJar) Cookies(address *url.URL) []*http.Cookie {
	return j.Jar.Cookies(asSent(address))
}

func (j browserJar) SetCookies(address *url.URL, cookies []*http.Cookie) {
	j.Jar.SetCookies(asSent(address), cookies)
}

func asSent(address *url.URL) *url.URL {
	sent := *address
	sent.Path, sent.RawPath = address.EscapedPath(), ""
	return &sent
}

// reply is an answer with its body read.
type reply struct {
	status int
	header http.Header
	body   string
	url    *url.URL
}

func (r reply) location() string { return r.header.Get("Location") }

// next is the location as an absolute address.
func (r reply) next() string {
	if next, err := r.url.Parse(r.location()); err == nil {
		return next.String()
	}
	return r.location()
}

func (v *visitor) do(method, target string, header http.Header, body io.Reader) reply {
	v.w.t.Helper()
	if strings.HasPrefix(target, "/") {
		target = v.w.site + target
	}
	request, err := http.NewRequestWithContext(v.w.t.Context(), method, target, body)
	if err != nil {
		v.w.t.Fatal(err)
	}
	for name, values := range header {
		request.Header[name] = values
	}
	response, err := v.client.Do(request)
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		// A connection that a restarted Caddy had just closed: once more, as browsers do.
		if request.GetBody != nil {
			if request.Body, err = request.GetBody(); err != nil {
				v.w.t.Fatal(err)
			}
		}
		response, err = v.client.Do(request)
	}
	if err != nil {
		v.w.t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // nothing to be done
	content, err := io.ReadAll(response.Body)
	if err != nil {
		v.w.t.Fatal(err)
	}
	return reply{response.StatusCode, response.Header, string(content), response.Request.URL}
}

var navigation = http.Header{
	"Accept":         {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
	"Sec-Fetch-Mode": {"navigate"},
	"Sec-Fetch-Dest": {"document"},
	"User-Agent":     {"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
}

// open navigates to a page without following redirects.
func (v *visitor) open(target string) reply {
	v.w.t.Helper()
	return v.do(http.MethodGet, target, navigation, nil)
}

// browse navigates to a page and follows redirects, as a browser does.
func (v *visitor) browse(target string) reply {
	v.w.t.Helper()
	for range 10 {
		answer := v.open(target)
		if answer.location() == "" {
			return answer
		}
		target = answer.next()
	}
	v.w.t.Fatalf("too many redirects, the last to %s", target)
	return reply{}
}

// submit fills in the form whose button is labelled so, and sends it.
func (v *visitor) submit(page reply, button string, fields url.Values) reply {
	v.w.t.Helper()
	action, values := pagetest.Form(v.w.t, page.body, button)
	for name, value := range fields {
		values[name] = value
	}
	target, err := page.url.Parse(action)
	if err != nil {
		v.w.t.Fatal(err)
	}
	header := navigation.Clone()
	header.Set("Content-Type", "application/x-www-form-urlencoded")
	header.Set("Origin", page.url.Scheme+"://"+page.url.Host)
	return v.do(http.MethodPost, target.String(), header, strings.NewReader(values.Encode()))
}

// pay fills in the checkout page with a card and returns what comes then, which
// for a success is the way back to the site.
func (v *visitor) pay(checkout reply, card string) reply {
	v.w.t.Helper()
	return v.submit(checkout, "Pay ", url.Values{
		"number": {card}, "expiry": {"12/39"}, "cvv": {"123"},
	})
}

// buy goes the whole way for a page and returns what the visitor sees in the end.
func (v *visitor) buy(target, card string) reply {
	v.w.t.Helper()
	back := v.pay(v.browse(target), card)
	v.w.delivered()
	return v.browse(back.location())
}

// link returns where the link labelled so leads, "" if there is none.
func link(t testing.TB, page reply, label string) string {
	t.Helper()
	return pagetest.Link(t, page.body, label)
}

// Expectations.

func (r reply) wantPaid(t testing.TB) {
	t.Helper()
	if r.status != http.StatusOK || !strings.Contains(r.body, marker) {
		t.Fatalf("want the paid page, got %d at %s\n%s", r.status, r.url, r.body)
	}
}

func (r reply) wantCheckout(t testing.TB, w *world) {
	t.Helper()
	if r.status != http.StatusSeeOther || !strings.HasPrefix(r.location(), w.axra.URL+"/checkout/") {
		t.Fatalf("want a redirect to a checkout, got %d to %q\n%s", r.status, r.location(), r.body)
	}
	if !strings.Contains(r.header.Get("Cache-Control"), "no-store") {
		t.Fatalf("H2: a redirect to a checkout says Cache-Control %q", r.header.Get("Cache-Control"))
	}
}

func (r reply) wantPage(t testing.TB, status int, phrase string) {
	t.Helper()
	if r.status != status || !strings.Contains(r.body, phrase) {
		t.Fatalf("want %d with %q, got %d (to %q)\n%s", status, phrase, r.status, r.location(), r.body)
	}
	if !strings.Contains(r.header.Get("Cache-Control"), "no-store") {
		t.Fatalf("H2: a page says Cache-Control %q", r.header.Get("Cache-Control"))
	}
	if strings.Contains(r.body, marker) {
		t.Fatal("paid bytes on an unpaid page")
	}
}
