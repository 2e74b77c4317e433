package admission

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/access/accesstest"
	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/token"
)

func TestTheHandlersBehindKnowWhoHasPaid(t *testing.T) {
	t.Parallel()
	c := newCounter(t)
	c.RequestHeaders = DefaultRequestHeaders
	c.PrivateAddress = func(site *gate.Site, _ *access.Token, target string) (string, error) {
		return site.Origin + target, nil
	}
	w, err := c.serve(request("/"), func(w http.ResponseWriter, r *http.Request) error {
		_, err := io.WriteString(w, r.Header.Get("X-Axra-Pass")+replaced(r, "|{http.axra.pass}|{http.axra.link./a}"))
		return err
	})
	if err != nil || w.Body.String() != "day|day|https://example.com/a" || w.Header().Get("Cache-Control") != "private, no-cache" {
		t.Errorf("%v %v %s", err, w.Header(), w.Body)
	}
}

// T3: a token ends before access that has no end, and is renewed in time.
func TestT3ATokenThatEndsBeforeItsAccessIsRenewed(t *testing.T) {
	t.Parallel()
	const year = 365 * 24 * time.Hour
	for _, test := range []struct {
		name   string
		edit   func(*ledger.Holding)
		pass   time.Duration
		asLink bool
		want   bool
	}{
		{"new", func(*ledger.Holding) {}, time.Hour, false, false},
		{"for half of its life", func(*ledger.Holding) {}, year * 3 / 5, false, true},
		{"a private address", func(*ledger.Holding) {}, year * 3 / 5, true, false},
		{"with an end", func(h *ledger.Holding) { h.EndsAt = time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC) }, year * 3 / 5, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := newCounter(t, test.edit)
			if test.asLink {
				c.token = &access.Token{Access: c.token.Access, Link: "feed"}
			}
			c.node.Pass(test.pass)
			w, err := c.serve(request("/"), func(http.ResponseWriter, *http.Request) error { return nil })
			cookies := w.Result().Cookies()
			if err != nil || (len(cookies) == 1) != test.want {
				t.Fatalf("cookies %v, error %v", cookies, err)
			}
			if test.want {
				if renewed := c.node.Token(cookies[0].Value); !renewed.Expires.After(c.token.Expires) || renewed.Purchase != c.token.Purchase {
					t.Errorf("renewed as %+v", renewed.Access)
				}
			}
		})
	}
}

func TestATokenThatIsExtendedElsewhereIsReplaced(t *testing.T) {
	t.Parallel()
	ends := time.Date(2025, 7, 1, 0, 0, 0, 0, time.UTC)
	c := newCounter(t, func(h *ledger.Holding) { h.EndsAt = ends })
	h, _ := c.node.Holding(t.Context(), c.token.Purchase)
	h.EndsAt, h.DeviceIDs = ends.Add(time.Hour), []string{accesstest.Device}
	c.node.Set(h)
	c.node.Cache.Drop([]string{h.ID})
	c.judge()
	w, err := c.serve(request("/"), func(http.ResponseWriter, *http.Request) error { return nil })
	if cookies := w.Result().Cookies(); err != nil || len(cookies) != 1 || !c.node.Token(cookies[0].Value).Until.Equal(ends.Add(time.Hour)) {
		t.Errorf("cookies %v, error %v", cookies, err)
	}
	c.Tokens.Keys = token.NewKeyring(c.node.Now)
	if w, err := c.serve(request("/"), func(http.ResponseWriter, *http.Request) error { return nil }); err != nil || len(c.logged) != 1 || w.Code != http.StatusOK {
		t.Errorf("without keys: %v, logged %q", err, c.logged)
	}
}

// FD6: what lasts as long as the client is ended by a refund, however it was asked for and whatever serves it.
func TestFD6AStreamEndsWithItsPurchase(t *testing.T) {
	t.Parallel()
	waits := func(_ http.ResponseWriter, r *http.Request, started func()) error {
		started()
		<-r.Context().Done()
		return r.Context().Err()
	}
	sends := func(w http.ResponseWriter, _ *http.Request, started func()) error {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		for {
			if _, err := io.WriteString(w, "data: paid\n\n"); err != nil {
				return err
			}
			started()
		}
	}
	copies := func(w http.ResponseWriter, _ *http.Request, started func()) error { // as a FastCGI transport does
		w.Header().Set("Content-Type", "text/event-stream")
		_, err := w.(io.ReaderFrom).ReadFrom(endless(started))
		return err
	}
	for name, test := range map[string]struct {
		header string
		serve  func(http.ResponseWriter, *http.Request, func()) error
	}{
		"a WebSocket that is silent":       {"Upgrade: websocket", waits},
		"an event stream that is silent":   {"Accept: text/event-stream", waits},
		"an event stream that fetch reads": {"Accept: */*", sends},
		"an event stream over FastCGI":     {"Accept: */*", copies},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCounter(t)
			started, ended := make(chan struct{}), make(chan error, 1)
			go func() {
				_, err := c.serve(request("/", test.header), func(w http.ResponseWriter, r *http.Request) error {
					return test.serve(w, r, func() {
						select {
						case started <- struct{}{}:
						default:
						}
					})
				})
				ended <- err
			}()
			<-started
			c.node.Refund(c.token.Purchase)
			if err := <-ended; err == nil {
				t.Error("it ended without an error")
			}
		})
	}
}

// endless reads as events without end.
type endless func()

func (e endless) Read(p []byte) (int, error) {
	e()
	return copy(p, "data: paid\n\n"), nil
}

func TestAnOrdinaryRequestIsNotWatched(t *testing.T) {
	t.Parallel()
	c := newCounter(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if _, err := c.serve(request("/").WithContext(ctx), func(_ http.ResponseWriter, r *http.Request) error {
		if r.Context() != ctx {
			t.Error("it has a context of its own")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	connect := httptest.NewRequest(http.MethodConnect, "/", nil)
	if !lastsAsLongAsTheClient(connect) {
		t.Error("a WebSocket over HTTP/2 is not watched")
	}
}

// What a page loads must not learn its private address.
func TestT6APrivatePageDoesNotTellItsAddress(t *testing.T) {
	t.Parallel()
	for link, want := range map[string]string{"": "", "feed": "no-referrer"} {
		c := newCounter(t)
		c.token = &access.Token{Access: c.token.Access, Link: link}
		w, err := c.serve(request("/"), caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("Referrer-Policy", strings.Repeat("unsafe-url", min(1, len(link))))
			w.WriteHeader(http.StatusOK)
			return nil
		}))
		if got := w.Header().Get("Referrer-Policy"); err != nil || got != want {
			t.Errorf("link %q: Referrer-Policy %q, error %v", link, got, err)
		}
	}
}
