package paywall

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/money"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/token"
)

const (
	ledgerKeys = "axra/ledger/"
	newsKeys   = "axra/news/"
)

// memory is a storage that several nodes use.
type memory struct {
	mu      sync.Mutex
	records map[string][]byte
}

func (m *memory) Load(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if value, ok := m.records[key]; ok {
		return value, nil
	}
	return nil, fs.ErrNotExist
}

func (m *memory) Store(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records[key] = value
	return nil
}

// unlink forgets which payment belongs to which session.
func (m *memory) unlink() {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.records, func(key string, _ []byte) bool { return strings.HasPrefix(key, ledgerKeys+"link/") })
}

func (m *memory) copy() *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &memory{records: maps.Clone(m.records)}
}

// sharedStorage is what one node reads of it. Under a prefix of the keys that may fail, hang or
// lag behind.
type sharedStorage struct {
	*memory
	mu    sync.Mutex
	reads map[string]int
	fails map[string]error
	hangs map[string]bool
	lags  map[string]*memory
}

func (s *sharedStorage) Load(ctx context.Context, key string) ([]byte, error) {
	prefix := ledgerKeys
	if strings.HasPrefix(key, newsKeys) {
		prefix = newsKeys
	}
	s.mu.Lock()
	s.reads[prefix]++
	fails, hangs, lags := s.fails[prefix], s.hangs[prefix], s.lags[prefix]
	s.mu.Unlock()
	switch {
	case hangs:
		<-ctx.Done()
		return nil, ctx.Err()
	case fails != nil:
		return nil, fails
	case lags != nil:
		return lags.Load(ctx, key)
	}
	return s.memory.Load(ctx, key)
}

// change changes how the storage behaves.
func (s *sharedStorage) change(how func(*sharedStorage)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	how(s)
}

func (s *sharedStorage) readsOf(prefix string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads[prefix]
}

// readingNode is a configuration that judges visitors.
type readingNode struct {
	*App
	t       *testing.T
	storage *sharedStorage
}

// onNode runs a test with a clock of its own.
func onNode(t *testing.T, test func(*readingNode)) {
	synctest.Test(t, func(t *testing.T) {
		storage := &sharedStorage{
			memory: &memory{records: make(map[string][]byte)}, reads: make(map[string]int),
			fails: make(map[string]error), hangs: make(map[string]bool), lags: make(map[string]*memory),
		}
		a := &App{
			Recheck: caddy.Duration(DefaultRecheck), Grace: caddy.Duration(DefaultGrace),
			shared: newShared(), ledger: ledger.New(storage, 0), logger: zap.NewNop(),
		}
		defer func() { _ = a.shared.Destruct() }()
		a.readLedger()
		test(&readingNode{App: a, t: t, storage: storage})
		synctest.Wait()
	})
}

// another is a ledger of another node on the same storage.
func (n *readingNode) another() *ledger.Ledger { return ledger.New(n.storage.memory, 0) }

func (n *readingNode) record(l *ledger.Ledger, f ledger.Fact) {
	n.t.Helper()
	if _, err := l.Record(n.t.Context(), f); err != nil {
		n.t.Fatal(err)
	}
}

func paymentOf(session string) ledger.Fact {
	price, _ := money.Parse("5.00", "usd")
	return ledger.Fact{
		Kind: ledger.Paid, Session: session, Payment: "bpay_" + session, Paid: price, At: time.Now(),
		Terms: terms.Terms{
			Installation: "i", Site: "https://example.com", Pass: "p", Resource: terms.WholePass,
			Price: price, Access: terms.Access(24 * time.Hour),
		},
	}
}

// sell stores a payment and returns its token, as it is remembered.
func (n *readingNode) sell(paid ledger.Fact) *verified {
	n.t.Helper()
	n.record(n.ledger, paid)
	access := token.Access{
		Session: paid.Session, Payment: paid.Payment, Until: paid.At.Add(24 * time.Hour), Expires: paid.At.Add(24 * time.Hour),
	}
	return n.remember("token of "+paid.Session, &verified{Access: access})
}

// want judges a visitor and waits until all that this has set off has ended.
func (n *readingNode) want(v *verified, want verdict) {
	n.t.Helper()
	if got := n.judge(n.t.Context(), v, time.Now()); got != want {
		n.t.Errorf("the verdict is %d, want %d", got, want)
	}
	synctest.Wait()
}

// settle has a visitor come by until news can vouch for the last answer of the ledger.
func (n *readingNode) settle(all ...*verified) {
	n.t.Helper()
	for range 4 {
		for _, v := range all {
			n.want(v, open)
		}
		time.Sleep(DefaultRecheck * 3 / 4)
	}
	for _, v := range all {
		if _, ok := n.news.vouchFor(v, time.Now()); !ok {
			n.t.Fatal("news do not vouch for a visitor who has been here for a while")
		}
	}
}

// refund is what Axra says about a payment.
func refund(session, payment string) ledger.Fact {
	return ledger.Fact{Kind: ledger.Refunded, Session: session, Payment: payment, At: time.Now()}
}

// Many visitors cost as many reads as there are shards, whoever has been away for how long.
func TestNewsSpareRechecks(t *testing.T) {
	onNode(t, func(n *readingNode) {
		var all []*verified
		for i := range 300 {
			all = append(all, n.sell(paymentOf("cs_"+strconv.Itoa(i))))
		}
		n.settle(all...)
		for _, away := range []time.Duration{DefaultRecheck * 3 / 4, DefaultRecheck * 3} {
			time.Sleep(away)
			payments, shards := n.storage.readsOf(ledgerKeys), n.storage.readsOf(newsKeys)
			for _, v := range all {
				n.want(v, open)
			}
			payments, shards = n.storage.readsOf(ledgerKeys)-payments, n.storage.readsOf(newsKeys)-shards
			if payments > 0 || shards == 0 || shards > ledger.Shards {
				t.Errorf("away for %s: %d reads of payments, %d of news", away, payments, shards)
			}
		}
	})
}

// T7: what another node has stored closes the gate within Recheck, though news vouched for
// the visitor until then.
func TestT7NewsOfAnotherNodeAreHeededInTime(t *testing.T) {
	for name, outcome := range map[string]func(*readingNode, *ledger.Ledger) error{
		"a refund of the session": func(n *readingNode, l *ledger.Ledger) error {
			_, err := l.Record(n.t.Context(), refund("cs_1", ""))
			return err
		},
		"a refund of the payment": func(n *readingNode, l *ledger.Ledger) error {
			_, err := l.Record(n.t.Context(), refund("", "bpay_cs_1"))
			return err
		},
		"a refund of a payment that is not linked yet": func(n *readingNode, l *ledger.Ledger) error {
			n.storage.unlink()
			_, err := l.Record(n.t.Context(), refund("", "bpay_cs_1"))
			return err
		},
		"a decision": func(n *readingNode, l *ledger.Ledger) error {
			return l.Decide(n.t.Context(), "cs_1", ledger.Revoked, "", time.Now())
		},
	} {
		t.Run(name, func(t *testing.T) {
			onNode(t, func(n *readingNode) {
				v := n.sell(paymentOf("cs_1"))
				n.settle(v)
				n.want(v, open)
				if err := outcome(n, n.another()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(DefaultRecheck + time.Second)
				n.want(v, closed)
			})
		})
	}
}

// The same where a storage shows the news at once and what they are about a while later.
func TestT7NewsThatComeBeforeTheFacts(t *testing.T) {
	onNode(t, func(n *readingNode) {
		v := n.sell(paymentOf("cs_1"))
		n.settle(v)
		n.storage.change(func(s *sharedStorage) { s.lags[ledgerKeys] = s.copy() })
		n.record(n.another(), refund("cs_1", ""))
		time.Sleep(DefaultRecheck + time.Second)
		n.want(v, open) // nobody can know
		n.storage.change(func(s *sharedStorage) { clear(s.lags) })
		time.Sleep(DefaultRecheck + time.Second)
		n.want(v, closed)
	})
}

// T7: what this node has heard is heeded at once, and only for whom it concerns.
func TestT7WhatThisNodeHearsIsHeededAtOnce(t *testing.T) {
	onNode(t, func(n *readingNode) {
		refunded, other := n.sell(paymentOf("cs_1")), n.sell(paymentOf("cs_2"))
		n.settle(refunded, other)
		n.want(refunded, open)
		n.want(other, open)
		n.storage.unlink()
		n.record(n.ledger, refund("", "bpay_cs_1")) // not linked yet: known by its own id alone
		before := n.storage.readsOf(ledgerKeys)
		n.want(other, open)
		if read := n.storage.readsOf(ledgerKeys) - before; read > 0 {
			t.Errorf("%d reads about a visitor whom it does not concern", read)
		}
		n.want(refunded, closed)
	})
}

// What hangs on other sessions or places is not left to news.
func TestNewsDoNotVouchForWhatTheyDoNotTell(t *testing.T) {
	for name, sold := range map[string]func(*readingNode) *verified{
		"a purchase that was extended": func(n *readingNode) *verified {
			v := n.sell(paymentOf("cs_1"))
			extension := paymentOf("cs_2")
			extension.Terms.Extends = "cs_1"
			n.record(n.ledger, extension)
			return v
		},
		"a payment that extends another": func(n *readingNode) *verified {
			n.record(n.ledger, paymentOf("cs_0"))
			extension := paymentOf("cs_1")
			extension.Terms.Extends = "cs_0"
			return n.sell(extension)
		},
		"a place that another device may take": func(n *readingNode) *verified {
			v := n.sell(paymentOf("cs_1"))
			slot, err := n.ledger.Take(n.t.Context(), ledger.Device, "cs_1", 3, "holder", time.Now())
			if err != nil {
				n.t.Fatal(err)
			}
			v.place = place{kind: ledger.Device, slot: slot, holder: "holder"}
			return v
		},
		"a token of another payment of the session": func(n *readingNode) *verified {
			n.record(n.ledger, paymentOf("cs_1"))
			second := paymentOf("cs_1") // of a local rail that is confirmed twice
			second.Payment = "bpay_2"
			return n.sell(second)
		},
		"what was won back": func(n *readingNode) *verified {
			v := n.sell(paymentOf("cs_1"))
			n.record(n.ledger, ledger.Fact{Kind: ledger.Disputed, Session: "cs_1", At: time.Now()})
			n.record(n.ledger, ledger.Fact{Kind: ledger.DisputeWon, Session: "cs_1", At: time.Now()})
			return v
		},
	} {
		t.Run(name, func(t *testing.T) {
			onNode(t, func(n *readingNode) {
				v := sold(n)
				for range 6 {
					n.want(v, open)
					if _, ok := n.news.vouchFor(v, time.Now()); ok {
						t.Fatal("news vouch for it")
					}
					time.Sleep(DefaultRecheck)
				}
			})
		})
	}
}

// A node of an earlier version writes no news; somebody may remove records by hand.
func TestWithoutNewsTheLedgerIsAskedAfterAWhile(t *testing.T) {
	onNode(t, func(n *readingNode) {
		v := n.sell(paymentOf("cs_1"))
		n.settle(v)
		n.storage.change(func(s *sharedStorage) { s.lags[newsKeys] = s.copy() })
		n.record(n.another(), refund("cs_1", ""))
		for range vouchAtLeast + vouchSpread {
			time.Sleep(DefaultRecheck)
			n.judge(n.t.Context(), v, time.Now())
			synctest.Wait()
		}
		n.want(v, closed)
	})
}

// A visitor who has been away for long is looked up.
func TestNewsDoNotVouchForLong(t *testing.T) {
	onNode(t, func(n *readingNode) {
		v := n.sell(paymentOf("cs_1"))
		n.settle(v)
		n.storage.change(func(s *sharedStorage) { s.lags[newsKeys] = s.copy() })
		n.record(n.another(), refund("cs_1", ""))
		time.Sleep((vouchAtMost + 1) * DefaultRecheck)
		n.want(v, closed)
	})
}

// D3: where news cannot be read, the ledger is asked as ever; where neither can, there is
// grace, and no longer.
func TestD3NewsThatCannotBeRead(t *testing.T) {
	onNode(t, func(n *readingNode) {
		v := n.sell(paymentOf("cs_1"))
		n.settle(v)
		n.storage.change(func(s *sharedStorage) { s.fails[newsKeys] = errors.New("no news") })
		time.Sleep(2 * DefaultRecheck)
		before := n.storage.readsOf(ledgerKeys)
		n.want(v, open)
		if n.storage.readsOf(ledgerKeys) == before {
			t.Error("nobody was asked")
		}
		n.storage.change(func(s *sharedStorage) { s.fails[ledgerKeys] = errors.New("no ledger") })
		time.Sleep(2 * DefaultRecheck)
		n.want(v, open)
		time.Sleep(DefaultGrace / 2)
		n.want(v, open)
		time.Sleep(DefaultGrace)
		n.want(v, unknown)
	})
}

// D3: nobody waits longer for news that hang than for the ledger.
func TestD3NewsThatHang(t *testing.T) {
	onNode(t, func(n *readingNode) {
		v := n.sell(paymentOf("cs_1"))
		n.settle(v)
		n.storage.change(func(s *sharedStorage) { s.hangs[newsKeys], s.hangs[ledgerKeys] = true, true })
		time.Sleep(2 * DefaultRecheck)
		began := time.Now()
		n.judge(n.t.Context(), v, began)
		if waited := time.Since(began); waited > maxRecheckWait {
			t.Errorf("a visitor waits %s", waited)
		}
		n.want(v, open)
		time.Sleep(time.Minute) // what hangs is given up
	})
}

// Another configuration may have another storage: what was read before it does not count.
func TestNewsOfAnotherConfigurationDoNotVouch(t *testing.T) {
	onNode(t, func(n *readingNode) {
		v := n.sell(paymentOf("cs_1"))
		n.settle(v)
		n.news = news{}
		n.readLedger()
		if _, ok := n.news.vouchFor(v, time.Now()); ok {
			t.Error("news vouch for what another configuration has read")
		}
		n.want(v, open)
	})
}

// A clock that was ahead when the ledger was asked makes no answer younger.
func TestNewsDoNotVouchAfterTheClockWasSetBack(t *testing.T) {
	onNode(t, func(n *readingNode) {
		v := n.sell(paymentOf("cs_1"))
		n.settle(v)
		ahead := *v.standing.Load()
		ahead.asked += int64(time.Hour)
		v.standing.Store(&ahead)
		if _, ok := n.news.vouchFor(v, time.Now()); ok {
			t.Error("news vouch for an answer of the future")
		}
		n.want(v, open)
		// News that came after the answer, by a clock that runs before it.
		n.settle(v)
		n.record(n.another(), refund("cs_1", ""))
		<-n.news.read(v.shards[0])
		said := *n.news.shards[v.shards[0]].said.Load()
		said.since = 0
		n.news.shards[v.shards[0]].said.Store(&said)
		if _, ok := n.news.vouchFor(v, time.Now()); ok {
			t.Error("news vouch for an answer from before them")
		}
	})
}

// T7: who closes the connection for writing can still read the answer.
func TestT7WhoHangsUpIsNotLetIn(t *testing.T) {
	onNode(t, func(n *readingNode) {
		v := n.sell(paymentOf("cs_1"))
		n.settle(v)
		n.record(n.another(), refund("cs_1", ""))
		left, leave := context.WithCancel(n.t.Context())
		leave()
		for range 20 {
			time.Sleep(3 * DefaultRecheck)
			if n.judge(left, v, time.Now()) == open {
				t.Error("let in after the refund")
			}
			synctest.Wait()
		}
	})
}

// Who was looked up lately does not wait for news that nobody has read for long.
func TestWhoWasLookedUpLatelyDoesNotWaitForNews(t *testing.T) {
	onNode(t, func(n *readingNode) {
		first := n.sell(paymentOf("cs_1"))
		n.settle(first)
		time.Sleep(10 * DefaultRecheck)
		v := n.sell(paymentOf("cs_1"))
		v.standing.Store(nil)
		n.want(v, open) // the ledger is asked
		n.storage.change(func(s *sharedStorage) { s.hangs[newsKeys] = true })
		time.Sleep(DefaultRecheck * 3 / 4)
		began := time.Now()
		n.judge(n.t.Context(), v, began)
		if waited := time.Since(began); waited > 0 {
			t.Errorf("a visitor waits %s", waited)
		}
		time.Sleep(time.Minute) // what hangs is given up
	})
}
