package admission

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/access/accesstest"
	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/ledger"
)

// request is a request for a target, as Caddy prepares it. The lines are header fields.
func request(target string, lines ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		r.Header[name] = append(r.Header[name], value) // as an HTTP/2 client may spell it
	}
	return caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), nil)
}

// replaced fills in the placeholders of a text as later handlers see them; unknown ones stay.
func replaced(r *http.Request, text string) string {
	return r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).ReplaceKnown(text, "")
}

// downloads is a Ledger that opens windows, unless it has an error.
type downloads struct {
	mu     sync.Mutex
	now    func() time.Time
	opened []string
	err    error
}

func (d *downloads) OpenDownload(_ context.Context, purchaseID string, window time.Duration) (time.Time, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return time.Time{}, d.err
	}
	d.opened = append(d.opened, purchaseID)
	return d.now().Add(window), nil
}

// counter is the admission of a gate to a visitor who has a purchase.
type counter struct {
	*Admission
	t      testing.TB
	node   *accesstest.Node
	ledger *downloads
	token  *access.Token
	logged []string
}

func newCounter(t testing.TB, edit ...func(*ledger.Holding)) *counter {
	n := accesstest.New(t)
	c := &counter{t: t, node: n, ledger: &downloads{now: n.Now}}
	c.Admission = &Admission{
		Tokens: &gate.Tokens{Cache: n.Cache, Keys: n.Keys, Algorithm: "HS256", Bounds: accesstest.Bounds, Clock: n.Now},
		Ledger: c.ledger, DownloadWindow: DefaultDownloadWindow,
		LogLimited: func(message string, _ ...zap.Field) { c.logged = append(c.logged, message) },
	}
	c.token = n.Token(n.Sell("day", "*", edit...))
	c.judge()
	return c
}

// judge reads the purchase of the token, as FindToken does before a request is admitted.
func (c *counter) judge() {
	c.node.Cache.Judge(context.Background(), c.token, c.node.Now(), accesstest.Bounds)
}

// serve admits a request to a handler.
func (c *counter) serve(r *http.Request, next caddyhttp.HandlerFunc) (*httptest.ResponseRecorder, error) {
	w := httptest.NewRecorder()
	err := c.Serve(w, r, next, gate.NewSite(accesstest.Site), c.token)
	return w, err
}
