package ledger_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/pgtest"
	"github.com/caddy-axra/paywall/ledger"
)

func TestCheckURL(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"postgres://shop:secret@db.example.com/ledger?sslmode=verify-full": "postgres://db.example.com:5432/ledger",
		"postgresql://shop:secret@[::1]:5433/ledger":                       "postgres://[::1]:5433/ledger",
		"postgres://shop@/ledger?host=/run/postgresql":                     "postgres:/run/postgresql/ledger",
		"postgres://shop:secret@a.example.com,b.example.com/ledger":        "postgres://a.example.com:5432/ledger",
		"postgres://shop:sec/ret@db.example.com/ledger":                    "",
		"postgres://shop:sec%ret@db.example.com/ledger":                    "",
		"postgres://shop:secret@db.example.com:port/ledger":                "",
		"mysql://shop:secret@db.example.com/ledger":                        "",
		"host=db.example.com password=secret":                              "",
		"":                                                                 "",
	} {
		location, err := ledger.CheckURL(url)
		if location != want || (want == "") != errors.Is(err, ledger.ErrURL) {
			t.Errorf("%s: %q, %v", url, location, err)
		}
		if strings.Contains(fmt.Sprint(location, err), "sec") {
			t.Errorf("%s: the password is in %q, %v", url, location, err)
		}
	}
}

// What PostgreSQL takes for no text comes in webhooks all the same, and is stored and found.
func TestAnyTextIsStored(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		p := payment("nul\x00", "broken\xff")
		p.PaidRaw, p.Terms.Pass, p.Terms.Resource = "5\x00", "\x00\xff", "/\xff"
		id := w.pay(t, p)
		w.tell(t, event(ledger.EventRefunded, "", "broken\xff"))
		if got := w.status(t, "nul\x00"); got != ledger.Refunded {
			t.Errorf("its purchase is %s", got)
		}
		if err := w.AddDevice(t.Context(), id, ledger.Device{ID: "d", Label: "\x00"}); !errors.Is(err, ledger.ErrInactive) {
			t.Errorf("a device: %v", err)
		}
	})
}

// A refund and its payment on two nodes see each other, whichever is first and not yet committed.
func TestARefundAndItsPaymentOnTwoNodes(t *testing.T) {
	onEach(t, func(t *testing.T, on backend) {
		first := newWorld(t, on)
		second := openWorld(t, first.location)
		for _, name := range []string{"payment first", "refund first"} {
			t.Run(name, func(t *testing.T) {
				paid, refund := payment(name), event(ledger.EventRefunded, "", "pay_"+name)
				held, release := make(chan struct{}), make(chan struct{})
				var both sync.WaitGroup
				if name == "payment first" {
					both.Go(func() { wantError(t, "the payment", first.PayThenHold(t.Context(), paid, held, release), nil) })
					<-held
					both.Go(func() { second.tell(t, refund) })
				} else {
					both.Go(func() { wantError(t, "the refund", first.TellThenHold(t.Context(), refund, held, release), nil) })
					<-held
					both.Go(func() { second.pay(t, paid) })
				}
				time.Sleep(300 * time.Millisecond)
				close(release)
				both.Wait()
				if got := first.status(t, name); got != ledger.Refunded {
					t.Errorf("it is %s", got)
				}
			})
		}
	})
}

// A server that was restarted has closed all connections. Nobody notices.
func TestClosedConnectionsAreReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onPostgres)
	id := w.pay(t, payment("a"))
	position := w.poll(t, ledger.Position{}).Position
	for i := range 20 {
		w.disconnect(t)
		var err error
		switch i % 4 {
		case 0:
			_, err = w.Holding(t.Context(), id)
		case 1:
			_, err = w.RecordPayment(t.Context(), payment(fmt.Sprint("p", i)))
		case 2:
			_, err = w.Details(t.Context(), id)
		case 3:
			_, err = w.Poll(t.Context(), position)
		}
		if err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
	if lines := w.log.errors(); len(lines) > 0 {
		t.Errorf("logged: %q", lines)
	}
}

// A server that is stopped answers nothing, and does not even refuse. One that is down is not dialled for every visitor.
func TestAServerThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	server := pgtest.New(t)
	w := openWorld(t, ledger.Options{URL: server.NewDatabase(t)})
	id := w.pay(t, payment("a"))
	server.Pause()
	defer server.Resume()
	var all sync.WaitGroup
	for name, do := range map[string]func() error{
		"a look-up":      func() error { _, err := w.Holding(t.Context(), id); return err },
		"a payment":      func() error { _, err := w.RecordPayment(t.Context(), payment("b")); return err },
		"a poll":         func() error { _, err := w.Poll(t.Context(), ledger.Position{}); return err },
		"another ledger": func() error { _, err := ledger.New(w.location).Open(t.Context()); return err },
		"a check": func() error {
			_, err := ledger.CheckServer(t.Context(), w.location.URL)
			return errors.Join(err, ledger.ErrUnavailable)
		},
	} {
		all.Go(func() {
			began := time.Now()
			wantError(t, name, do(), ledger.ErrUnavailable)
			if took := time.Since(began); took > 20*time.Second { // the deadlines are of two seconds, the machine may be busy
				t.Errorf("%s took %s", name, took)
			}
		})
	}
	all.Wait()
	if w.Err() == nil {
		t.Error("it may be sold from")
	}
	server.Resume()
	w.until(t, "it can be used again", func() bool { return w.Err() == nil })
	w.pay(t, payment("b"))

	server.Configure(t, `default_transaction_read_only = on`)
	w.until(t, "a server that became read-only is left", func() bool { return server.Count(t, connectionsTo, pgtest.Name(w.location.URL)) == 0 })
	server.Configure(t, `default_transaction_read_only = off`)
	w.until(t, "it can be used again", func() bool { return w.Err() == nil })
	w.pay(t, payment("c"))

	server.Stop()
	listener, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", server.Port()))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var dialled atomic.Int64
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			dialled.Add(1)
			conn.Close()
		}
	}()
	for deadline := time.Now().Add(1500 * time.Millisecond); time.Now().Before(deadline); { // three pauses
		if _, err := w.Holding(t.Context(), id); err == nil {
			t.Fatal("it can be read")
		}
	}
	if n := dialled.Load(); n == 0 || n > 100 {
		t.Errorf("it was dialled %d times", n)
	}
}

// A server that may not be written, or may lose what it has acknowledged, is left and not sold from.
func TestAServerThatMayNotBeUsed(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]string{"default_transaction_read_only = on": "read only", "synchronous_commit = off": "synchronous_commit"} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, onPostgres)
			position := w.poll(t, ledger.Position{}).Position
			w.set(t, setting)
			_, err := w.Poll(t.Context(), position)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("a poll: %v", err)
			}
			_, err = w.RecordPayment(t.Context(), payment("b"))
			wantError(t, "a payment", err, ledger.ErrUnavailable)
			_, err = w.HoldingOfSession(t.Context(), "b")
			wantError(t, "a look-up", err, ledger.ErrUnavailable)
			if w.Err() == nil {
				t.Error("it may be sold from")
			}
			another := ledger.New(w.location)
			defer another.Close()
			_, err = another.Open(t.Context())
			wantError(t, "opening", err, ledger.ErrUnavailable)

			w.set(t, "search_path = public", "default_transaction_read_only = off", "synchronous_commit = on")
			w.until(t, "it can be used again", func() bool { return w.Err() == nil })
			w.pay(t, payment("b"))
		})
	}
}

const connectionsTo = `SELECT COUNT(*) FROM pg_stat_activity WHERE datname = $1`

// set changes the settings of a ledger's database, and ends the connections that have other ones.
func (w world) set(t *testing.T, settings ...string) {
	t.Helper()
	for _, setting := range settings {
		pgtest.Shared(t).Exec(t, "ALTER DATABASE "+pgtest.Name(w.location.URL)+" SET "+setting)
	}
	w.disconnect(t)
}

// disconnect ends the connections to a ledger's database.
func (w world) disconnect(t *testing.T) {
	t.Helper()
	pgtest.Shared(t).Exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1`, pgtest.Name(w.location.URL))
}

// A payment is not acknowledged by a server that has stopped to commit durably since the last poll.
func TestNothingIsAcknowledgedWithoutADurableCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onPostgres)
	w.set(t, "synchronous_commit = off")
	_, err := w.RecordPayment(t.Context(), payment("a"))
	wantError(t, "a payment", err, ledger.ErrUnavailable)
}

func TestADatabaseThatIsNotInUTF8IsRefused(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	server.Exec(t, `CREATE DATABASE latin1 TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'`)
	l := ledger.New(ledger.Options{URL: server.URL("latin1")})
	defer l.Close()
	_, err := l.Open(t.Context())
	if err == nil || !strings.Contains(err.Error(), "UTF8") {
		t.Errorf("opening: %v", err)
	}
}

// The tables of another program in the same database are left alone.
func TestAnotherProgramMayUseTheDatabase(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	url := server.NewDatabase(t)
	server.ExecIn(t, url, `ALTER ROLE CURRENT_USER IN DATABASE `+pgtest.Name(url)+` SET search_path = public`)
	server.ExecIn(t, url, `CREATE TABLE public.payments (theirs TEXT)`)
	w := openWorld(t, ledger.Options{URL: url})
	w.pay(t, payment("a"))
	server.ExecIn(t, url, `INSERT INTO public.payments VALUES ('theirs')`)
	w.poll(t, ledger.Position{})
}

// The role of a ledger needs no right to make a schema where there is one for it.
func TestASchemaMayBeMadeBeforehand(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	url := server.NewDatabase(t)
	server.Exec(t, `CREATE ROLE shop LOGIN PASSWORD 'secret'`)
	shop := strings.Replace(server.URL(pgtest.Name(url)), "owner:se%2Fcret%25", "shop:secret", 1)
	l := ledger.New(ledger.Options{URL: shop})
	defer l.Close()
	_, err := l.Open(t.Context())
	wantError(t, "opening without the right", err, ledger.ErrUnavailable)
	server.ExecIn(t, url, `CREATE SCHEMA axra AUTHORIZATION shop`)
	w := openWorld(t, ledger.Options{URL: shop})
	w.pay(t, payment("a"))
}

// A copy of an earlier state that takes the server's place is known by its feed, however many changes it has.
func TestALaggingCopyDropsEverything(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	w := newWorld(t, onPostgres)
	w.pay(t, payment("first"))
	w.Close()
	copied := server.CopyDatabase(t, w.location.URL)
	w = openWorld(t, w.location)
	w.pay(t, payment("later"))
	w.tell(t, event(ledger.EventRefunded, "first"))
	position := w.poll(t, ledger.Position{}).Position

	lagging := openWorld(t, ledger.Options{URL: copied})
	if changes := lagging.poll(t, position); !changes.All || !changes.Keys {
		t.Errorf("the copy's feed says %+v", changes)
	}
	if len(lagging.log.errors()) != 1 {
		t.Errorf("logged: %q", lagging.log.errors())
	}
	lagging.tell(t, event(ledger.EventDisputed, "first"))
	if changes := lagging.poll(t, position); !changes.All {
		t.Errorf("with as many changes as before the copy's feed says %+v", changes)
	}
	if changes := w.poll(t, lagging.poll(t, position).Position); !changes.All {
		t.Errorf("back at the original its feed says %+v", changes)
	}
}

// A copy that lacks nothing but payments, none of which changed the feed, is known all the same.
func TestACopyWithoutTheLastPaymentsDropsEverything(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	w := newWorld(t, onPostgres)
	w.pay(t, payment("first"))
	w.Close()
	copied := server.CopyDatabase(t, w.location.URL)
	w = openWorld(t, w.location)
	w.pay(t, payment("later"))
	position := w.poll(t, ledger.Position{}).Position
	if changes := w.poll(t, position); changes.All {
		t.Fatalf("the ledger itself says %+v", changes)
	}
	name := pgtest.Name(w.location.URL)
	server.Exec(t, `ALTER DATABASE `+name+` ALLOW_CONNECTIONS false`) // or the ledger would be back before it is renamed
	server.Exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ($1, $2)`, name, pgtest.Name(copied))
	server.Exec(t, `ALTER DATABASE `+name+` RENAME TO `+name+`_original`)
	server.Exec(t, `ALTER DATABASE `+pgtest.Name(copied)+` RENAME TO `+name)
	w.until(t, "the copy is read", func() bool { return w.Err() == nil })
	changes := w.poll(t, position)
	if !changes.All || len(w.log.errors()) == 0 {
		t.Errorf("the copy says %+v; logged: %q", changes, w.log.errors())
	}
	if changes := w.poll(t, changes.Position); changes.All {
		t.Errorf("afterwards it says %+v", changes)
	}
}

// The tables of events are too small here for an index. What operators ask is measured by TestFigures.
func TestPostgresLookUpsUseIndexes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onPostgres)
	ledger.Fill(t, w.Ledger, 20_000)
	plans, err := w.PostgresPlans(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, plan := range plans {
		for _, table := range []string{"purchases", "payments", "payment_ids", "devices"} {
			if strings.Contains(plan, "Seq Scan on "+table+" ") {
				t.Errorf("%s reads all of %s:\n%s", name, table, plan)
			}
		}
	}
}

// Who reads must not wait for who writes: the row of the feed is locked, not the tables.
func TestReadersDoNotWaitForTheWriteLock(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		id := w.pay(t, payment("a"))
		holdWriteLock(t, w.location)
		if _, err := w.Holding(t.Context(), id); err != nil {
			t.Errorf("a look-up: %v", err)
		}
		w.poll(t, ledger.Position{})
	})
}

// Connections that were lost are made again before anybody needs them.
func TestLostConnectionsAreReplaced(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	url := server.NewDatabase(t)
	w := openWorld(t, ledger.Options{URL: url})
	count := func() int {
		return server.Count(t, `SELECT COUNT(*) FROM pg_stat_activity WHERE datname = $1`, pgtest.Name(url))
	}
	before := count()
	server.Exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1`, pgtest.Name(url))
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		_, err := w.Poll(t.Context(), ledger.Position{})
		if err == nil && count() >= before-1 { // the one that writes waits for a write
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections before and %d after (%v)", before, count(), err)
		}
	}
}

// A failover may leave connections that no one answers. The first poll that waits in vain gives up all of them.
func TestSilentConnectionsAreGivenUp(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	proxy := server.NewProxy(t)
	w := openWorld(t, ledger.Options{URL: proxy.URL(pgtest.Name(server.NewDatabase(t)))})
	position := w.poll(t, ledger.Position{}).Position
	proxy.Silence()
	if _, err := w.Poll(t.Context(), position); err == nil {
		t.Fatal("a poll without an answer succeeds")
	}
	w.poll(t, position)
}

// A server of the URL that is down, or takes connections and does not answer, is passed over.
func TestAServerThatIsDownIsPassedOver(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	databaseURL := server.NewDatabase(t)
	address := fmt.Sprintf("127.0.0.1:%d", server.Port())
	first, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	for _, test := range []struct{ name, sslmode string }{
		{"it does not answer", "disable"},
		{"it does not answer, and may use TLS", "prefer"},
		{"it refuses connections", "disable"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if strings.Contains(test.name, "refuses") {
				first.Close()
			}
			w := openWorld(t, ledger.Options{
				URL: strings.Replace(databaseURL, address, first.Addr().String()+","+address, 1) + "?sslmode=" + test.sslmode,
			})
			since := w.poll(t, ledger.Position{}).Position
			server.Exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1`, pgtest.Name(databaseURL))
			w.poll(t, since)
			w.pay(t, payment(test.name))
		})
	}
}

// PostgreSQL compiles what it thinks is expensive, and the poll runs once a second on each node.
func TestThePollIsNotCompiled(t *testing.T) {
	t.Parallel()
	plan, err := openWorld(t, onPostgres.empty(t)).PollPlan(t.Context())
	if err != nil || strings.Contains(plan, "JIT:") {
		t.Errorf("%v\n%s", err, plan)
	}
}
