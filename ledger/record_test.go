package ledger_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/token"
)

func TestAPurchaseSaysWhatWasSold(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		p := payment("cs_1", "pay_1", "pay_2")
		p.Metadata, p.Terms.Downloads = map[string]string{"order": "7"}, 4
		recorded, err := w.RecordPayment(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		want := ledger.Purchase{
			ID: ledger.PurchaseID("cs_1"), Site: "https://example.com", Product: "premium", Resource: "*", Status: ledger.Active,
			StartsAt: start, EndsAt: start.AddDate(0, 0, 30), CreatedAt: start, DeviceLimit: 3, DownloadLimit: 4,
		}
		if recorded.Purchase != want || !recorded.New || recorded.DoubleCharge {
			t.Errorf("recorded %+v", recorded)
		}
		details, err := w.Details(t.Context(), recorded.Purchase.ID)
		must(t, err)
		stored := details.Payments[0]
		if !stored.Paid.Equal(p.Paid) || !stored.Terms.Price.Equal(p.Terms.Price) || stored.Metadata["order"] != "7" ||
			stored.Terms.Access != p.Terms.Access || !slices.Equal(stored.PaymentIDs, p.PaymentIDs) || stored.Source != ledger.FromAxra {
			t.Errorf("the payment is %+v", stored)
		}
		holding, err := w.HoldingOfSession(t.Context(), "cs_1")
		if err != nil || holding.Purchase != want {
			t.Errorf("the holding is %+v, %v", holding, err)
		}
		w.clock.advance(30 * 24 * time.Hour)
		if got := w.status(t, "cs_1"); got != ledger.Expired {
			t.Errorf("after 30 days it is %s", got)
		}
	})
}

func TestALateWebhookCostsNoBoughtTime(t *testing.T) {
	onEach(t, func(t *testing.T, on backend) {
		for _, test := range []struct {
			name string
			age  time.Duration
			want time.Time
		}{
			{"at once", 0, start},
			{"five minutes old", 5 * time.Minute, start.Add(-5 * time.Minute)},
			{"older", 5*time.Minute + time.Second, start},
			{"from the future", -time.Second, start},
		} {
			w := newWorld(t, on)
			p := at(-test.age, payment("a"))
			w.pay(t, p)
			w.clock.advance(time.Hour)
			p.PaidAt = w.clock.now()
			w.pay(t, p) // a second delivery changes nothing
			holding, err := w.HoldingOfSession(t.Context(), "a")
			if err != nil || !holding.StartsAt.Equal(test.want) {
				t.Errorf("%s: the purchase starts at %s, want %s, %v", test.name, holding.StartsAt, test.want, err)
			}
		}
	})
}

func TestW6AHundredDeliveriesAreOnePayment(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		var callers sync.WaitGroup
		var mu sync.Mutex
		news := 0
		for range 100 {
			callers.Go(func() {
				recorded, err := w.RecordPayment(context.Background(), payment("a", "p", "q"))
				wantError(t, "a delivery", err, nil)
				mu.Lock()
				defer mu.Unlock()
				if recorded.New {
					news++
				}
				if recorded.DoubleCharge {
					t.Error("a delivery that comes again is no double charge")
				}
			})
		}
		callers.Wait()
		if news != 1 {
			t.Errorf("%d deliveries were new", news)
		}
	})
}

func TestAHalfDeliveryIsHealed(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		w.pay(t, payment("a", "p", "q"))
		w.tell(t, event(ledger.EventRefunded, "", "q"))
		for _, statement := range []string{
			`DELETE FROM payment_ids`, `DELETE FROM purchases`, `DELETE FROM event_ids`,
		} {
			must(t, w.Exec(t.Context(), statement))
			w.tell(t, event(ledger.EventRefunded, "", "q"))
			w.pay(t, payment("a", "p", "q"))
			if got := w.status(t, "a"); got != ledger.Refunded {
				t.Errorf("after %s and another delivery it is %s", statement, got)
			}
		}
	})
}

func TestRecordedEventsSayWhatChanged(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		recorded, err := w.RecordEvent(t.Context(), event(ledger.EventRefunded, "", "p"))
		if err != nil || !recorded.New || recorded.Purchase.ID != "" || recorded.Payment.SessionID != "" {
			t.Errorf("before the payment: %+v, %v", recorded, err)
		}
		w.pay(t, payment("b", "q"))
		recorded, err = w.RecordEvent(t.Context(), event(ledger.EventRefunded, "", "q"))
		if err != nil || recorded.Purchase.Status != ledger.Refunded || recorded.Payment.SessionID != "b" {
			t.Errorf("after the payment: %+v, %v", recorded, err)
		}
		recorded, err = w.RecordEvent(t.Context(), event(ledger.EventRefunded, "", "q"))
		if err != nil || recorded.New || recorded.Purchase.Status != ledger.Refunded {
			t.Errorf("again: %+v, %v", recorded, err)
		}
	})
}

func TestTheOperatorClosesWhateverThePaymentsSay(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		id := w.pay(t, payment("a"))
		decide := func(kind ledger.DecisionKind, want error, status ledger.Status) {
			t.Helper()
			purchase, err := w.Decide(t.Context(), id, kind, "note")
			wantError(t, string(kind), err, want)
			if got := w.status(t, "a"); got != status || want == nil && purchase.Status != status {
				t.Errorf("%s: it is %s, want %s", kind, got, status)
			}
		}
		decide(ledger.Restore, nil, ledger.Active)
		decide(ledger.Revoke, nil, ledger.Revoked)
		decide(ledger.Revoke, nil, ledger.Revoked)
		w.pay(t, extension("b", "a"))
		if got := w.status(t, "b"); got != ledger.Revoked {
			t.Errorf("after an extension it is %s", got)
		}
		w.tell(t, event(ledger.EventRefunded, "a"))
		w.tell(t, event(ledger.EventRefunded, "b"))
		if got := w.status(t, "a"); got != ledger.Revoked {
			t.Errorf("after refunds it is %s", got)
		}
		decide(ledger.Restore, nil, ledger.Refunded)
		_, err := w.Decide(t.Context(), "unknown", ledger.Revoke, "")
		wantError(t, "an unknown purchase", err, ledger.ErrNotFound)
	})
}

func TestWhatIsGivenIsAPurchase(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		gift := ledger.Payment{Source: ledger.FromOperator, Terms: month(), Note: "for the press"}
		give := func() (ledger.Purchase, error) {
			recorded, err := w.RecordPayment(t.Context(), gift)
			return recorded.Purchase, err
		}
		first, err := give()
		if err != nil || first.Status != ledger.Active || !first.EndsAt.Equal(start.AddDate(0, 0, 30)) {
			t.Errorf("given: %+v, %v", first, err)
		}
		second, err := give()
		if err != nil || second.ID == first.ID {
			t.Errorf("given again: %+v, %v", second, err)
		}
		gift.Terms.Extends = first.ID
		third, err := give()
		if err != nil || third.ID != first.ID || !third.EndsAt.Equal(start.AddDate(0, 0, 60)) {
			t.Errorf("given as an extension: %+v, %v", third, err)
		}
	})
}

func TestDevices(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		id := w.pay(t, payment("a"))
		add := func(what, device string, want error) {
			t.Helper()
			wantError(t, what, w.AddDevice(t.Context(), id, ledger.Device{ID: device, Label: "a phone"}), want)
		}
		add("the first", "1", nil)
		add("the second", "2", nil)
		add("the third", "3", nil)
		add("one more", "4", ledger.ErrNoneLeft)
		add("the first again", "1", nil)
		wantError(t, "removing", w.RemoveDevice(t.Context(), id, "1"), nil)
		wantError(t, "removing again", w.RemoveDevice(t.Context(), id, "1"), nil)
		wantError(t, "removing an unknown one", w.RemoveDevice(t.Context(), id, "5"), ledger.ErrNotFound)
		add("the removed one", "1", ledger.ErrInactive)
		add("another in its place", "4", nil)
		holding, err := w.Holding(t.Context(), id)
		if err != nil || !slices.Equal(holding.DeviceIDs, []string{"2", "3", "4"}) {
			t.Errorf("the devices are %v, %v", holding.DeviceIDs, err)
		}
		w.clock.advance(30 * 24 * time.Hour)
		add("one of an expired purchase", "2", ledger.ErrInactive)
		id = "unknown"
		add("one of an unknown purchase", "1", ledger.ErrNotFound)
	})
}

func TestClaims(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		id := w.pay(t, payment("a"))
		for _, test := range []struct {
			device string
			want   error
		}{{"1", nil}, {"1", nil}, {"2", ledger.ErrNoneLeft}} {
			err := w.Claim(t.Context(), id, ledger.Device{ID: test.device})
			wantError(t, "a claim by "+test.device, err, test.want)
		}
		wantError(t, "an unknown purchase", w.Claim(t.Context(), "unknown", ledger.Device{ID: "1"}), ledger.ErrNotFound)
		w.tell(t, event(ledger.EventRefunded, "a"))
		wantError(t, "a refunded purchase", w.Claim(t.Context(), id, ledger.Device{ID: "1"}), ledger.ErrInactive)
	})
}

func TestDownloadWindows(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		p := payment("a")
		p.Terms.Downloads = 2
		id := w.pay(t, p)
		open := func(what string, want error, ends time.Time) {
			t.Helper()
			got, err := w.OpenDownload(t.Context(), id, 24*time.Hour)
			wantError(t, what, err, want)
			if !got.Equal(ends) {
				t.Errorf("%s: the window ends at %s, want %s", what, got, ends)
			}
		}
		open("the first", nil, start.Add(24*time.Hour))
		w.clock.advance(23 * time.Hour)
		open("the same window", nil, start.Add(24*time.Hour))
		w.clock.advance(time.Hour)
		open("the second", nil, start.Add(48*time.Hour))
		w.tell(t, event(ledger.EventDisputed, "a"))
		open("an open window of a disputed purchase", nil, start.Add(48*time.Hour))
		w.clock.advance(24 * time.Hour)
		open("a disputed purchase", ledger.ErrInactive, time.Time{})
		w.tell(t, event(ledger.EventDisputeWon, "a"))
		open("one more", ledger.ErrNoneLeft, time.Time{})
		id = "unknown"
		open("an unknown purchase", ledger.ErrNotFound, time.Time{})
	})
}

func TestK4KeysAreMadeOnce(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		first, err := w.Keys(t.Context())
		if err != nil || first.Installation == "" || len(first.Keys) != 0 {
			t.Fatalf("the installation is %+v, %v", first, err)
		}
		key := token.StoredKey{ID: "k1", Algorithm: "EdDSA", Secret: []byte{0, 255}, CreatedAt: start, SignFrom: start.Add(time.Minute)}
		position := w.poll(t, ledger.Position{}).Position
		set, err := w.ChangeKeys(t.Context(), func(set token.KeySet) ([]token.StoredKey, error) { return append(set.Keys, key), nil })
		if err != nil || set.Installation != first.Installation || len(set.Keys) != 1 {
			t.Fatalf("with a key it is %+v, %v", set, err)
		}
		if got := set.Keys[0]; got.ID != "k1" || string(got.Secret) != "\x00\xff" || !got.SignFrom.Equal(key.SignFrom) {
			t.Errorf("the key is %+v", got)
		}
		if changes := w.poll(t, position); !changes.Keys || changes.All || len(changes.PurchaseIDs) > 0 {
			t.Errorf("the poll says %+v", changes)
		}
		mistake := errors.New("mistake")
		_, err = w.ChangeKeys(t.Context(), func(token.KeySet) ([]token.StoredKey, error) { return nil, mistake })
		wantError(t, "an edit that fails", err, mistake)
		set, err = w.ChangeKeys(t.Context(), func(token.KeySet) ([]token.StoredKey, error) { return []token.StoredKey{}, nil })
		if err != nil || len(set.Keys) != 0 {
			t.Errorf("without keys it is %+v, %v", set, err)
		}
	})
}

func TestT7TheFeedSaysWhatTokensMayNoLongerDo(t *testing.T) {
	onEach(t, func(t *testing.T, on backend) {
		var told []string
		o := on.location(t)
		o.OnChange = func(ids []string, keys bool) { told = append(told, fmt.Sprint(len(ids), keys)) }
		w := openWorld(t, o)
		var id string
		position := w.poll(t, ledger.Position{}).Position
		for _, test := range []struct {
			name    string
			do      func()
			changes int // in the feed
			told    []string
		}{
			{"a new purchase", func() { id = w.pay(t, payment("a")) }, 0, nil},
			{"the same payment again", func() { w.pay(t, payment("a")) }, 0, nil},
			{"a device", func() { w.AddDevice(t.Context(), id, ledger.Device{ID: "1"}) }, 0, []string{"1 false"}},
			{"the same device", func() { w.AddDevice(t.Context(), id, ledger.Device{ID: "1"}) }, 0, nil},
			{"a removed device", func() { w.RemoveDevice(t.Context(), id, "1") }, 1, []string{"1 false"}},
			{"a download", func() { w.OpenDownload(t.Context(), id, time.Hour) }, 0, []string{"1 false"}},
			{"an extension", func() { w.pay(t, extension("b", "a")) }, 1, []string{"1 false"}},
			{"a refund of one of two", func() { w.tell(t, event(ledger.EventRefunded, "a")) }, 1, []string{"1 false"}},
			{"a refund of nothing", func() { w.tell(t, event(ledger.EventRefunded, "x")) }, 0, nil},
			{"a refund of the other", func() { w.tell(t, event(ledger.EventRefunded, "b")) }, 1, []string{"1 false"}},
			{"another event about it", func() { w.tell(t, event(ledger.EventDisputed, "b")) }, 0, nil},
			{"a decision", func() { w.Decide(t.Context(), id, ledger.Revoke, "") }, 1, []string{"1 false"}},
		} {
			told = nil
			test.do()
			changes := w.poll(t, position)
			if len(changes.PurchaseIDs) != test.changes || changes.All || changes.Keys {
				t.Errorf("%s: the poll says %+v", test.name, changes)
			}
			if test.changes > 0 && !slices.Equal(changes.PurchaseIDs, []string{id}) {
				t.Errorf("%s: the poll names %v", test.name, changes.PurchaseIDs)
			}
			if !slices.Equal(told, test.told) {
				t.Errorf("%s: OnChange heard %v, want %v", test.name, told, test.told)
			}
			position = changes.Position
		}
	})
}

func TestManyChangesAreAllChanges(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		position := w.poll(t, ledger.Position{}).Position
		w.addChanges(t, 1000)
		if changes := w.poll(t, position); changes.All || len(changes.PurchaseIDs) != 1000 {
			t.Errorf("after 1,000 changes the poll says all %v, %d", changes.All, len(changes.PurchaseIDs))
		}
		w.addChanges(t, 1)
		changes := w.poll(t, position)
		if !changes.All {
			t.Errorf("after 1,001 changes the poll says %d", len(changes.PurchaseIDs))
		}
		if changes = w.poll(t, changes.Position); changes.All || len(changes.PurchaseIDs) > 0 {
			t.Errorf("the next poll says %+v", changes)
		}
	})
}

// addChanges adds rows to the change feed by SQL.
func (w world) addChanges(t *testing.T, n int) {
	t.Helper()
	for _, statement := range []string{
		fmt.Sprintf(`INSERT INTO changes (seq, nonce, purchase_id, at)
			WITH RECURSIVE numbers (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < %d)
			SELECT seq + i, 'nonce ' || (seq + i), 'purchase ' || (seq + i), 0 FROM feed CROSS JOIN numbers`, n),
		fmt.Sprintf(`UPDATE feed SET seq = seq + %d, nonce = 'nonce ' || (seq + %d)`, n, n),
	} {
		must(t, w.Exec(t.Context(), statement))
	}
}

func TestACallerThatStopsWaitingIsNotAnswered(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := w.RecordPayment(ctx, payment("a"))
		wantError(t, "a payment", err, ledger.ErrUnavailable)
		wantError(t, "a payment", err, context.Canceled)
		w.pay(t, payment("b"))
	})
}

// holdWriteLock lets another program hold the write lock until release is called.
func holdWriteLock(t *testing.T, location ledger.Options) (release func()) {
	t.Helper()
	driver, source, lock := "sqlite", "file:"+location.Path+"?_txlock=immediate", `SELECT 1`
	if location.URL != "" {
		driver, source, lock = "pgx", location.URL, `SELECT seq FROM axra.feed FOR UPDATE`
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	held, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	must(t, errorOf(held.Exec(lock)))
	release = sync.OnceFunc(func() {
		held.Rollback() //nolint:errcheck // nothing was written
		db.Close()      //nolint:errcheck // a test
	})
	t.Cleanup(release)
	return release
}

// Whoever stops waiting for a write gets nothing of what it does afterwards; seen by the race detector.
func TestAWriteThatIsNotWaitedForReturnsNothing(t *testing.T) {
	onEach(t, func(t *testing.T, on backend) {
		for name, write := range map[string]func(ctx context.Context, w world) (bool, error){
			"download": func(ctx context.Context, w world) (bool, error) {
				ends, err := w.OpenDownload(ctx, ledger.PurchaseID("a"), time.Hour)
				return ends.IsZero(), err
			},
			"decision": func(ctx context.Context, w world) (bool, error) {
				purchase, err := w.Decide(ctx, ledger.PurchaseID("a"), ledger.Revoke, "")
				return purchase.ID == "", err
			},
		} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t, on)
				w.pay(t, payment("a"))
				time.AfterFunc(300*time.Millisecond, holdWriteLock(t, w.location))
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				if isEmpty, err := write(ctx, w); !isEmpty || !errors.Is(err, ledger.ErrUnavailable) {
					t.Errorf("empty: %v, %v", isEmpty, err)
				}
				w.pay(t, payment("b")) // after which the write has ended
			})
		}
	})
}

// A double charge is reported, and the order of the payments does not matter.
func TestDoubleChargesInAnyOrder(t *testing.T) {
	onEach(t, func(t *testing.T, on backend) {
		wrong, first, second := payment("a", "wrong"), payment("a", "first"), payment("a", "second")
		wrong.Mismatch = true
		for _, test := range []struct {
			payments []ledger.Payment
			reported []bool
			doubles  int
		}{
			{[]ledger.Payment{first, second, second, first}, []bool{false, true, true, false}, 1},
			{[]ledger.Payment{first, first}, []bool{false, false}, 0},
			{[]ledger.Payment{wrong, first}, []bool{false, false}, 0},
			{[]ledger.Payment{first, wrong}, []bool{false, false}, 0},
			{[]ledger.Payment{wrong, first, first}, []bool{false, false, false}, 0},
			{[]ledger.Payment{wrong, first, second}, []bool{false, false, true}, 1},
		} {
			w := newWorld(t, on)
			var reported []bool
			for _, p := range test.payments {
				recorded, err := w.RecordPayment(t.Context(), p)
				if err != nil {
					t.Fatal(err)
				}
				reported = append(reported, recorded.DoubleCharge)
				w.clock.advance(time.Second)
			}
			details, err := w.Details(t.Context(), ledger.PurchaseID("a"))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(reported, test.reported) || len(details.DoubleCharges) != test.doubles || details.Status != ledger.Active {
				t.Errorf("%v: reported %v, want %v; doubles %v", test.payments, reported, test.reported, details.DoubleCharges)
			}
		}
	})
}

// Operators are told that a file is gone, though it can still be read.
func TestD4OperatorsReadNoDeletedFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	w := openWorld(t, ledger.Options{Path: path})
	w.pay(t, payment("a"))
	w.poll(t, ledger.Position{})
	must(t, os.Remove(path))
	if _, err := w.Poll(t.Context(), ledger.Position{}); err == nil {
		t.Fatal("the poll succeeds")
	}
	_, err := w.List(t.Context(), ledger.Filter{})
	wantError(t, "list", err, ledger.ErrUnavailable)
	_, err = w.Report(t.Context(), time.Time{}, time.Time{})
	wantError(t, "report", err, ledger.ErrUnavailable)
}

// A closed purchase is kept for as long as a token of it may live.
func TestT7ASweptPurchaseOpensNothing(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		w.pay(t, payment("a"))
		must(t, errorOf(w.Decide(t.Context(), ledger.PurchaseID("a"), ledger.Revoke, "")))
		for _, step := range []struct{ days, swept int }{{300, 0}, {101, 1}} {
			w.clock.advance(time.Duration(step.days) * 24 * time.Hour)
			swept, err := w.Sweep(t.Context(), w.clock.now().Add(-60*24*time.Hour))
			if err != nil || swept.Purchases != step.swept {
				t.Errorf("%d days later: %d purchases swept, want %d: %v", step.days, swept.Purchases, step.swept, err)
			}
		}
	})
}
