package checkout_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/gatekeeper"
	"github.com/caddy-axra/paywall/internal/payments"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/money"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/token"
)

const (
	origin  = "https://shop.example"
	article = "/premium/article.html"
	other   = "/premium/other.html"
	day     = 24 * time.Hour

	// marker stands in everything that is sold; no byte of it may reach a visitor who has not paid.
	marker = "PAID-CONTENT-MARKER"
)

// shop is a site behind gates, with a real ledger, a fake Axra, and a clock that moves only when a test says so.
type shop struct {
	t       testing.TB
	clock   atomic.Int64 // Unix nanoseconds
	path    string       // of the ledger's file
	ledger  *ledger.Ledger
	keys    *token.Keyring
	cache   *access.Cache
	axra    *axra
	content caddyhttp.HandlerFunc // behind the gates
	server  *caddyhttp.Server
	gates   []*gatekeeper.Gatekeeper // the outermost first

	checkouts, claims *session.Limiter
	beforeDevice      func() // called before a device is added; may be nil

	mu       sync.Mutex
	progress map[string]payments.Stage // by session id, what Axra has said about it
}

// newShop opens a shop with these gates.
func newShop(t testing.TB, gates ...gateConfig) *shop {
	t.Helper()
	s := &shop{t: t, path: filepath.Join(t.TempDir(), "ledger.db"), content: serveContent, server: new(caddyhttp.Server), progress: map[string]payments.Stage{}}
	s.clock.Store(time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC).UnixNano())
	unlimited := session.Rate{Events: 1e6, Per: time.Second}
	s.checkouts, s.claims = session.NewLimiter(unlimited, unlimited, s.now), session.NewLimiter(unlimited, unlimited, s.now)
	s.axra = &axra{now: s.now, orders: map[string]session.Order{}}
	s.ledger = ledger.New(ledger.Options{Path: s.path, Now: s.now, OnChange: s.onChange})
	t.Cleanup(func() { _ = s.ledger.Close() })
	s.keys = token.NewKeyring(s.now)
	s.newCache()
	if _, err := s.ledger.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.keys.Ensure(t.Context(), s.ledger, token.HS256); err != nil {
		t.Fatal(err)
	}
	s.pass(0)
	s.configure(gates...)
	return s
}

func (s *shop) newCache() {
	made := access.New(access.Options{
		Ledger: s.ledger, Keys: s.keys, Now: s.now, OnError: func(error) {},
		OnKeys: func(ctx context.Context) error { return s.keys.Refresh(ctx, s.ledger) },
	})
	s.t.Cleanup(made.Close)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cache = made
}

// racingLedger lets something happen between the look-up of a purchase and the adding of a device.
type racingLedger struct {
	*ledger.Ledger
	s *shop
}

func (l racingLedger) AddDevice(ctx context.Context, purchaseID string, device ledger.Device) error {
	if l.s.beforeDevice != nil {
		l.s.beforeDevice()
	}
	return l.Ledger.AddDevice(ctx, purchaseID, device)
}

func (s *shop) onChange(purchaseIDs []string, _ bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cache.Drop(purchaseIDs)
}

// restart forgets what the node remembers, and builds the gates anew.
func (s *shop) restart(gates ...gateConfig) {
	s.t.Helper()
	s.newCache()
	s.pass(0)
	s.configure(gates...)
}

// configure replaces the gates, as a reload does.
func (s *shop) configure(gates ...gateConfig) {
	s.t.Helper()
	s.gates = nil
	for _, config := range gates {
		s.gates = append(s.gates, s.newGate(config))
	}
}

func (s *shop) now() time.Time { return time.Unix(0, s.clock.Load()) }

// pass lets time go by.
func (s *shop) pass(d time.Duration) {
	s.clock.Add(int64(d))
	_ = s.cache.Poll(s.t.Context()) // which fails while the ledger is broken
}

// breakLedger makes the ledger unreadable, and moves its files away.
func (s *shop) breakLedger() {
	s.t.Helper()
	s.exec("ALTER TABLE purchases RENAME TO away")
	s.moveLedger("", ".away")
	if s.cache.Poll(s.t.Context()) == nil {
		s.t.Fatal("the ledger can still be read")
	}
}

// mendLedger undoes breakLedger.
func (s *shop) mendLedger() {
	s.t.Helper()
	s.moveLedger(".away", "")
	s.exec("ALTER TABLE away RENAME TO purchases")
	if err := s.cache.Poll(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shop) moveLedger(from, to string) {
	s.t.Helper()
	for _, end := range []string{"", "-wal", "-shm"} {
		if err := os.Rename(s.path+end+from, s.path+end+to); err != nil && !errors.Is(err, os.ErrNotExist) {
			s.t.Fatal(err)
		}
	}
}

// exec changes the ledger behind the shop's back.
func (s *shop) exec(statements string) {
	s.t.Helper()
	db, err := sql.Open("sqlite", "file:"+s.path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statements); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shop) canSell() error {
	if err := s.ledger.Err(); err != nil {
		return err
	}
	if !s.cache.IsFresh(bounds.Recheck) {
		return errors.New("the change feed is stale")
	}
	return nil
}

var bounds = access.Bounds{Recheck: 5 * time.Second, Grace: 10 * time.Minute}

// pay records the payment of a checkout session, and returns the address that Axra leads back to.
func (s *shop) pay(sessionID string) (back string) {
	s.t.Helper()
	s.record(sessionID, s.axra.order(sessionID).Terms.Price)
	return s.back(sessionID)
}

// record records a payment as its webhook does.
func (s *shop) record(sessionID string, paid money.Price) {
	s.t.Helper()
	sold, err := terms.FromMetadata(s.axra.order(sessionID).Terms.Metadata())
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = s.ledger.RecordPayment(s.t.Context(), ledger.Payment{
		SessionID: sessionID, PaymentIDs: []string{"pay_" + sessionID}, Source: ledger.FromAxra,
		Terms: sold, Paid: paid, PaidRaw: paid.String(), PaidAt: s.now(), Mismatch: !sold.Price.CoveredBy(paid),
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// back is where Axra leads to after the checkout.
func (s *shop) back(sessionID string) string {
	return strings.Replace(s.axra.order(sessionID).SuccessURL, "{SESSION_ID}", sessionID, 1)
}

// refund gives the money of a checkout session back.
func (s *shop) refund(sessionID string) {
	s.t.Helper()
	s.happen(sessionID, ledger.EventRefunded)
}

// happen records an event about a payment.
func (s *shop) happen(sessionID string, kind ledger.EventKind) {
	s.t.Helper()
	if _, err := s.ledger.RecordEvent(s.t.Context(), ledger.Event{Kind: kind, SessionID: sessionID, OccurredAt: s.now()}); err != nil {
		s.t.Fatal(err)
	}
}

// revoke is what the operator does.
func (s *shop) revoke(sessionID string) {
	s.t.Helper()
	if _, err := s.ledger.Decide(s.t.Context(), ledger.PurchaseID(sessionID), ledger.Revoke, ""); err != nil {
		s.t.Fatal(err)
	}
}

// bought is all that the ledger knows about the purchase of a checkout session.
func (s *shop) bought(sessionID string) ledger.Details {
	s.t.Helper()
	details, err := s.ledger.Details(s.t.Context(), ledger.PurchaseID(sessionID))
	if err != nil {
		s.t.Fatal(err)
	}
	return details
}

func (s *shop) wantCreated(count int) {
	s.t.Helper()
	if created := s.axra.created(); created != count {
		s.t.Fatalf("%d checkout sessions were created, want %d", created, count)
	}
}

// say is what Axra says about a checkout that is not paid.
func (s *shop) say(sessionID string, progress payments.Stage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.progress[sessionID] = progress
}

func (s *shop) progressOf(entry session.Pending) payments.Stage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.progress[entry.Session]
}

// axra is a payment provider.
type axra struct {
	now    func() time.Time
	err    error // of Create
	down   error // of Ready
	mu     sync.Mutex
	orders map[string]session.Order // by session id
}

const checkouts = "https://pay.example/"

func (a *axra) Ready() error { return a.down }

func (a *axra) Create(_ context.Context, order session.Order) (session.Checkout, error) {
	if a.err != nil {
		return session.Checkout{}, a.err
	}
	id := "cs_" + rand.Text()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.orders[id] = order
	return session.Checkout{Session: id, URL: checkouts + id, ExpiresAt: a.now().Add(order.ExpiresIn).Truncate(time.Second)}, nil
}

func (a *axra) order(sessionID string) session.Order {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.orders[sessionID]
}

func (a *axra) created() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.orders)
}

// uncounted counts nothing.
type uncounted struct{}

func (uncounted) CountCheckout(string)     {}
func (uncounted) CountStep(string, string) {}
func (uncounted) CountUsed(string, string) {}
func (uncounted) CountLimit(string)        {}

// serveContent has a page for every path; only under /premium it is for buyers.
func serveContent(w http.ResponseWriter, r *http.Request) error {
	if strings.Contains(r.URL.Path, "missing") {
		http.NotFound(w, r)
		return nil
	}
	text := "free " + r.URL.Path
	if slices.ContainsFunc([]string{"/premium/", "/dear/", "/other/"}, func(folder string) bool { return strings.HasPrefix(r.URL.Path, folder) }) {
		text = marker + " " + r.URL.Path + "?" + r.URL.RawQuery
	}
	http.ServeContent(w, r, "page.html", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), strings.NewReader(text))
	return nil
}
