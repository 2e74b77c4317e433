package ledger

import (
	"errors"
	"io/fs"
	"sync"
	"testing"
	"time"
)

// gathering holds calls back until n of them are there, then the next n.
func gathering(t *testing.T, n int) func(string) error {
	var mu sync.Mutex
	waiting, all := 0, make(chan struct{})
	return func(string) error {
		mu.Lock()
		mine := all
		if waiting++; waiting == n {
			waiting, all = 0, make(chan struct{})
			close(mine)
		}
		mu.Unlock()
		select {
		case <-mine:
		case <-time.After(DefaultTimeout):
			t.Error("the others do not come: one waits for the other")
		}
		return nil
	}
}

// The two records of a payment are stored in one round trip of the storage. An outcome is
// stored under both of its ids at once, in three steps.
func TestRecordsAreStoredAtOnce(t *testing.T) {
	for name, test := range map[string]struct {
		fact           Fact
		atOnce, stores int
	}{
		"a payment":                {paidFact(t, theSession, payment1), 2, 2},
		"an outcome of one id":     {outcomeFact(Refunded, "", payment1), 1, 3},
		"an outcome of two ids":    {outcomeFact(Refunded, theSession, payment1), 2, 6},
		"a payment without its id": {paidFact(t, theSession, ""), 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			storage := newDisk()
			storage.onStore = gathering(t, test.atOnce)
			mustRecord(t, New(storage, 0), test.fact)
			if _, stores := storage.counts(); stores != test.stores {
				t.Errorf("%d records are stored, want %d", stores, test.stores)
			}
		})
	}
}

// What the documentation says about how often storage is asked.
func TestStorageIsAskedAsOftenAsTheFactsNeed(t *testing.T) {
	storage := newDisk()
	ledger := New(storage, 0)
	asked := func(what string, want int, do func() error) {
		t.Helper()
		before, _ := storage.counts()
		if err := do(); err != nil && !errors.Is(err, ErrNotPaid) {
			t.Fatal(err)
		}
		if after, _ := storage.counts(); after-before != want {
			t.Errorf("%s: %d reads, want %d", what, after-before, want)
		}
	}
	grant := func() error { _, err := ledger.Grant(t.Context(), theSession); return err }
	paid := paidFact(t, theSession, payment1)
	record := func() error { _, err := ledger.Record(t.Context(), paid); return err }

	asked("a session that is not paid", 1, grant)
	asked("a payment is recorded", 5, record) // looked for, twice; read back, twice; known outcomes
	asked("a payment that was recorded a moment ago", 1, func() error { _, err := ledger.GrantOf(t.Context(), paid); return err })
	asked("an untroubled payment", 3, grant)
	asked("a payment is recorded again", 3, record)
	mustRecord(t, ledger, outcomeFact(Disputed, theSession, ""))
	asked("a disputed session", 3+4+2, grant) // and whether it was extended, or decided about
}

// Both markers are read in one round trip.
func TestMarkersAreReadAtOnce(t *testing.T) {
	storage := newDisk()
	ledger := New(storage, 0)
	mustRecord(t, ledger, paidFact(t, theSession, payment1))
	meeting := gathering(t, 2)
	storage.onLoad = func(key string) error {
		if isOf(key, eventful) {
			return meeting(key)
		}
		return nil
	}
	mustGrant(t, ledger, theSession)
}

// A payment of which only one record was stored was not acknowledged: it is new when it
// comes again, whichever is missing. One of another payment id of the session is not.
func TestW6APaymentThatCameHalfWayIsNewAgain(t *testing.T) {
	for _, missing := range []Kind{Paid, link} {
		t.Run("without "+string(missing), func(t *testing.T) {
			storage := newDisk()
			ledger := New(storage, 0)
			storage.onStore = func(key string) error {
				if isOf(key, missing) {
					return fs.ErrPermission
				}
				return nil
			}
			paid := paidFact(t, theSession, payment1)
			if fresh, err := ledger.Record(t.Context(), paid); err == nil || fresh {
				t.Fatalf("acknowledged: %t, %v", fresh, err)
			}
			storage.heal()
			if fresh, err := ledger.Record(t.Context(), paid); err != nil || !fresh {
				t.Errorf("the second delivery: fresh %t, %v", fresh, err)
			}
			if fresh, err := ledger.Record(t.Context(), paid); err != nil || fresh {
				t.Errorf("the third delivery: fresh %t, %v", fresh, err)
			}
			if fresh, err := ledger.Record(t.Context(), paidFact(t, theSession, payment2)); err != nil || fresh {
				t.Errorf("another payment id of the same session: fresh %t, %v", fresh, err)
			}
		})
	}
}

// A refund closes a payment of which the link has not been stored yet, before and after
// the next delivery.
func TestW7ARefundOfAPaymentThatCameHalfWay(t *testing.T) {
	storage := newDisk()
	ledger := New(storage, 0)
	storage.onStore = func(key string) error {
		if isOf(key, link) {
			return fs.ErrPermission
		}
		return nil
	}
	paid := paidFact(t, theSession, payment1)
	if _, err := ledger.Record(t.Context(), paid); err == nil {
		t.Fatal("acknowledged")
	}
	storage.heal()
	mustRecord(t, ledger, outcomeFact(Refunded, "", payment1))
	if got := mustGrant(t, ledger, theSession).ClosedFor; got != Refunded {
		t.Errorf("closed for %q before the next delivery", got)
	}
	mustRecord(t, ledger, paid)
	if got := mustGrant(t, ledger, theSession).ClosedFor; got != Refunded {
		t.Errorf("closed for %q after the next delivery", got)
	}
}

// GrantOf says what Grant says about a payment that has just been recorded.
func TestGrantOfKnowsWhatCameFirst(t *testing.T) {
	for _, before := range []Fact{outcomeFact(Refunded, "", payment1), outcomeFact(Refunded, theSession, "")} {
		ledger := New(newDisk(), 0)
		paid := paidFact(t, theSession, payment1)
		mustRecord(t, ledger, before, paid)
		if got, err := ledger.GrantOf(t.Context(), paid); err != nil || got.ClosedFor != Refunded {
			t.Errorf("closed for %q, %v, want %q", got.ClosedFor, err, Refunded)
		}
	}
	ledger := New(newDisk(), 0)
	paid := paidFact(t, theSession, payment1)
	mustRecord(t, ledger, paid)
	got, err := ledger.GrantOf(t.Context(), paid)
	if want := mustGrant(t, ledger, theSession); err != nil || !got.Until.Equal(want.Until) || got.ClosedFor != "" {
		t.Errorf("until %s, closed for %q, %v, want %s", got.Until, got.ClosedFor, err, want.Until)
	}
}
