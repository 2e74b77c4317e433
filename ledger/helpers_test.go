package ledger_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-axra/paywall/internal/pgtest"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/money"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/token"
)

func TestMain(m *testing.M) {
	if role := os.Getenv("LEDGER_TEST_ROLE"); role != "" {
		if err := secondProcess(role); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	if flag.Lookup("test.parallel").Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) { // the default
		_ = flag.Set("test.parallel", "4") // most tests wait for a server, a deadline or a disk, not for a processor
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		pgtest.Stop()
		os.Exit(code)
	}))
}

// backend is a database that tests run on.
type backend struct {
	name string
	// place leads to a ledger without an installation, empty to a database without tables.
	location, empty func(testing.TB) ledger.Options
}

var (
	onSQLite = backend{"sqlite", newFile, newFile}
	// The settings are those that would do the most harm.
	onPostgres = backend{"postgres", func(t testing.TB) ledger.Options {
		server := pgtest.Shared(t)
		migrated.Do(func() {
			server.Configure(t, `search_path = 'elsewhere'`, `default_transaction_isolation = 'serializable'`)
			template = server.NewDatabase(t)
			l := ledger.New(ledger.Options{URL: template, Now: newClock().now})
			must(t, errorOf(l.Open(context.Background())))
			l.Close()
		})
		return ledger.Options{URL: server.CopyDatabase(t, template)}
	}, func(t testing.TB) ledger.Options {
		return ledger.Options{URL: pgtest.Shared(t).NewDatabase(t)}
	}}
)

func newFile(t testing.TB) ledger.Options {
	return ledger.Options{Path: filepath.Join(t.TempDir(), "ledger.db")}
}

var (
	migrated sync.Once
	template string
)

// onEach runs a test on each of the databases.
func onEach(t *testing.T, test func(*testing.T, backend)) {
	t.Helper()
	t.Parallel()
	for _, on := range []backend{onSQLite, onPostgres} {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			test(t, on)
		})
	}
}

// onEachWorld runs a test with a ledger in each of the databases.
func onEachWorld(t *testing.T, test func(*testing.T, world)) {
	t.Helper()
	onEach(t, func(t *testing.T, on backend) { test(t, newWorld(t, on)) })
}

// start is when the clocks of the tests begin.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// clock is a clock that only moves when it is told to.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: start} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// memoryLog keeps the lines that are logged.
type memoryLog struct {
	clock *clock
	mu    sync.Mutex
	lines []logLine
}

type logLine struct {
	at   time.Time
	text string
}

func (l *memoryLog) add(message string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		message = "ERROR " + message + ": " + err.Error()
	}
	l.lines = append(l.lines, logLine{l.clock.now(), message})
}

func (l *memoryLog) errors() (errors []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.HasPrefix(line.text, "ERROR") {
			errors = append(errors, line.text)
		}
	}
	return errors
}

// world is an open ledger with its installation.
type world struct {
	*ledger.Ledger
	location ledger.Options
	clock    *clock
	log      *memoryLog
}

func newWorld(t testing.TB, on backend) world {
	t.Helper()
	return openWorld(t, on.location(t))
}

func openWorld(t testing.TB, o ledger.Options) world {
	t.Helper()
	clock := newClock()
	w := world{location: ledger.Options{Path: o.Path, URL: o.URL}, clock: clock, log: &memoryLog{clock: clock}}
	if o.Now == nil {
		o.Now = w.clock.now
	}
	o.Log = w.log.add
	w.Ledger = ledger.New(o)
	t.Cleanup(func() { w.Close() })
	if _, err := w.Open(context.Background()); err != nil {
		t.Fatalf("opening: %v", err)
	}
	if _, err := w.ChangeKeys(context.Background(), noChange); err != nil {
		t.Fatalf("making the installation: %v", err)
	}
	return w
}

func noChange(token.KeySet) ([]token.StoredKey, error) { return nil, nil }

// month is what most payments buy.
func month() terms.Terms {
	price, err := money.Parse("5.00", "usd")
	if err != nil {
		panic(err)
	}
	return terms.Terms{
		Installation: "i", Site: "https://example.com", Pass: "premium", Resource: terms.AllPaths,
		Price: price, Access: terms.Access(30 * 24 * time.Hour), Devices: 3,
	}
}

// payment is a payment of a month with one payment id.
func payment(session string, ids ...string) ledger.Payment {
	if ids == nil {
		ids = []string{"pay_" + session}
	}
	sold := month()
	return ledger.Payment{SessionID: session, PaymentIDs: ids, Terms: sold, Paid: sold.Price, PaidRaw: "5.00 USD", PaidAt: start}
}

func extension(session, of string) ledger.Payment {
	p := payment(session)
	p.Terms.Extends = ledger.PurchaseID(of)
	p.Terms.From = start
	return p
}

func event(kind ledger.EventKind, session string, ids ...string) ledger.Event {
	return ledger.Event{Kind: kind, SessionID: session, PaymentIDs: ids, OccurredAt: start}
}

// pay records a payment and returns the id of its purchase.
func (w world) pay(t testing.TB, p ledger.Payment) string {
	t.Helper()
	recorded, err := w.RecordPayment(context.Background(), p)
	if err != nil {
		t.Fatalf("recording %s: %v", p.SessionID, err)
	}
	return recorded.Purchase.ID
}

func (w world) tell(t testing.TB, e ledger.Event) {
	t.Helper()
	if _, err := w.RecordEvent(context.Background(), e); err != nil {
		t.Fatalf("recording %s: %v", e.Kind, err)
	}
}

// status is that of the purchase of a session, "none" where there is none.
func (w world) status(t testing.TB, session string) ledger.Status {
	t.Helper()
	holding, err := w.HoldingOfSession(context.Background(), session)
	if errors.Is(err, ledger.ErrNotFound) {
		return "none"
	}
	if err != nil {
		t.Fatalf("looking up %s: %v", session, err)
	}
	return holding.StatusAt(w.clock.now())
}

func (w world) poll(t testing.TB, since ledger.Position) ledger.Changes {
	t.Helper()
	changes, err := w.Poll(context.Background(), since)
	if err != nil {
		t.Fatalf("polling: %v", err)
	}
	return changes
}

func wantError(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || want == nil && err != nil {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// errorOf drops the other result of a call.
func errorOf[T any](_ T, err error) error { return err }
