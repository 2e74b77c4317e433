package paywall

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/money"
	"github.com/caddy-axra/paywall/terms"
)

// slowStorage is a storage in memory whose answers are held back on command.
type slowStorage struct {
	memory
	mu      sync.Mutex
	loads   int
	held    chan struct{} // answers wait for it to be closed
	reached chan struct{} // one word for each answer that is held
}

func (s *slowStorage) Load(ctx context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	s.loads++
	held := s.held
	s.mu.Unlock()
	value, err := s.memory.Load(ctx, key)
	if held != nil {
		s.reached <- struct{}{}
		<-held
	}
	return value, err
}

// hold holds back what is asked from now on, until release is called.
func (s *slowStorage) hold() (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := make(chan struct{})
	s.held = held
	return func() { close(held) }
}

// letThrough ends hold for what is asked from now on.
func (s *slowStorage) letThrough() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = nil
}

func newGrants() (*grants, *slowStorage) {
	storage := &slowStorage{memory: memory{records: make(map[string][]byte)}, reached: make(chan struct{}, 1000)}
	return &grants{ledger: ledger.New(storage, time.Minute), heard: new(heard), failing: new(trouble)}, storage
}

func recordPaid(t *testing.T, g *grants) {
	t.Helper()
	price, err := money.Parse("5.00", "usd")
	if err != nil {
		t.Fatal(err)
	}
	_, err = g.ledger.Record(t.Context(), ledger.Fact{
		Kind: ledger.Paid, Session: "cs_1", Payment: "bpay_1", At: time.Now(), Paid: price,
		Terms: terms.Terms{Installation: "i", Site: "https://example.com", Pass: "p", Resource: terms.WholePass, Price: price, Access: terms.Access(24 * time.Hour)},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// However many wait for a session, storage is asked once, and another session is another
// matter.
func TestOneReadingForAllWhoWait(t *testing.T) {
	g, storage := newGrants()
	recordPaid(t, g)
	before := storage.loads
	release := storage.hold()
	first := g.ask("cs_1")
	<-storage.reached
	waiting := []<-chan bool{}
	for range 50 {
		landed := g.ask("cs_1")
		paid := make(chan bool, 1)
		go func() { paid <- (<-landed).Err == nil }()
		waiting = append(waiting, paid)
	}
	storage.letThrough()
	if _, err := g.of(t.Context(), "cs_2"); !errors.Is(err, ledger.ErrNotPaid) {
		t.Errorf("another session: %v", err)
	}
	release()
	if landed := <-first; landed.Err != nil {
		t.Error(landed.Err)
	}
	for _, each := range waiting {
		if !<-each {
			t.Error("one who waited was not told of the payment")
		}
	}
	if loads := storage.loads - before; loads != 3+1 {
		t.Errorf("%d reads, want 3 for the one session and 1 for the other", loads)
	}
}

// Who began the reading may leave; the others are answered all the same.
func TestWhoBeganAReadingMayLeave(t *testing.T) {
	g, storage := newGrants()
	recordPaid(t, g)
	release := storage.hold()
	leaving, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { _, err := g.of(leaving, "cs_1"); left <- err }()
	<-storage.reached
	others := g.ask("cs_1")
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("who left is told %v", err)
	}
	storage.letThrough()
	release()
	if landed := <-others; landed.Err != nil || !landed.Shared {
		t.Errorf("who stayed is told %v; shared %t", landed.Err, landed.Shared)
	}
}

// What this node heard after a reading began is not hidden by that reading from those
// who come later.
func TestAReadingHidesNothingThatWasHeardSince(t *testing.T) {
	for name, test := range map[string]struct {
		before, heard func(*testing.T, *grants)
		old, want     func(ledger.Grant, error) bool
	}{
		"a payment": {
			before: func(*testing.T, *grants) {},
			heard:  func(t *testing.T, g *grants) { recordPaid(t, g); g.heard.payment("cs_1") },
			old:    func(_ ledger.Grant, err error) bool { return errors.Is(err, ledger.ErrNotPaid) },
			want:   func(grant ledger.Grant, err error) bool { return err == nil && grant.ClosedFor == "" },
		},
		"a refund": {
			before: recordPaid,
			heard: func(t *testing.T, g *grants) {
				if _, err := g.ledger.Record(t.Context(), ledger.Fact{Kind: ledger.Refunded, Payment: "bpay_1", At: time.Now()}); err != nil {
					t.Fatal(err)
				}
				g.heard.outcome(ledger.ShardOf("bpay_1"))
			},
			old:  func(_ ledger.Grant, err error) bool { return err == nil },
			want: func(grant ledger.Grant, err error) bool { return err == nil && grant.ClosedFor == ledger.Refunded },
		},
	} {
		t.Run(name, func(t *testing.T) {
			g, storage := newGrants()
			test.before(t, g)
			release := storage.hold()
			early := g.ask("cs_1")
			<-storage.reached
			storage.letThrough()
			test.heard(t, g)
			if grant, err := g.of(t.Context(), "cs_1"); !test.want(grant, err) {
				t.Errorf("who came later is told %+v, %v", grant, err)
			}
			release()
			landed := <-early
			if said, _ := landed.Val.(reading); !test.old(said.grant, landed.Err) {
				t.Errorf("who came before is told %+v, %v", said.grant, landed.Err)
			}
		})
	}
}

// A reading that panics is an error for all who wait, and the next one begins anew.
func TestAReadingThatPanics(t *testing.T) {
	g := &grants{heard: new(heard), failing: new(trouble)} // there is no ledger
	for range 2 {
		if _, err := g.of(t.Context(), "cs_1"); err == nil {
			t.Error("no error")
		}
	}
}

// Of two readings about one token that of the later begin counts, whichever ends last.
func TestTheLaterReadingCounts(t *testing.T) {
	a := &App{shared: new(shared)}
	v := new(verified)
	a.learn(v, reading{number: 2, asked: time.Now(), grant: ledger.Grant{ClosedFor: ledger.Refunded}, outcomes: 1}, nil)
	a.learn(v, reading{number: 1, asked: time.Now()}, nil)
	if v.verdict(time.Now(), time.Minute) != closed || v.standing.Load().outcomes != 1 {
		t.Error("what was read before the refund opens the gate")
	}
	a.learn(v, reading{number: 3, asked: time.Now().Add(-time.Hour)}, nil) // the clock was set back
	if v.verdict(time.Now(), time.Minute) != open {
		t.Error("the latest reading does not count")
	}
}
