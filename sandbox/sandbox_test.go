package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// hook is one webhook as the merchant received it.
type hook struct {
	Header http.Header
	Body   []byte
	Event  string
	Data   map[string]any
}

// merchant receives webhooks and answers as it is told.
type merchant struct {
	*httptest.Server
	mu     sync.Mutex
	hooks  []hook
	answer func(n int) int // status for the n-th request, from 1; nil means 200
}

func newMerchant(t *testing.T) *merchant {
	t.Helper()
	m := &merchant{}
	m.Server = httptest.NewServer(http.HandlerFunc(m.serve))
	t.Cleanup(m.Close)
	return m
}

func (m *merchant) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var e struct {
		Event string         `json:"event"`
		Data  map[string]any `json:"data"`
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	_ = dec.Decode(&e)
	m.mu.Lock()
	m.hooks = append(m.hooks, hook{r.Header.Clone(), body, e.Event, e.Data})
	n, answer := len(m.hooks), m.answer
	m.mu.Unlock()
	if answer != nil {
		w.WriteHeader(answer(n))
	}
}

func (m *merchant) received() []hook {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]hook(nil), m.hooks...)
}

func (m *merchant) events() []string {
	names := []string{}
	for _, h := range m.received() {
		names = append(names, h.Event)
	}
	return names
}

// rig is a sandbox behind a server, with a merchant and a clock.
type rig struct {
	t *testing.T
	*Sandbox
	srv      *httptest.Server
	merchant *merchant
	clock    *clock
	client   *http.Client // follows no redirect
}

func newRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, merchant: newMerchant(t), clock: &clock{t: time.Date(2031, 5, 17, 12, 0, 0, 0, time.UTC)}}
	cfg := Config{
		WebhookURL:  r.merchant.URL,
		Now:         r.clock.now,
		RetryDelays: []time.Duration{time.Millisecond},
		SettleAfter: SettleByHand,
	}
	if change != nil {
		change(&cfg)
	}
	sb, err := New(cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	r.Sandbox = sb
	r.srv = httptest.NewServer(sb)
	r.client = r.srv.Client()
	r.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	t.Cleanup(func() {
		if err := sb.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		r.srv.Close()
	})
	return r
}

// reply is an answer with its body read.
type reply struct {
	*http.Response
	body []byte
}

func (r *rig) send(req *http.Request) reply {
	r.t.Helper()
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatalf("%s %s: reading: %v", req.Method, req.URL, err)
	}
	return reply{resp, body}
}

func (r *rig) request(method, target, body string) *http.Request {
	r.t.Helper()
	if strings.HasPrefix(target, "/") {
		target = r.srv.URL + target
	}
	req, err := http.NewRequestWithContext(r.t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	return req
}

func (r *rig) get(target string) reply { r.t.Helper(); return r.send(r.request("GET", target, "")) }

func (r *rig) post(target, body string) reply {
	r.t.Helper()
	return r.send(r.request("POST", target, body))
}

func (r *rig) form(target string, values ...string) reply {
	r.t.Helper()
	v := url.Values{}
	for i := 0; i < len(values); i += 2 {
		v.Set(values[i], values[i+1])
	}
	req := r.request("POST", target, v.Encode())
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r.send(req)
}

// api calls the API with the right key.
func (r *rig) api(method, path, body string) reply {
	r.t.Helper()
	req := r.request(method, APIPrefix+path, body)
	req.Header.Set("x-api-key", DefaultAPIKey)
	return r.send(req)
}

const anOrder = `{"amount":5.00,"currency":"usd","successUrl":"https://shop.example/paid?s={SESSION_ID}&again={SESSION_ID}",` +
	`"cancelUrl":"https://shop.example/cancelled","description":"Thirty days <b>","customerEmail":"ann@example.com",` +
	`"metadata":{"pass":"gold","n":1.10,"deep":{"a":[1,2]}}}`

// session opens a checkout session over the API.
func (r *rig) session(order string) Session {
	r.t.Helper()
	resp := r.api("POST", "/business/payment/session", order)
	if resp.StatusCode != http.StatusCreated {
		r.t.Fatalf("session: %d %s", resp.StatusCode, resp.body)
	}
	data := decode(r.t, resp.body)
	if inner, ok := data["data"].(map[string]any); ok {
		data = inner
	}
	sess, err := r.Session(data["sessionId"].(string))
	if err != nil {
		r.t.Fatal(err)
	}
	return sess
}

func (r *rig) local() Session {
	r.t.Helper()
	return r.session(`{"amount":1500,"currency":"ngn","successUrl":"https://shop.example/paid/{SESSION_ID}","metadata":{"pass":"gold"}}`)
}

// path is a checkout URL's path with or without something inserted before the query.
func path(sess Session, suffix string) string {
	u, _ := url.Parse(sess.CheckoutURL)
	return u.Path + suffix + "?" + u.RawQuery
}

func (r *rig) payByForm(sess Session, number string) reply {
	r.t.Helper()
	return r.form(path(sess, ""), "method", "card", "number", number, "expiry", "12/34", "cvv", "123", "email", "ann@example.com")
}

func (r *rig) pay(sess Session, with PayWith) Outcome {
	r.t.Helper()
	out, err := r.Pay(sess.ID, with)
	if err != nil {
		r.t.Fatalf("Pay: %v", err)
	}
	return out
}

var visa = PayWith{Card: "4242424242424242"}

func (r *rig) idle() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
	defer cancel()
	if err := r.Idle(ctx); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) wantEvents(want ...string) {
	r.t.Helper()
	r.idle()
	if got := strings.Join(r.merchant.events(), " "); got != strings.Join(want, " ") {
		r.t.Errorf("events:\n got %s\nwant %s", got, strings.Join(want, " "))
	}
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if cond() {
			return
		}
	}
	t.Fatalf("timed out: %s", what)
}

func decode(t *testing.T, text []byte) map[string]any {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var m map[string]any
	if err := dec.Decode(&m); err != nil {
		t.Fatalf("decoding %q: %v", text, err)
	}
	return m
}

func TestNewRefusesNonsense(t *testing.T) {
	for name, cfg := range map[string]Config{
		"base URL with a path":  {BaseURL: "http://localhost:1/x"},
		"base URL of no scheme": {BaseURL: "localhost:1"},
		"webhook URL":           {WebhookURL: "/hook"},
		"scheme":                {SignatureScheme: "rot13"},
		"keep":                  {Keep: -1},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := New(cfg); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestIDsLookLikeAxras(t *testing.T) {
	pattern := regexp.MustCompile(`^bpay_01[0-9A-HJKMNP-TV-Z]{24}$`)
	seen := map[string]bool{}
	for range 1000 {
		id := newID("bpay_", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
		if !pattern.MatchString(id) || seen[id] {
			t.Fatalf("id %q", id)
		}
		seen[id] = true
	}
	early, late := newID("", time.UnixMilli(1e12)), newID("", time.UnixMilli(1e12+1))
	if early[:10] >= late[:10] {
		t.Errorf("ids do not sort by time: %s, %s", early, late)
	}
	if newID("", time.UnixMilli(1469918176385))[:10] != "01ARYZ6S41" { // the example of the ULID specification
		t.Error("the time part is not a ULID's")
	}
}

func TestMemoryIsBounded(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Keep = 3 })
	for range 5 {
		r.pay(r.session(anOrder), visa)
		r.pay(r.local(), PayWith{Local: true})
	}
	r.idle()
	if a, b, c, d := len(r.Sessions()), len(r.Payments()), len(r.Collections()), len(r.Deliveries()); a != 3 || b != 3 || c != 3 || d != 3 {
		t.Errorf("kept %d sessions, %d payments, %d collections, %d deliveries", a, b, c, d)
	}
	for range maxCalls {
		r.logCall(httptest.NewRequest("POST", "/api/v1/x", nil), nil)
	}
	if n := len(r.Calls()); n != maxCalls {
		t.Errorf("kept %d calls", n)
	}
	if n := r.CallCount(RouteSession); n != 10 {
		t.Errorf("counted %d calls", n)
	}
}

func TestForgottenPendingDeliveryIsGivenUp(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Keep = 2
		c.RetryDelays = []time.Duration{time.Hour}
	})
	r.merchant.answer = func(n int) int {
		if n == 1 {
			return 500
		}
		return 200
	}
	r.pay(r.session(anOrder), visa)
	eventually(t, "first attempt", func() bool { return r.Deliveries()[0].Tried == 1 })
	for range 2 {
		r.pay(r.session(anOrder), visa)
	}
	r.idle() // would wait an hour for the first
}

func TestReset(t *testing.T) {
	r := newRig(t, func(c *Config) { c.RetryDelays = []time.Duration{time.Hour} })
	r.merchant.answer = func(int) int { return 500 }
	r.pay(r.session(anOrder), visa)
	r.Hold()
	if err := r.SetFault(Fault{Kind: FaultInternal}); err != nil {
		t.Fatal(err)
	}
	r.Reset()
	r.idle()
	if len(r.Sessions())+len(r.Payments())+len(r.Deliveries())+len(r.Calls()) != 0 {
		t.Error("something was remembered")
	}
	if r.Mode().Hold || r.Fault().Kind != FaultNone {
		t.Error("mode or fault survived")
	}
	r.merchant.answer = nil
	r.pay(r.session(anOrder), visa)
	r.idle()
	if d := r.Deliveries(); len(d) != 1 || d[0].Status != StatusDelivered {
		t.Errorf("after Reset: %+v", d)
	}
}

func TestCloseIsFinal(t *testing.T) {
	r := newRig(t, nil)
	sess := r.session(anOrder)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if resp := r.api("POST", "/business/payment/session", anOrder); resp.StatusCode != 503 {
		t.Errorf("API after Close: %d", resp.StatusCode)
	}
	r.pay(sess, visa) // must not start a goroutine
	if _, err := r.Send(Event{Body: []byte("{}")}); err == nil {
		t.Error("Send after Close: no error")
	}
}

func TestConcurrentUse(t *testing.T) {
	r := newRig(t, func(c *Config) { c.SettleAfter = SettleAtOnce })
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 10 {
				sess := r.session(anOrder)
				for range 2 { // the second is a conflict, if it is not the first
					wg.Go(func() { _, _ = r.Pay(sess.ID, visa) })
				}
				r.Deliveries()
				r.get("/")
			}
		})
	}
	wg.Wait()
	r.idle()
	if n := len(r.Payments()); n != 40 {
		t.Errorf("%d payments for 40 sessions", n)
	}
	completed := map[string]int{}
	for _, h := range r.merchant.received() {
		completed[h.Data["sessionId"].(string)]++
	}
	for id, n := range completed {
		if n != 1 {
			t.Errorf("session %s was paid %d times", id, n)
		}
	}
}
