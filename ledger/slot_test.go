package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var placeKinds = []Kind{Device, Fetch, Claimed}

func mustTake(t *testing.T, l *Ledger, limit int, holder string) int {
	t.Helper()
	slot, err := l.Take(t.Context(), Device, theSession, limit, holder, paidAt)
	if err != nil {
		t.Fatalf("a place of %d for %q: %v", limit, holder, err)
	}
	return slot
}

func mustHold(t *testing.T, l *Ledger, slot int, holder string, want bool) {
	t.Helper()
	if holds, err := l.Holds(t.Context(), Device, theSession, slot, holder); err != nil || holds != want {
		t.Errorf("place %d of %q: holds %t, %v, want %t", slot, holder, holds, err, want)
	}
}

func mustCount(t *testing.T, l *Ledger, limit, want int) {
	t.Helper()
	if taken, err := l.Taken(t.Context(), Device, theSession, limit); err != nil || taken != want {
		t.Errorf("%d of %d are taken, %v, want %d", taken, limit, err, want)
	}
}

// place is the key of a device's place.
func place(slot int) string { return key(Device, placeID(theSession, slot)) }

// heldBy is the record of a place as another node would write it.
func heldBy(t *testing.T, holder string) []byte {
	t.Helper()
	raw, err := Fact{Kind: Device, Session: theSession, At: paidAt, Holder: holder}.encode()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestPlacesAreGivenInTurnUntilNoneIsLeft(t *testing.T) {
	for _, kind := range placeKinds {
		t.Run(string(kind), func(t *testing.T) {
			ledger := New(newDisk(), 0)
			for i, holder := range []string{"a", "b", "c"} {
				if taken, err := ledger.Taken(t.Context(), kind, theSession, 3); err != nil || taken != i {
					t.Errorf("%d are taken, %v, want %d", taken, err, i)
				}
				slot, err := ledger.Take(t.Context(), kind, theSession, 3, holder, paidAt)
				if err != nil || slot != i+1 {
					t.Errorf("%q has place %d, %v, want %d", holder, slot, err, i+1)
				}
			}
			if slot, err := ledger.Take(t.Context(), kind, theSession, 3, "d", paidAt); !errors.Is(err, ErrNoneLeft) || slot != 0 {
				t.Errorf("a fourth has place %d, %v, want %v", slot, err, ErrNoneLeft)
			}
			for i, holder := range []string{"a", "b", "c"} {
				if holds, err := ledger.Holds(t.Context(), kind, theSession, i+1, holder); err != nil || !holds {
					t.Errorf("%q does not hold place %d, %v", holder, i+1, err)
				}
			}
			if taken, err := ledger.Taken(t.Context(), kind, theSession, 3); err != nil || taken != 3 {
				t.Errorf("%d are taken, %v, want 3", taken, err)
			}
			if slot, err := ledger.Take(t.Context(), kind, theSession, 4, "d", paidAt); err != nil || slot != 4 {
				t.Errorf("with a higher limit: place %d, %v, want 4", slot, err)
			}
			if taken, err := ledger.Taken(t.Context(), kind, theSession, 2); err != nil || taken != 2 {
				t.Errorf("with a lower limit: %d are taken, %v, want 2", taken, err)
			}
		})
	}
}

func TestAHolderKeepsItsPlaceHoweverOftenItAsks(t *testing.T) {
	storage := newDisk()
	ledger := New(storage, 0)
	for _, holder := range []string{"a", "b", "c"} {
		mustTake(t, ledger, 3, holder)
	}
	before := storage.copyOf()
	_, storesBefore := storage.counts()
	for range 10 {
		for i, holder := range []string{"a", "b", "c"} {
			slot, err := New(storage, 0).Take(t.Context(), Device, theSession, 3, holder, paidAt.Add(time.Hour))
			if err != nil || slot != i+1 {
				t.Fatalf("%q has place %d, %v, want %d", holder, slot, err, i+1)
			}
		}
	}
	if _, stores := storage.counts(); stores != storesBefore || !maps.Equal(before, storage.copyOf()) {
		t.Errorf("%d further stores", stores-storesBefore)
	}
}

func TestPlacesOfAnotherPurchaseOrKindAreOthers(t *testing.T) {
	storage := newDisk()
	ledger := New(storage, 0)
	form := regexp.MustCompile(`^axra/ledger/(device|fetch|claim)/[0-9a-f]{2}/[0-9a-f]{62}$`)
	sessions := []string{theSession, "CS_1", "cs_11", "cs_1#1", "cs_1#1#1", "#", "../../etc/passwd", strings.Repeat("x", 64<<10), "é", "e\u0301", "<&>\u2028"}
	holders := []string{"a", "A", "é", "e\u0301", "<&>\u2028", "a\x00", " ", "../..", "1", "2", strings.Repeat("x", 4<<10)}
	for _, kind := range placeKinds {
		for _, session := range sessions {
			for i, holder := range holders {
				slot, err := ledger.Take(t.Context(), kind, session, len(holders), holder, paidAt)
				if err != nil || slot != i+1 {
					t.Fatalf("%s of %.20q: %.20q has place %d, %v, want %d", kind, session, holder, slot, err, i+1)
				}
			}
		}
	}
	for _, key := range storage.keys() {
		if !form.MatchString(key) {
			t.Errorf("key %q", key)
		}
	}
	if got, want := len(storage.keys()), len(placeKinds)*len(sessions)*len(holders); got != want {
		t.Errorf("%d keys, want %d: places share records", got, want)
	}
}

func TestWhatIsNoPlaceCannotBeTaken(t *testing.T) {
	for _, test := range []struct {
		name    string
		kind    Kind
		session string
		limit   int
		holder  string
		at      time.Time
		counts  bool // whether Taken has an answer all the same
	}{
		{"no kind", "", theSession, 3, "a", paidAt, false},
		{"a fact of another kind", Paid, theSession, 3, "a", paidAt, false},
		{"an inner kind", eventful, theSession, 3, "a", paidAt, false},
		{"an invented kind", "../../paid", theSession, 3, "a", paidAt, false},
		{"no session", Device, "", 3, "a", paidAt, false},
		{"a session that is no text", Device, "\xff", 3, "a", paidAt, false},
		{"no places", Device, theSession, 0, "a", paidAt, false},
		{"fewer than no places", Device, theSession, -1, "a", paidAt, false},
		{"no holder", Device, theSession, 3, "", paidAt, true},
		{"a holder that is no text", Device, theSession, 3, "\xff", paidAt, true},
		{"a time that JSON has no form for", Device, theSession, 3, "a", time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			storage := newDisk()
			ledger := New(storage, 0)
			if slot, err := ledger.Take(t.Context(), test.kind, test.session, test.limit, test.holder, test.at); err == nil || errors.Is(err, ErrNoneLeft) || slot != 0 {
				t.Errorf("place %d, %v", slot, err)
			}
			if _, err := ledger.Taken(t.Context(), test.kind, test.session, test.limit); (err == nil) != test.counts {
				t.Errorf("counted: %v", err)
			}
			if keys := storage.keys(); len(keys) > 0 {
				t.Errorf("stored %v", keys)
			}
		})
	}
}

func TestNobodyHoldsAPlaceThatIsNotTheirs(t *testing.T) {
	ledger := New(newDisk(), 0)
	mustTake(t, ledger, 3, "a")
	mustTake(t, ledger, 3, "b")
	for _, test := range []struct {
		name, session, holder string
		slot                  int
	}{
		{"another's", theSession, "b", 1},
		{"one that nobody has", theSession, "a", 3},
		{"one of another session", "cs_2", "a", 1},
		{"one in another case", theSession, "A", 1},
		{"place zero", theSession, "a", 0},
		{"a negative place", theSession, "a", -1},
		{"without a session", "", "a", 1},
		{"without a holder", theSession, "", 1},
		{"without a holder, where nobody is", theSession, "", 3},
	} {
		if holds, err := ledger.Holds(t.Context(), Device, test.session, test.slot, test.holder); err != nil || holds {
			t.Errorf("%s: holds %t, %v", test.name, holds, err)
		}
	}
	for _, kind := range []Kind{Fetch, Claimed} {
		if holds, err := ledger.Holds(t.Context(), kind, theSession, 1, "a"); err != nil || holds {
			t.Errorf("a place of kind %s: holds %t, %v", kind, holds, err)
		}
	}
	for _, kind := range []Kind{"", Paid, link} {
		if holds, err := ledger.Holds(t.Context(), kind, theSession, 1, "a"); err == nil || holds {
			t.Errorf("a place of kind %q: holds %t, no error", kind, holds)
		}
	}
}

func TestARecordWithoutAHolderIsNobodysPlace(t *testing.T) {
	storage := newDisk()
	ledger := New(storage, 0)
	storage.put(place(1), heldBy(t, ""))
	mustCount(t, ledger, 3, 0)
	if slot := mustTake(t, ledger, 3, "a"); slot != 1 {
		t.Errorf("place %d, want 1", slot)
	}
}

func TestAGarbledPlaceIsFreeAndHealed(t *testing.T) {
	for name, mangle := range map[string]func([]byte) []byte{
		"empty":         func([]byte) []byte { return nil },
		"truncated":     truncate,
		"a flipped bit": garble,
	} {
		t.Run(name, func(t *testing.T) {
			storage := newDisk()
			ledger := New(storage, 0)
			for _, holder := range []string{"a", "b", "c"} {
				mustTake(t, ledger, 3, holder)
			}
			storage.put(place(2), mangle(heldBy(t, "b")))
			mustHold(t, ledger, 2, "b", false)
			mustCount(t, ledger, 3, 2)
			if slot := mustTake(t, ledger, 3, "c"); slot != 3 {
				t.Errorf("who is behind it has place %d now, want 3", slot)
			}
			if slot := mustTake(t, ledger, 3, "d"); slot != 2 {
				t.Errorf("place %d, want 2", slot)
			}
			mustHold(t, ledger, 2, "d", true)
			mustCount(t, ledger, 3, 3)
			if _, err := ledger.Take(t.Context(), Device, theSession, 3, "b", paidAt); !errors.Is(err, ErrNoneLeft) {
				t.Errorf("got %v, want %v", err, ErrNoneLeft)
			}
		})
	}
}

func TestD4AGarbledPlaceNeverHasAnotherHolder(t *testing.T) {
	storage := newDisk()
	ledger := New(storage, 0)
	mustTake(t, ledger, 1, "a")
	_, good := storage.record(t, Device)
	for i := range good {
		for bit := range 8 {
			mangled := append([]byte{}, good...)
			mangled[i] ^= 1 << bit
			storage.put(place(1), mangled)
			if holder, err := ledger.holder(t.Context(), Device, theSession, 1); err == nil && holder != "a" || err != nil && !errors.Is(err, ErrGarbled) {
				t.Errorf("bit %d of byte %d flipped: held by %q, %v", bit, i, holder, err)
			}
		}
	}
}

func TestWhoReadsBackAnotherHolderTriesTheNextPlace(t *testing.T) {
	for _, test := range []struct {
		limit, lost, want int
		err               error
	}{
		{3, 1, 2, nil},
		{3, 2, 3, nil},
		{3, 3, 0, ErrNoneLeft},
		{1, 1, 0, ErrNoneLeft},
	} {
		t.Run(fmt.Sprintf("%d of %d lost", test.lost, test.limit), func(t *testing.T) {
			storage := newDisk()
			ledger := New(storage, 0)
			stores := 0
			storage.mangle = func(_ string, value []byte) []byte {
				if stores++; stores <= test.lost {
					return heldBy(t, fmt.Sprintf("another node's %d", stores))
				}
				return value
			}
			slot, err := ledger.Take(t.Context(), Device, theSession, test.limit, "a", paidAt)
			if slot != test.want || !errors.Is(err, test.err) {
				t.Errorf("place %d, %v, want %d, %v", slot, err, test.want, test.err)
			}
			mustCount(t, ledger, test.limit, min(test.lost+1, test.limit))
		})
	}
}

func TestHoldsTellsWhoLostARaceBetweenNodes(t *testing.T) {
	storage := newDisk()
	ledger := New(storage, 0)
	slot := mustTake(t, ledger, 2, "a")
	mustHold(t, ledger, slot, "a", true)
	storage.put(place(slot), heldBy(t, "b")) // by a node that saw it free as well
	mustHold(t, ledger, slot, "a", false)
	mustHold(t, ledger, slot, "b", true)
	if again := mustTake(t, ledger, 2, "a"); again != 2 {
		t.Errorf("place %d, want 2", again)
	}
	mustHold(t, ledger, 2, "a", true)
	mustCount(t, ledger, 2, 2)
}

func TestThirtyTwoTakersOfThreePlaces(t *testing.T) {
	for _, ledgers := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d ledgers", ledgers), func(t *testing.T) {
			for round := range 20 {
				storage := newDisk()
				// Whoever looks is overtaken before they act on what they saw.
				storage.seen = func(string) { time.Sleep(10 * time.Microsecond) }
				nodes := make([]*Ledger, ledgers)
				for i := range nodes {
					nodes[i] = New(storage, 0)
				}
				var mu sync.Mutex
				holders := make(map[int]string)
				var takers sync.WaitGroup
				start := make(chan struct{})
				for i := range 32 {
					takers.Go(func() {
						<-start
						holder := fmt.Sprintf("holder %d", i)
						slot, err := nodes[i%ledgers].Take(t.Context(), Device, theSession, 3, holder, paidAt)
						if errors.Is(err, ErrNoneLeft) {
							return
						}
						if err != nil {
							t.Error(err)
							return
						}
						mu.Lock()
						defer mu.Unlock()
						if other, ok := holders[slot]; ok {
							t.Errorf("round %d: place %d is of %s and %s", round, slot, other, holder)
						}
						holders[slot] = holder
					})
				}
				close(start)
				takers.Wait()
				if len(holders) != 3 {
					t.Fatalf("round %d: %d have places, want 3: %v", round, len(holders), holders)
				}
				for slot, holder := range holders {
					mustHold(t, nodes[0], slot, holder, true)
				}
			}
		})
	}
}

func TestOneHolderWhoAsksThirtyTwoTimesAtOnceHasOnePlace(t *testing.T) {
	storage := newDisk()
	storage.seen = func(string) { time.Sleep(10 * time.Microsecond) }
	ledger := New(storage, 0)
	var requests sync.WaitGroup
	for range 32 {
		requests.Go(func() {
			if slot, err := ledger.Take(t.Context(), Device, theSession, 3, "a", paidAt); err != nil || slot != 1 {
				t.Errorf("place %d, %v, want 1", slot, err)
			}
		})
	}
	requests.Wait()
	if _, stores := storage.counts(); stores != 1 {
		t.Errorf("%d stores, want 1", stores)
	}
}

func TestWaitingForOtherTakersEndsWithTheContext(t *testing.T) {
	storage := newDisk()
	ledger := New(storage, 0)
	mustTake(t, ledger, 3, "a")
	_, before := storage.counts()
	turn := stripe(Device, theSession)
	turn <- struct{}{}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	slot, err := ledger.Take(ctx, Device, theSession, 3, "b", paidAt)
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrStorageTimeout) || slot != 0 {
		t.Errorf("place %d, %v", slot, err)
	}
	if _, stores := storage.counts(); stores != before {
		t.Error("stored out of turn")
	}
	if slot := mustTake(t, ledger, 3, "a"); slot != 1 {
		t.Errorf("who has a place already: %d, want 1", slot)
	}
	full, cancelFull := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancelFull()
	if _, err := ledger.Take(full, Device, theSession, 1, "b", paidAt); !errors.Is(err, ErrNoneLeft) {
		t.Errorf("where none is left: %v, want %v", err, ErrNoneLeft)
	}
	<-turn
	if slot := mustTake(t, ledger, 3, "b"); slot != 2 {
		t.Errorf("afterwards: place %d, want 2", slot)
	}
	select {
	case turn <- struct{}{}:
		<-turn
	default:
		t.Error("the turn was not given back")
	}
}

func TestAFailedTakeGivesItsTurnBack(t *testing.T) {
	storage := newDisk()
	ledger := New(storage, 0)
	for _, fault := range []func(string) error{
		func(string) error { return syscall.ENOSPC },
		func(string) error { panic("bug in a storage module") },
	} {
		storage.onStore = fault
		if slot, err := ledger.Take(t.Context(), Device, theSession, 3, "a", paidAt); err == nil || errors.Is(err, ErrNoneLeft) || slot != 0 {
			t.Errorf("place %d, %v", slot, err)
		}
	}
	storage.heal()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if slot, err := ledger.Take(ctx, Device, theSession, 3, "a", paidAt); err != nil || slot != 1 {
		t.Errorf("place %d, %v, want 1", slot, err)
	}
}

func TestD1AfterAnyFailedOperationTheHolderFindsOnePlace(t *testing.T) {
	for fault, inflict := range map[string]func(*disk, func() error){
		"fails":     func(d *disk, f func() error) { d.onLoad, d.onStore = ignoreKey(f), ignoreKey(f) },
		"truncates": func(d *disk, f func() error) { d.onLoad, d.mangle = ignoreKey(f), mangleIf(f, truncate) },
		"garbles":   func(d *disk, f func() error) { d.onLoad, d.mangle = ignoreKey(f), mangleIf(f, garble) },
		"panics":    func(d *disk, f func() error) { d.onLoad, d.onStore = ignoreKey(orPanic(f)), ignoreKey(orPanic(f)) },
	} {
		t.Run("storage "+fault, func(t *testing.T) {
			for step := 1; ; step++ {
				storage := newDisk()
				ledger := New(storage, 0)
				mustTake(t, ledger, 3, "another")
				done := 0
				inflict(storage, func() error {
					if done++; done == step {
						return syscall.ENOSPC
					}
					return nil
				})
				slot, err := ledger.Take(t.Context(), Device, theSession, 3, "a", paidAt)
				if done < step {
					if err != nil || slot != 2 || step < 5 {
						t.Fatalf("undisturbed, after %d steps: place %d, %v", step, slot, err)
					}
					return
				}
				if err == nil || errors.Is(err, ErrNoneLeft) || slot != 0 {
					t.Fatalf("operation %d failed: place %d, %v", step, slot, err)
				}
				storage.heal()
				if slot := mustTake(t, ledger, 3, "a"); slot != 2 {
					t.Fatalf("operation %d failed: place %d, want 2", step, slot)
				}
				mustCount(t, ledger, 3, 2)
			}
		})
	}
}

func TestD1APlaceThatStorageLosesIsNotBelieved(t *testing.T) {
	ledger := New(forgetful{newDisk()}, 0)
	if slot, err := ledger.Take(t.Context(), Device, theSession, 3, "a", paidAt); err == nil || errors.Is(err, ErrNoneLeft) || slot != 0 {
		t.Errorf("place %d, %v", slot, err)
	}
}

func TestD2AFailedLoadIsNoAnswerAboutPlaces(t *testing.T) {
	trouble := errors.New("input/output error")
	for _, broken := range []int{1, 2} {
		t.Run(fmt.Sprintf("place %d", broken), func(t *testing.T) {
			storage := newDisk()
			ledger := New(storage, 0)
			mustTake(t, ledger, 3, "a")
			mustTake(t, ledger, 3, "b")
			storage.onLoad = func(key string) error {
				if key == place(broken) {
					return trouble
				}
				return nil
			}
			if slot, err := ledger.Take(t.Context(), Device, theSession, 3, "c", paidAt); !errors.Is(err, trouble) || slot != 0 {
				t.Errorf("taken: place %d, %v", slot, err)
			}
			if taken, err := ledger.Taken(t.Context(), Device, theSession, 3); !errors.Is(err, trouble) || taken != 0 {
				t.Errorf("counted: %d, %v", taken, err)
			}
			if holds, err := ledger.Holds(t.Context(), Device, theSession, broken, "a"); !errors.Is(err, trouble) || errors.Is(err, fs.ErrNotExist) || holds {
				t.Errorf("held: %t, %v", holds, err)
			}
		})
	}
}

func TestWhatPlacesCost(t *testing.T) {
	storage := newDisk()
	ledger := New(storage, 0)
	for _, holder := range []string{"a", "b", "c"} {
		mustTake(t, ledger, 1_000_000, holder)
	}
	for _, test := range []struct {
		name  string
		do    func()
		loads int
	}{
		{"to ask for one's own again", func() { mustTake(t, ledger, 1_000_000, "b") }, 2},
		{"to count", func() { mustCount(t, ledger, 1_000_000, 3) }, 4},
		{"to count up to the limit", func() { mustCount(t, ledger, 2, 2) }, 2},
		{"to ask about one", func() { mustHold(t, ledger, 3, "c", true) }, 1},
		{"to take one", func() { mustTake(t, ledger, 1_000_000, "d") }, 4 + 3},
	} {
		before, _ := storage.counts()
		test.do()
		if loads, _ := storage.counts(); loads-before != test.loads {
			t.Errorf("%s: %d loads, want %d", test.name, loads-before, test.loads)
		}
	}
}

// Records as the first release wrote them, before there were holders.
var firstRecords = map[Kind]string{
	Paid: `{"v":1,"kind":"paid","session":"cs_1","payment":"bpay_1","at":"2025-06-01T12:00:01Z",` +
		`"terms":{"paywall_access":"2592000","paywall_amount":"5.00","paywall_currency":"usd","paywall_installation":"i",` +
		`"paywall_pass":"premium","paywall_resource":"*","paywall_site":"https://example.com","paywall_v":"1"},` +
		`"amount":"5","currency":"usd","sum":"010ab77dff4d9ac8d5d722ee018754f0"}`,
	Mismatch: `{"v":1,"kind":"mismatch","session":"cs_1","payment":"bpay_1","at":"2025-06-01T12:00:01Z",` +
		`"terms":{"paywall_access":"2592000","paywall_amount":"5.00","paywall_currency":"usd","paywall_installation":"i",` +
		`"paywall_pass":"premium","paywall_resource":"*","paywall_site":"https://example.com","paywall_v":"1"},` +
		`"amount":"5","currency":"usd","sum":"d4700a2d78dfabff5c6f831435f57f4c"}`,
	Refunded: `{"v":1,"kind":"refunded","session":"cs_1","payment":"bpay_1","at":"2025-06-01T13:00:00Z","sum":"a702a8527f0c9d275831c5f89751638a"}`,
	eventful: `{"v":1,"kind":"adverse","at":"0001-01-01T00:00:00Z","sum":"7fe475ea7ad0f10de200581cad6ebe95"}`,
	link:     `{"v":1,"kind":"link","session":"cs_1","payment":"bpay_1","at":"2025-06-01T12:00:01Z","sum":"db37f0148305979bdb11a3579584ba33"}`,
}

func TestRecordsOfTheFirstReleaseAreReadAndStillWritten(t *testing.T) {
	paid := paidFact(t, theSession, payment1)
	paid.At = paidAt.Add(time.Second)
	for kind, want := range map[Kind]Fact{
		Paid:     paid,
		Mismatch: func(f Fact) Fact { f.Kind = Mismatch; return f }(paid),
		Refunded: outcomeFact(Refunded, theSession, payment1),
		eventful: {Kind: eventful},
		link:     {Kind: link, Session: theSession, Payment: payment1, At: paid.At},
	} {
		t.Run(string(kind), func(t *testing.T) {
			got, err := decode([]byte(firstRecords[kind]), kind)
			if err != nil || !sameFact(got, want) {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
			want.Holder = "a" // which only places have
			if raw, err := want.encode(); err != nil || string(raw) != firstRecords[kind] {
				t.Errorf("written now: %s, %v, want %s", raw, err, firstRecords[kind])
			}
		})
	}
}

func TestAPlaceIsWrittenInThisForm(t *testing.T) {
	storage := newDisk()
	if _, err := New(storage, 0).Take(t.Context(), Claimed, theSession, 1, "a", paidAt.Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, raw := storage.record(t, Claimed)
	form := regexp.MustCompile(`^{"v":1,"kind":"claim","session":"cs_1","at":"2025-06-01T12:00:00Z","holder":"a","sum":"[0-9a-f]{32}"}$`)
	if !form.Match(raw) {
		t.Errorf("got %s", raw)
	}
}
