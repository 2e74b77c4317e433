package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-axra/paywall/money"
	"github.com/caddy-axra/paywall/terms"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	apiKey    = "bk_test_KEYKEYKEY"
	apiSecret = "bs_test_SECRETSECRET"
	// checkoutQuery is what would let others pay, or see, a visitor's checkout.
	checkoutQuery = "clientToken=QUERYQUERY"

	sessionPath = "/api/v1/business/payment/session"
	tokenPath   = "/api/v1/business/auth/token"
)

// pipes is a network without a wire: its connections wait on nothing that the
// clock of synctest does not know of.
type pipes struct {
	connections chan net.Conn
	closed      chan struct{}
	once        sync.Once
}

func newPipes() *pipes {
	return &pipes{connections: make(chan net.Conn), closed: make(chan struct{})}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.connections:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "pipe"} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.connections <- far:
		return near, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// call is one request that Axra received.
type call struct {
	path   string
	header http.Header
	body   string
}

// world is a client, and Axra as the test wants it to be. It lives in a bubble of
// synctest: its clock is time.Now and waits cost nothing.
type world struct {
	*Client
	http *http.Client

	mu    sync.Mutex
	seen  []call
	ended []Call // what OnCall was told
}

type option func(*ClientConfig, *httptest.Server)

func withSecret(c *ClientConfig, _ *httptest.Server) { c.Secret = apiSecret }

func withTLS(c *ClientConfig, s *httptest.Server) {
	c.Endpoint = strings.Replace(c.Endpoint, "http:", "https:", 1)
	s.StartTLS()
}

// giving answers exchanges with a token, and all else by the handler.
func giving(handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == tokenPath {
			giveToken(w, "TOKENTOKEN", 3600)
			return
		}
		handler(w, r)
	}
}

// runInWorld runs a subtest.
func runInWorld(t *testing.T, name string, handler http.HandlerFunc, test func(*testing.T, *world), options ...option) {
	t.Helper()
	t.Run(name, func(t *testing.T) { inWorld(t, handler, test, options...) })
}

// inWorld runs the test with Axra answering by the handler.
func inWorld(t *testing.T, handler http.HandlerFunc, test func(*testing.T, *world), options ...option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := new(world)
		network := newPipes()
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			w.note(r)
			handler(rw, r)
		}))
		_ = server.Listener.Close()
		server.Listener = network
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		transport := &http.Transport{DialContext: network.dial}
		w.http = &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		config := ClientConfig{
			HTTP: w.http, Endpoint: "http://axra.test/api/v1", Key: apiKey,
			CheckoutHosts: CheckoutHosts{Hosts: []string{"pay.useaxra.com"}},
			Now:           time.Now,
			OnCall: func(ended Call) {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.ended = append(w.ended, ended)
			},
		}
		for _, apply := range options {
			apply(&config, server)
		}
		if server.URL == "" {
			server.Start()
		}
		w.Client = NewClient(config)
		defer server.Close()
		defer transport.CloseIdleConnections()
		test(t, w)
	})
}

func (w *world) note(r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, call{r.URL.Path, r.Header.Clone(), string(body)})
}

// calls returns what Axra received on the path.
func (w *world) calls(path string) []call {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []call
	for _, c := range w.seen {
		if c.path == path {
			found = append(found, c)
		}
	}
	return found
}

func (w *world) wantCalls(t *testing.T, path string, want int) {
	t.Helper()
	if got := len(w.calls(path)); got != want {
		t.Errorf("%d calls of %s, want %d", got, path, want)
	}
}

// fields are the members of an answer of Axra.
type fields map[string]any

// opened is a good answer to the create call.
func opened() fields {
	return fields{
		"sessionId": "cs_1", "checkoutUrl": "https://pay.useaxra.com/c/cs_1?" + checkoutQuery,
		"expiresAt": time.Now().Add(30 * time.Minute).Format(time.RFC3339), "amount": 5.00, "currency": "usd",
	}
}

func (f fields) with(name string, value any) fields {
	changed := maps.Clone(f)
	changed[name] = value
	return changed
}

func (f fields) without(names ...string) fields {
	changed := maps.Clone(f)
	maps.DeleteFunc(changed, func(name string, _ any) bool { return slices.Contains(names, name) })
	return changed
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}

// answers gives the fields to every call.
func answers(f func() fields) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, f()) }
}

func giveToken(w http.ResponseWriter, bearer string, expiresIn int) {
	writeJSON(w, http.StatusOK, fields{
		"accessToken": bearer, "tokenType": "Bearer", "expiresIn": expiresIn, "businessId": "b", "businessName": "n",
	})
}

// text gives one status and body to every call.
func text(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// inTurn answers each call by the next handler, and all further ones by the last.
func inTurn(handlers ...http.HandlerFunc) http.HandlerFunc {
	var mu sync.Mutex
	n := 0
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		handler := handlers[min(n, len(handlers)-1)]
		n++
		mu.Unlock()
		handler(w, r)
	}
}

// hang answers nothing until the client hangs up.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// raw answers with bytes that need not be HTTP, and hangs up.
func raw(answer func(*http.Request) string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		hijacker, ok := w.(http.Hijacker)
		if !ok {
			panic("no hijacker")
		}
		connection, _, err := hijacker.Hijack()
		if err != nil {
			panic(err)
		}
		if text := answer(r); text != "" {
			_, _ = io.WriteString(connection, text)
		}
		_ = connection.Close()
	}
}

// reset hangs up without an answer.
var reset = raw(func(*http.Request) string { return "" })

func order(t testing.TB) Order {
	t.Helper()
	price, err := money.Parse("5.00", "usd")
	if err != nil {
		t.Fatal(err)
	}
	return Order{
		Terms: terms.Terms{
			Installation: "i", Site: "https://example.com", Pass: "premium", Resource: terms.AllPaths,
			Price: price, Access: terms.Access(24 * time.Hour),
		},
		SuccessURL: "https://example.com/premium?axra_session={SESSION_ID}",
		CancelURL:  "https://example.com/premium?axra_cancelled=1",
		ExpiresIn:  30 * time.Minute,
	}
}

func mustCreate(t *testing.T, w *world) Checkout {
	t.Helper()
	checkout, err := w.Create(t.Context(), order(t))
	if err != nil {
		t.Fatal(err)
	}
	return checkout
}

// wantSecretFree fails the test if any form of the error holds a secret.
func wantSecretFree(t *testing.T, err error) {
	t.Helper()
	said := fmt.Sprintf("%v %+v %#v", err, err, err)
	for _, secret := range []string{"KEYKEY", "SECRETSECRET", "TOKENTOKEN", "QUERYQUERY"} {
		if strings.Contains(said, secret) {
			t.Errorf("the error quotes %s…: %s", secret, said)
		}
	}
}

// wantError fails the test unless Create fails with the error, whose text holds no secret.
func (w *world) wantError(t *testing.T, want error) {
	t.Helper()
	checkout, err := w.Create(t.Context(), order(t))
	if !errors.Is(err, want) || checkout != (Checkout{}) {
		t.Errorf("got %+v, %v, want %v", checkout, err, want)
	}
	wantSecretFree(t, err)
}
