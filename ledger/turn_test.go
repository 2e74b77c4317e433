package ledger

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// The operations that store one fact do not share one timeout.
func TestEachOperationOfATurnHasTheWholeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newDisk()
		slow := func(string) error { time.Sleep(DefaultTimeout - time.Second); return nil }
		storage.onLoad, storage.onStore = slow, slow
		start := time.Now()
		mustRecord(t, New(storage, 0), paidFact(t, theSession, payment1))
		if took := time.Since(start); took <= DefaultTimeout {
			t.Errorf("all of it took %s", took)
		}
	})
}

// What hangs is given up, told of once, and nothing is asked after it: neither where it
// is the first operation of a turn, nor where it is a later one.
func TestNothingBeginsAfterAnOperationWasGivenUp(t *testing.T) {
	for _, test := range []struct {
		name          string
		hangs         int // the load that does: the first looks for a record, the second reads it back
		loads, stores int
	}{
		{"looking for a record", 1, 1, 0},
		{"reading it back", 2, 2, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				storage := newDisk()
				stalled, release := stall()
				number := 0
				storage.onLoad = func(key string) error {
					if number++; number == test.hangs {
						return stalled(key)
					}
					return nil
				}
				storage.onStore = func(string) error { time.Sleep(time.Second); return nil }
				ledger := New(storage, 0)
				var told []string
				ledger.Observe(func(operation string, err error) {
					if errors.Is(err, ErrStorageTimeout) {
						told = append(told, operation)
					}
				})
				start := time.Now()
				if fresh, err := ledger.Record(t.Context(), paidFact(t, theSession, "")); !errors.Is(err, ErrStorageTimeout) || fresh {
					t.Errorf("fresh %t, %v, want %v", fresh, err, ErrStorageTimeout)
				}
				if took, want := time.Since(start), DefaultTimeout+time.Duration(test.stores)*time.Second; took != want {
					t.Errorf("given up after %s, want %s", took, want)
				}
				release()
				synctest.Wait()
				if loads, stores := storage.counts(); loads != test.loads || stores != test.stores {
					t.Errorf("%d loads and %d stores, want %d and %d", loads, stores, test.loads, test.stores)
				}
				if !slices.Equal(told, []string{"load"}) {
					t.Errorf("told of %q", told)
				}
			})
		})
	}
}

// As many as may hang give their places back, also those that panicked.
func TestAPanicInATurnGivesItsPlaceBack(t *testing.T) {
	storage := newDisk()
	storage.onStore = func(string) error { panic("bug in a storage module") }
	ledger := New(storage, 0)
	told := 0
	ledger.Observe(func(operation string, _ error) {
		if told++; operation != "store" {
			t.Errorf("told of %s", operation)
		}
	})
	for range 2 * inFlight {
		if fresh, err := ledger.Record(t.Context(), paidFact(t, theSession, "")); err == nil || errors.Is(err, ErrStorageTimeout) || fresh {
			t.Fatalf("fresh %t, %v", fresh, err)
		}
	}
	if told != 2*inFlight {
		t.Errorf("told %d times, want %d", told, 2*inFlight)
	}
	storage.heal()
	mustRecord(t, ledger, paidFact(t, theSession, ""))
}

// Writes that hang are bounded; one more says so when its time is over.
func TestStalledTurnsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newDisk()
		stalled, release := stall()
		storage.onStore = stalled
		ledger := New(storage, 0)
		for range inFlight + 10 {
			go func() {
				if _, err := ledger.Record(t.Context(), paidFact(t, theSession, "")); !errors.Is(err, ErrStorageTimeout) {
					t.Errorf("a writer got %v", err)
				}
			}()
		}
		time.Sleep(2 * DefaultTimeout)
		if _, stores := storage.counts(); stores != inFlight {
			t.Errorf("%d writes hang, want %d", stores, inFlight)
		}
		release()
		synctest.Wait()
		storage.heal()
		mustRecord(t, ledger, paidFact(t, theSession, payment1))
	})
}
