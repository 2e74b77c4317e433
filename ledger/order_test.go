package ledger

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// documented is the state that conclude's comment promises for a session about
// which all of these outcomes are known: a refund or a lost dispute is final; an
// open dispute closes until it is won, whatever came first.
func documented(facts []Fact) Kind {
	known := make(map[Kind]bool)
	for _, f := range facts {
		known[f.Kind] = true
	}
	switch {
	case known[Refunded]:
		return Refunded
	case known[DisputeLost]:
		return DisputeLost
	case known[Disputed] && !known[DisputeWon]:
		return Disputed
	default:
		return ""
	}
}

// permute calls visit with every order of the facts.
func permute(facts []Fact, visit func([]Fact)) {
	var rest func(int)
	rest = func(n int) {
		if n == len(facts) {
			visit(facts)
			return
		}
		for i := n; i < len(facts); i++ {
			facts[n], facts[i] = facts[i], facts[n]
			rest(n + 1)
			facts[n], facts[i] = facts[i], facts[n]
		}
	}
	rest(0)
}

// name is a way in which an event can say which payment it is about.
type name struct{ session, payment string }

// everyNaming calls visit with every combination of ways to name the payment;
// of three events and more with those in which neighbours differ: all
// combinations would take minutes and say nothing new.
func everyNaming(kinds []Kind, names []name, visit func([]Fact)) {
	facts := make([]Fact, len(kinds))
	if len(kinds) > 2 {
		for shift := range names {
			for i, kind := range kinds {
				named := names[(shift+i)%len(names)]
				facts[i] = outcomeFact(kind, named.session, named.payment)
			}
			visit(facts)
		}
		return
	}
	var rest func(int)
	rest = func(n int) {
		if n == len(kinds) {
			visit(facts)
			return
		}
		for _, named := range names {
			facts[n] = outcomeFact(kinds[n], named.session, named.payment)
			rest(n + 1)
		}
	}
	rest(0)
}

func subsets(kinds []Kind) [][]Kind {
	var all [][]Kind
	for mask := range 1 << len(kinds) {
		var subset []Kind
		for i, kind := range kinds {
			if mask&(1<<i) != 0 {
				subset = append(subset, kind)
			}
		}
		all = append(all, subset)
	}
	return all
}

var outcomeKinds = []Kind{Refunded, Disputed, DisputeWon, DisputeLost}

func describe(facts []Fact) string {
	words := make([]string, len(facts))
	for i, f := range facts {
		words[i] = fmt.Sprintf("%s(%s,%s)", f.Kind, f.Session, f.Payment)
	}
	return strings.Join(words, " ")
}

// checkOrder delivers the events and the first of them again; where thoroughly,
// then all of them once more from the end.
func checkOrder(t *testing.T, events []Fact, thoroughly bool) {
	t.Helper()
	storage := newDisk()
	ledger := New(storage, 0)
	mustRecord(t, ledger, events...)
	mustRecord(t, ledger, events[0])
	want := documented(events)
	if got := mustGrant(t, ledger, theSession).ClosedFor; got != want {
		t.Fatalf("%s: closed for %q, want %q", describe(events), got, want)
	}
	if !thoroughly {
		return
	}
	before := storage.copyOf()
	for i := len(events) - 1; i >= 0; i-- {
		fresh, err := ledger.Record(t.Context(), events[i])
		if err != nil || fresh {
			t.Fatalf("%s: a repetition of %s: fresh %t, %v", describe(events), events[i].Kind, fresh, err)
		}
	}
	if !maps.Equal(before, storage.copyOf()) {
		t.Fatalf("%s: repetitions changed the records", describe(events))
	}
}

func TestW7EveryOrderOfEventsEndsInTheSameState(t *testing.T) {
	t.Parallel()
	orders := 0
	for _, kinds := range subsets(outcomeKinds) {
		everyNaming(kinds, []name{{theSession, ""}, {"", payment1}, {theSession, payment1}}, func(outcomes []Fact) {
			events := append([]Fact{paidFact(t, theSession, payment1)}, outcomes...)
			permute(events, func(events []Fact) {
				orders++
				checkOrder(t, events, orders%8 == 0)
			})
		})
	}
	t.Logf("%d orders", orders)
}

func TestW7EveryOrderWithASecondPaymentIDEndsInTheSameState(t *testing.T) {
	t.Parallel()
	orders := 0
	for _, kinds := range subsets(outcomeKinds) {
		names := []name{{theSession, ""}, {"", payment1}, {"", payment2}}
		if len(kinds) > 2 && (testing.Short() || len(kinds) > 3) {
			continue // thousands of orders that say nothing new
		}
		everyNaming(kinds, names, func(outcomes []Fact) {
			events := append([]Fact{paidFact(t, theSession, payment1), paidFact(t, theSession, payment2)}, outcomes...)
			permute(events, func(events []Fact) {
				orders++
				checkOrder(t, events, orders%8 == 0)
			})
		})
	}
	t.Logf("%d orders", orders)
}

func TestW7APaymentIDThatComesLater(t *testing.T) {
	for _, kinds := range subsets(outcomeKinds) {
		everyNaming(kinds, []name{{theSession, ""}, {"", payment1}}, func(outcomes []Fact) {
			if len(kinds) > 2 {
				return
			}
			events := append([]Fact{paidFact(t, theSession, ""), paidFact(t, theSession, payment1)}, outcomes...)
			permute(events, func(events []Fact) { checkOrder(t, events, true) })
		})
	}
}

func TestW7OutcomesOfAnotherPaymentChangeNothing(t *testing.T) {
	ledger := New(newDisk(), 0)
	mustRecord(t, ledger, paidFact(t, theSession, payment1), paidFact(t, "cs_2", payment2))
	for _, kind := range outcomeKinds {
		mustRecord(t, ledger, outcomeFact(kind, "cs_2", payment2), outcomeFact(kind, "cs_3", ""), outcomeFact(kind, "", "bpay_3"))
	}
	if grant := mustGrant(t, ledger, theSession); !grant.Open(paidAt) {
		t.Errorf("closed for %s", grant.ClosedFor)
	}
	if grant := mustGrant(t, ledger, "cs_2"); grant.Open(paidAt) {
		t.Error("a refunded session is open")
	}
}

func TestW7OutcomesAloneOpenNothing(t *testing.T) {
	ledger := New(newDisk(), 0)
	for _, kind := range outcomeKinds {
		mustRecord(t, ledger, outcomeFact(kind, theSession, payment1))
		if _, err := ledger.Grant(t.Context(), theSession); !errors.Is(err, ErrNotPaid) {
			t.Errorf("after %s: %v, want %v", kind, err, ErrNotPaid)
		}
	}
}

// meet makes the first n readers of a kind wait for each other, each with what it
// has read.
func meet(kind Kind, n int) func(string) {
	var mu sync.Mutex
	var arrived sync.WaitGroup
	arrived.Add(n)
	left := n
	return func(key string) {
		if !isOf(key, kind) {
			return
		}
		mu.Lock()
		early := left > 0
		left--
		mu.Unlock()
		if early {
			arrived.Done()
			arrived.Wait()
		}
	}
}

func TestW7TwoPaymentIDsConfirmedAtTheSameMoment(t *testing.T) {
	for _, refunded := range []string{payment1, payment2} {
		t.Run("then "+refunded+" is refunded", func(t *testing.T) {
			storage := newDisk()
			storage.seen = meet(Paid, 2) // both see an unpaid session
			var deliveries sync.WaitGroup
			for _, payment := range []string{payment1, payment2} {
				deliveries.Go(func() {
					node := New(storage, 0)
					if _, err := node.Record(t.Context(), paidFact(t, theSession, payment)); err != nil {
						t.Error(err)
					}
				})
			}
			deliveries.Wait()
			ledger := New(storage, 0)
			mustRecord(t, ledger, outcomeFact(Refunded, "", refunded))
			if got := mustGrant(t, ledger, theSession).ClosedFor; got != Refunded {
				t.Errorf("closed for %q: the refund is lost", got)
			}
		})
	}
}

func TestW7ASecondPaymentIDAndItsRefundAtTheSameMoment(t *testing.T) {
	for range 200 {
		storage := newDisk()
		ledger := New(storage, 0)
		mustRecord(t, ledger, paidFact(t, theSession, payment1))
		var deliveries sync.WaitGroup
		for _, f := range []Fact{paidFact(t, theSession, payment2), outcomeFact(Refunded, "", payment2)} {
			deliveries.Go(func() {
				if _, err := ledger.Record(t.Context(), f); err != nil {
					t.Error(err)
				}
			})
		}
		deliveries.Wait()
		if got := mustGrant(t, ledger, theSession).ClosedFor; got != Refunded {
			t.Fatalf("closed for %q: the refund is lost", got)
		}
	}
}

func TestW6SixtyFourIdenticalRecordsAtOnce(t *testing.T) {
	for _, f := range []Fact{
		paidFact(t, theSession, payment1),
		outcomeFact(Refunded, theSession, payment1),
		outcomeFact(DisputeWon, "", payment1),
	} {
		t.Run(string(f.Kind), func(t *testing.T) {
			storage := newDisk()
			ledger := New(storage, 0)
			alone := newDisk()
			mustRecord(t, New(alone, 0), f)

			var deliveries sync.WaitGroup
			start := make(chan struct{})
			results := make(chan bool, 64)
			for range 64 {
				deliveries.Go(func() {
					<-start
					fresh, err := ledger.Record(t.Context(), f)
					if err != nil {
						t.Error(err)
					}
					results <- fresh
				})
			}
			close(start)
			deliveries.Wait()
			close(results)
			fresh := 0
			for each := range results {
				if each {
					fresh++
				}
			}
			if fresh == 0 {
				t.Error("the fact was new to nobody")
			}
			if !maps.Equal(storage.copyOf(), alone.copyOf()) {
				t.Errorf("records %v, want those of one delivery", storage.keys())
			}
		})
	}
}

// A refund that is stored just as a payment looks for what is known about its id finds
// the link, since that was stored before.
func TestW7ARefundWhileItsPaymentIsLinked(t *testing.T) {
	storage := newDisk()
	ledger := New(storage, 0)
	var refunded atomic.Bool
	storage.seen = func(looked string) {
		if looked == key(eventful, payment1) && refunded.CompareAndSwap(false, true) {
			mustRecord(t, New(storage, 0), outcomeFact(Refunded, "", payment1))
		}
	}
	mustRecord(t, ledger, paidFact(t, theSession, payment1))
	storage.mu.Lock()
	storage.seen = nil
	storage.mu.Unlock()
	if _, err := ledger.get(t.Context(), Refunded, theSession); err != nil {
		t.Errorf("the refund does not stand under the session: %v", err)
	}
}
