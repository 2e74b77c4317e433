package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-axra/paywall/money"
	"github.com/caddy-axra/paywall/terms"
)

func TestAPaidSessionIsGrantedAsItWasSold(t *testing.T) {
	ledger := New(newDisk(), 0)
	want := paidFact(t, theSession, payment1)
	want.At = paidAt.Add(300 * time.Millisecond).In(time.FixedZone("", 3600))
	fresh, err := ledger.Record(t.Context(), want)
	if err != nil || !fresh {
		t.Fatalf("fresh %t, %v", fresh, err)
	}
	grant := mustGrant(t, ledger, theSession)
	want.At = paidAt
	if !sameFact(grant.Fact, want) {
		t.Errorf("got %+v, want %+v", grant.Fact, want)
	}
	if end := paidAt.Add(30 * 24 * time.Hour); !grant.Until.Equal(end) {
		t.Errorf("until %s, want %s", grant.Until, end)
	}
	if grant.ClosedFor != "" {
		t.Errorf("closed for %s", grant.ClosedFor)
	}
}

func TestGrantOpensUntilItsEnd(t *testing.T) {
	for _, test := range []struct {
		name   string
		access terms.Access
		closed Kind
		after  time.Duration
		open   bool
		ended  bool
	}{
		{"at once", terms.Access(time.Hour), "", 0, true, false},
		{"just before its end", terms.Access(time.Hour), "", time.Hour - 1, true, false},
		{"at its end", terms.Access(time.Hour), "", time.Hour, false, true},
		{"for ever", terms.Forever, "", 100 * 365 * 24 * time.Hour, true, false},
		{"refunded", terms.Access(time.Hour), Refunded, 0, false, false},
		{"refunded for ever", terms.Forever, Refunded, 0, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			grant := Grant{Until: test.access.Until(paidAt), ClosedFor: test.closed}
			now := paidAt.Add(test.after)
			if grant.Open(now) != test.open || grant.Ended(now) != test.ended {
				t.Errorf("open %t, ended %t; want %t, %t", grant.Open(now), grant.Ended(now), test.open, test.ended)
			}
		})
	}
}

func TestS1OnlyThePaidSessionIsGranted(t *testing.T) {
	ledger := New(newDisk(), 0)
	mustRecord(t, ledger, paidFact(t, theSession, payment1))
	for _, session := range []string{"", "cs_2", "CS_1", "cs_1 ", "cs_1/", payment1, "{SESSION_ID}", "../" + theSession, strings.Repeat("x", 64<<10)} {
		if grant, err := ledger.Grant(t.Context(), session); !errors.Is(err, ErrNotPaid) {
			t.Errorf("session %.20q: %+v, %v", session, grant, err)
		}
	}
}

func TestGrantOfAnUntroubledPaymentReadsThreeRecords(t *testing.T) {
	for _, test := range []struct {
		name  string
		facts []Fact
		loads int
	}{
		{"unpaid", nil, 1},
		{"paid", []Fact{paidFact(t, theSession, payment1)}, 3},
		{"paid, without a payment id", []Fact{paidFact(t, theSession, "")}, 2},
		{"paid, with a second payment id", []Fact{paidFact(t, theSession, payment1), paidFact(t, theSession, payment2)}, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			storage := newDisk()
			ledger := New(storage, 0)
			mustRecord(t, ledger, test.facts...)
			before, storesBefore := storage.counts()
			_, _ = ledger.Grant(t.Context(), theSession)
			loads, stores := storage.counts()
			if loads-before != test.loads || stores != storesBefore {
				t.Errorf("%d loads and %d stores, want %d and 0", loads-before, stores-storesBefore, test.loads)
			}
		})
	}
}

func TestFactsAreNeverOverwritten(t *testing.T) {
	storage := newDisk()
	ledger := New(storage, 0)
	first := paidFact(t, theSession, payment1)
	mustRecord(t, ledger, first)
	second := first
	second.At = first.At.Add(time.Hour)
	second.Terms.Access = terms.Forever
	second.Paid = price(t, "500")
	fresh, err := ledger.Record(t.Context(), second)
	if err != nil || fresh {
		t.Errorf("fresh %t, %v", fresh, err)
	}
	if grant := mustGrant(t, ledger, theSession); !sameFact(grant.Fact, first) {
		t.Errorf("the fact changed to %+v", grant.Fact)
	}
}

func TestW6AHundredDeliveriesMakeOneFact(t *testing.T) {
	storage := newDisk()
	ledger := New(storage, 0)
	facts := []Fact{paidFact(t, theSession, payment1), outcomeFact(Disputed, theSession, payment1)}
	mustRecord(t, ledger, facts...)
	records := storage.copyOf()
	_, stores := storage.counts()
	for range 100 {
		for _, f := range facts {
			if fresh, err := ledger.Record(t.Context(), f); err != nil || fresh {
				t.Fatalf("fresh %t, %v", fresh, err)
			}
		}
	}
	if _, now := storage.counts(); now != stores || !maps.Equal(records, storage.copyOf()) {
		t.Errorf("%d further stores", now-stores)
	}
}

func TestW9AMismatchOpensNothing(t *testing.T) {
	ledger := New(newDisk(), 0)
	if _, err := ledger.Mismatched(t.Context(), theSession); !errors.Is(err, ErrNotPaid) {
		t.Errorf("before: %v", err)
	}
	short := paidFact(t, theSession, payment1)
	short.Kind = Mismatch
	short.Paid = price(t, "4.99")
	mustRecord(t, ledger, short)
	if _, err := ledger.Grant(t.Context(), theSession); !errors.Is(err, ErrNotPaid) {
		t.Errorf("grant: %v, want %v", err, ErrNotPaid)
	}
	got, err := ledger.Mismatched(t.Context(), theSession)
	if err != nil || !sameFact(got, short) {
		t.Errorf("got %+v, %v", got, err)
	}
	mustRecord(t, ledger, paidFact(t, theSession, payment2))
	if grant := mustGrant(t, ledger, theSession); !grant.Open(paidAt) {
		t.Error("paid in full after all, but not open")
	}
}

func TestW9AMismatchWithoutAReadableAmountIsKept(t *testing.T) {
	ledger := New(newDisk(), 0)
	unread := paidFact(t, theSession, payment1)
	unread.Kind = Mismatch
	unread.Paid = money.Price{}
	mustRecord(t, ledger, unread)
	if got, err := ledger.Mismatched(t.Context(), theSession); err != nil || !sameFact(got, unread) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestRecordRefusesWhatIsNoFact(t *testing.T) {
	for name, f := range map[string]Fact{
		"no kind":                          {Session: theSession},
		"the inner marker of adversity":    {Kind: eventful, Session: theSession},
		"an inner link":                    {Kind: link, Session: theSession, Payment: payment1},
		"an invented kind":                 {Kind: "../../paid", Session: theSession},
		"a place, which is to be taken":    {Kind: Device, Session: theSession, Holder: "a"},
		"paid, without a session":          paidFact(t, "", payment1),
		"mismatch, without a session":      {Kind: Mismatch, Payment: payment1, Terms: soldTerms(t)},
		"refunded, without any id":         outcomeFact(Refunded, "", ""),
		"a time that JSON has no form for": {Kind: Refunded, Session: theSession, At: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		t.Run(name, func(t *testing.T) {
			storage := newDisk()
			if fresh, err := New(storage, 0).Record(t.Context(), f); err == nil || fresh {
				t.Errorf("fresh %t, no error", fresh)
			}
			if keys := storage.keys(); len(keys) > 0 {
				t.Errorf("stored %v", keys)
			}
		})
	}
}

func TestNoIDCanEscapeItsKey(t *testing.T) {
	form := regexp.MustCompile(`^axra/ledger/(paid|mismatch|refunded|disputed|dispute_won|dispute_lost|adverse|link|extension)/[0-9a-f]{2}/[0-9a-f]{62}$`)
	ids := []string{
		"../../../../etc/passwd", "..", ".", "/", "//", `..\..\windows`, "a/b", "a\x00b", "a\nb", "A", "a", "a ", "%2e%2e%2f",
		"{SESSION_ID}", "é", "e\u0301", "\xff\xfe", "-rf", "~", "$HOME", "CON", strings.Repeat("x", 64<<10),
	}
	storage := newDisk()
	ledger := New(storage, 0)
	for _, id := range ids {
		mustRecord(t, ledger, paidFact(t, id, ""))
		mustRecord(t, ledger, outcomeFact(Refunded, "", id), outcomeFact(DisputeWon, "", id))
	}
	seen := make(map[string]bool)
	for _, key := range storage.keys() {
		if !form.MatchString(key) {
			t.Errorf("key %q", key)
		}
		if seen[strings.ToLower(key)] {
			t.Errorf("key %q collides", key)
		}
		seen[strings.ToLower(key)] = true
	}
	if want := 4 * len(ids); len(seen) != want {
		t.Errorf("%d keys, want %d: ids share records", len(seen), want)
	}
}

// steps counts the operations on storage that recording the facts takes.
func steps(t *testing.T, facts []Fact) int {
	storage := newDisk()
	mustRecord(t, New(storage, 0), facts...)
	loads, stores := storage.counts()
	return loads + stores
}

func TestD1AfterAnyFailedOperationTheNextDeliveryCompletesTheFact(t *testing.T) {
	for name, facts := range map[string][]Fact{
		"paid":                          {paidFact(t, theSession, payment1)},
		"paid, then refunded":           {paidFact(t, theSession, payment1), outcomeFact(Refunded, "", payment1)},
		"refunded, then paid":           {outcomeFact(Refunded, "", payment1), paidFact(t, theSession, payment1)},
		"disputed by both ids":          {paidFact(t, theSession, payment1), outcomeFact(Disputed, theSession, payment1)},
		"refunded second payment":       {paidFact(t, theSession, payment1), outcomeFact(Refunded, "", payment2), paidFact(t, theSession, payment2)},
		"second payment, then refunded": {paidFact(t, theSession, payment1), paidFact(t, theSession, payment2), outcomeFact(Refunded, "", payment2)},
		"disputed and won":              {outcomeFact(DisputeWon, "", payment2), paidFact(t, theSession, payment1), outcomeFact(Disputed, theSession, ""), paidFact(t, theSession, payment2)},
	} {
		for fault, inflict := range map[string]func(*disk, func() error){
			"fails":     func(d *disk, f func() error) { d.onLoad, d.onStore = ignoreKey(f), ignoreKey(f) },
			"truncates": func(d *disk, f func() error) { d.onLoad, d.mangle = ignoreKey(f), mangleIf(f, truncate) },
			"garbles":   func(d *disk, f func() error) { d.onLoad, d.mangle = ignoreKey(f), mangleIf(f, garble) },
			"panics": func(d *disk, f func() error) {
				d.onLoad, d.onStore = ignoreKey(orPanic(f)), ignoreKey(orPanic(f))
			},
		} {
			t.Run(name+"; storage "+fault, func(t *testing.T) {
				// A failed attempt is repeated with operations of its own.
				for step := range 2 * steps(t, facts) {
					storage := newDisk()
					ledger := New(storage, 0)
					var done atomic.Int64 // some operations are done at once
					inflict(storage, func() error {
						if done.Add(1) == int64(step)+1 {
							return syscall.ENOSPC
						}
						return nil
					})
					for _, f := range facts {
						deliver(t, ledger, f)
					}
					storage.heal()
					if got, want := mustGrant(t, ledger, theSession).ClosedFor, documented(facts); got != want {
						t.Fatalf("operation %d failed: closed for %q, want %q", step, got, want)
					}
				}
			})
		}
	}
}

// deliver sends an event until it is acknowledged, as Axra does.
func deliver(t *testing.T, ledger *Ledger, f Fact) {
	t.Helper()
	for range 3 {
		if _, err := ledger.Record(t.Context(), f); err == nil {
			return
		}
	}
	t.Fatalf("%s was not acknowledged", f.Kind)
}

func ignoreKey(f func() error) func(string) error { return func(string) error { return f() } }

func orPanic(f func() error) func() error {
	return func() error {
		if err := f(); err != nil {
			panic(err)
		}
		return nil
	}
}

func mangleIf(f func() error, mangle func([]byte) []byte) func(string, []byte) []byte {
	return func(_ string, value []byte) []byte {
		if f() != nil {
			return mangle(value)
		}
		return value
	}
}

func truncate(value []byte) []byte { return value[:len(value)/2] }

func garble(value []byte) []byte {
	value[len(value)/2] ^= 1
	return value
}

func TestD1WhatCannotBeStoredIsNotAcknowledged(t *testing.T) {
	for name, inflict := range map[string]func(*disk){
		"fails":                  func(d *disk) { d.onStore = func(string) error { return errors.New("read-only file system") } },
		"is full":                func(d *disk) { d.onStore = func(string) error { return syscall.ENOSPC } },
		"garbles":                func(d *disk) { d.mangle = func(_ string, v []byte) []byte { return garble(v) } },
		"truncates":              func(d *disk) { d.mangle = func(_ string, v []byte) []byte { return truncate(v) } },
		"empties":                func(d *disk) { d.mangle = func(string, []byte) []byte { return nil } },
		"answers with zeros":     func(d *disk) { d.mangle = func(_ string, v []byte) []byte { return make([]byte, len(v)) } },
		"panics":                 func(d *disk) { d.onStore = func(string) error { panic("bug in a storage module") } },
		"cannot be read before":  func(d *disk) { d.onLoad = func(string) error { return errors.New("input/output error") } },
		"says that it is denied": func(d *disk) { d.onStore = func(string) error { return fs.ErrPermission } },
	} {
		for _, f := range []Fact{
			paidFact(t, theSession, payment1),
			{Kind: Mismatch, Session: theSession, At: paidAt, Terms: soldTerms(t), Paid: price(t, "4.00")},
			outcomeFact(Refunded, theSession, payment1),
			outcomeFact(DisputeWon, "", payment1),
		} {
			t.Run("storage "+name+", "+string(f.Kind), func(t *testing.T) {
				storage := newDisk()
				inflict(storage)
				ledger := New(storage, 0)
				if fresh, err := ledger.Record(t.Context(), f); err == nil || fresh {
					t.Fatalf("acknowledged: fresh %t, %v", fresh, err)
				}
				storage.heal()
				if fresh, err := ledger.Record(t.Context(), f); err != nil || !fresh {
					t.Fatalf("the next delivery: fresh %t, %v", fresh, err)
				}
			})
		}
	}
}

func TestD1AStoreThatLosesTheRecordIsNotBelieved(t *testing.T) {
	storage := newDisk()
	ledger := New(forgetful{storage}, 0)
	if fresh, err := ledger.Record(t.Context(), paidFact(t, theSession, payment1)); err == nil || fresh {
		t.Errorf("acknowledged: fresh %t, %v", fresh, err)
	}
}

// forgetful acknowledges every Store and keeps nothing.
type forgetful struct{ *disk }

func (forgetful) Store(context.Context, string, []byte) error { return nil }

func TestD2AFailedLoadNeverLooksLikeAnUnpaidSession(t *testing.T) {
	trouble := errors.New("input/output error")
	for _, kind := range []Kind{Paid, eventful, Refunded, Disputed, DisputeWon, DisputeLost} {
		t.Run(string(kind), func(t *testing.T) {
			storage := newDisk()
			ledger := New(storage, 0)
			mustRecord(t, ledger, paidFact(t, theSession, payment1), outcomeFact(Disputed, "", payment1))
			storage.onLoad = func(key string) error {
				if isOf(key, kind) {
					return trouble
				}
				return nil
			}
			grant, err := ledger.Grant(t.Context(), theSession)
			if !errors.Is(err, trouble) || errors.Is(err, ErrNotPaid) {
				t.Errorf("got %v, want %v", err, trouble)
			}
			if grant != (Grant{}) {
				t.Errorf("a grant %+v beside the error", grant)
			}
		})
	}
	t.Run("mismatch", func(t *testing.T) {
		storage := newDisk()
		storage.onLoad = func(string) error { return trouble }
		if _, err := New(storage, 0).Mismatched(t.Context(), theSession); !errors.Is(err, trouble) || errors.Is(err, ErrNotPaid) {
			t.Errorf("got %v, want %v", err, trouble)
		}
	})
}

func TestD2APanicOfStorageIsAnError(t *testing.T) {
	storage := newDisk()
	storage.onLoad = func(string) error { panic("bug in a storage module") }
	if _, err := New(storage, 0).Grant(t.Context(), theSession); err == nil || errors.Is(err, ErrNotPaid) {
		t.Errorf("got %v", err)
	}
}

func TestD4AGarbledRecordOpensNothingAndIsHealedByTheNextDelivery(t *testing.T) {
	// Every record that a refunded and disputed payment leaves behind.
	facts := []Fact{
		paidFact(t, theSession, ""),
		outcomeFact(Refunded, theSession, ""),
		outcomeFact(Disputed, theSession, ""),
		outcomeFact(DisputeWon, theSession, ""),
		outcomeFact(DisputeLost, theSession, ""),
	}
	foreign, err := Fact{Kind: Mismatch, Session: theSession, Terms: soldTerms(t), Paid: price(t, "1.00")}.encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []Kind{Paid, eventful, Refunded, Disputed, DisputeWon, DisputeLost} {
		for name, mangle := range map[string]func([]byte) []byte{
			"empty":                    func([]byte) []byte { return []byte{} },
			"zeros":                    func(v []byte) []byte { return make([]byte, len(v)) },
			"truncated":                truncate,
			"cut by one":               func(v []byte) []byte { return v[:len(v)-1] },
			"a flipped bit":            garble,
			"trailing data":            func(v []byte) []byte { return append(v, 'x') },
			"null":                     func([]byte) []byte { return []byte("null") },
			"an empty object":          func([]byte) []byte { return []byte("{}") },
			"a page of HTML":           func([]byte) []byte { return []byte("<html>") },
			"a record of another kind": func([]byte) []byte { return foreign },
			"a version of the future": func(v []byte) []byte {
				return []byte(strings.Replace(string(v), `"v":1`, `"v":2`, 1))
			},
			"no checksum": func(v []byte) []byte {
				return []byte(regexp.MustCompile(`"sum":"[0-9a-f]*"`).ReplaceAllString(string(v), `"sum":""`))
			},
		} {
			t.Run(string(kind)+" "+name, func(t *testing.T) {
				storage := newDisk()
				ledger := New(storage, 0)
				mustRecord(t, ledger, facts...)
				key, value := storage.record(t, kind)
				storage.put(key, mangle(value))
				if grant, err := ledger.Grant(t.Context(), theSession); !errors.Is(err, ErrGarbled) || grant != (Grant{}) {
					t.Errorf("got %+v, %v, want %v", grant, err, ErrGarbled)
				}
				mustRecord(t, ledger, facts...)
				if grant := mustGrant(t, ledger, theSession); grant.ClosedFor != Refunded {
					t.Errorf("not healed: closed for %q", grant.ClosedFor)
				}
			})
		}
	}
}

func TestD4AGarbledRecordNeverGrantsAnythingElse(t *testing.T) {
	storage := newDisk()
	ledger := New(storage, 0)
	want := paidFact(t, theSession, payment1)
	mustRecord(t, ledger, want)
	key, good := storage.record(t, Paid)
	check := func(what string, value []byte) {
		t.Helper()
		storage.put(key, value)
		grant, err := ledger.Grant(t.Context(), theSession)
		switch {
		case err == nil && !sameFact(grant.Fact, want):
			t.Errorf("%s: grants %+v", what, grant.Fact)
		case err != nil && !errors.Is(err, ErrGarbled):
			t.Errorf("%s: %v, want %v", what, err, ErrGarbled)
		}
	}
	for i := range good {
		check(fmt.Sprintf("cut at byte %d", i), good[:i])
		for bit := range 8 {
			mangled := append([]byte{}, good...)
			mangled[i] ^= 1 << bit
			check(fmt.Sprintf("bit %d of byte %d flipped", bit, i), mangled)
		}
	}
}

// stall returns a fault that lets operations hang, whatever their context says,
// until release is called.
func stall() (fault func(string) error, release func()) {
	released := make(chan struct{})
	return func(string) error { <-released; return nil }, func() { close(released) }
}

func TestOperationsEndThoughTheBackendIgnoresItsContext(t *testing.T) {
	for _, test := range []struct {
		name    string
		timeout time.Duration
		want    time.Duration
	}{
		{"the default", 0, DefaultTimeout},
		{"a negative timeout", -1, DefaultTimeout},
		{"a timeout of its own", time.Second, time.Second},
	} {
		t.Run("load, "+test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				storage := newDisk()
				fault, release := stall()
				storage.onLoad = fault
				start := time.Now()
				_, err := New(storage, test.timeout).Grant(t.Context(), theSession)
				if !errors.Is(err, ErrStorageTimeout) || errors.Is(err, ErrNotPaid) {
					t.Errorf("got %v, want %v", err, ErrStorageTimeout)
				}
				if waited := time.Since(start); waited != test.want {
					t.Errorf("given up after %s, want %s", waited, test.want)
				}
				release()
			})
		})
		t.Run("D1 store, "+test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				storage := newDisk()
				fault, release := stall()
				storage.onStore = fault
				ledger := New(storage, test.timeout)
				start := time.Now()
				fresh, err := ledger.Record(t.Context(), paidFact(t, theSession, payment1))
				if !errors.Is(err, ErrStorageTimeout) || fresh {
					t.Errorf("fresh %t, %v, want %v", fresh, err, ErrStorageTimeout)
				}
				if waited := time.Since(start); waited != test.want {
					t.Errorf("given up after %s, want %s", waited, test.want)
				}
				release()
				synctest.Wait()
				storage.heal()
				mustRecord(t, ledger, paidFact(t, theSession, payment1))
				if !mustGrant(t, ledger, theSession).Open(paidAt) {
					t.Error("the next delivery does not grant")
				}
			})
		})
	}
}

func TestTheCallersContextEndsAnOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newDisk()
		fault, release := stall()
		storage.onLoad = fault
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, err := New(storage, 0).Grant(ctx, theSession); !errors.Is(err, ErrStorageTimeout) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		release()
	})
}

func TestStalledReadersAreBoundedAndDoNotKeepAFactFromBeingStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newDisk()
		ledger := New(storage, 0)
		stalled, release := stall()
		storage.onLoad = stalled
		for range inFlight + 10 {
			go func() {
				if _, err := ledger.Grant(t.Context(), theSession); !errors.Is(err, ErrStorageTimeout) {
					t.Errorf("a reader got %v", err)
				}
			}()
		}
		time.Sleep(2 * DefaultTimeout)
		if loads, _ := storage.counts(); loads != inFlight {
			t.Errorf("%d operations hang, want %d", loads, inFlight)
		}
		if err := ledger.storage.store(t.Context(), "axra/ledger/x", []byte("x")); err != nil {
			t.Errorf("a write beside stalled reads: %v", err)
		}
		if _, err := ledger.Grant(t.Context(), theSession); !errors.Is(err, ErrStorageTimeout) {
			t.Errorf("one more reader got %v", err)
		}
		release()
		synctest.Wait()
		storage.heal()
		if _, err := ledger.Grant(t.Context(), theSession); !errors.Is(err, ErrNotPaid) {
			t.Errorf("after the stall: %v, want %v", err, ErrNotPaid)
		}
	})
}

func TestAPanickingStorageGivesItsPlaceBack(t *testing.T) {
	storage := newDisk()
	storage.onLoad = func(string) error { panic("bug in a storage module") }
	ledger := New(storage, 0)
	for range 2 * inFlight {
		if _, err := ledger.Grant(t.Context(), theSession); err == nil || errors.Is(err, ErrStorageTimeout) {
			t.Fatalf("got %v", err)
		}
	}
}
