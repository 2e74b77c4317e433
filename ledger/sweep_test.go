package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/ledger"
)

func (w world) sweep(t testing.TB, before time.Time) ledger.Swept {
	t.Helper()
	swept, err := w.Sweep(context.Background(), before)
	if err != nil {
		t.Fatal(err)
	}
	return swept
}

// rowsOf counts the rows of every table.
func (w world) rowsOf(t testing.TB) map[string]int {
	t.Helper()
	counts, err := w.CountRows(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return counts
}

func TestSweepDeletesEverythingOfAPurchaseThatEnded(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		empty := w.rowsOf(t)
		id := w.payAt(t, 0, payment("a", "pay_a", "pi_a"))
		other := extension("b", "a")
		other.Terms.Devices = 7 // terms of its own
		w.payAt(t, day, other)
		w.tell(t, event(ledger.EventDisputed, "", "pi_a", "ch_a"))
		w.tell(t, event(ledger.EventDisputeWon, "a"))
		must(t, w.AddDevice(t.Context(), id, ledger.Device{ID: "d"}))
		must(t, w.Claim(t.Context(), id, ledger.Device{ID: "d"}))
		for _, kind := range []ledger.DecisionKind{ledger.Revoke, ledger.Restore} {
			must(t, errorOf(w.Decide(t.Context(), id, kind, "")))
		}
		end := start.Add(60 * day)
		if swept := w.sweep(t, end); swept.Purchases != 0 || swept.Events != 0 {
			t.Fatalf("too early: %+v", swept)
		}
		if swept := w.sweep(t, end.Add(time.Second)); swept.Purchases != 1 || swept.Events != 2 {
			t.Fatalf("%+v", swept)
		}
		for table, rows := range w.rowsOf(t) {
			if rows != empty[table] {
				t.Errorf("table %s has %d rows, before %d", table, rows, empty[table])
			}
		}
	})
}

// tokenLife is how long a token may live.
const tokenLife = 400 * day

func TestSweepOfEachKind(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		for _, session := range []string{"refunded", "lost", "disputed", "revoked"} {
			w.pay(t, lifelong(session))
		}
		w.tell(t, event(ledger.EventRefunded, "refunded"))
		w.tell(t, event(ledger.EventDisputeLost, "lost"))
		w.tell(t, event(ledger.EventDisputed, "disputed"))
		must(t, errorOf(w.Decide(t.Context(), ledger.PurchaseID("revoked"), ledger.Revoke, "")))
		for _, p := range []ledger.Payment{
			payment("ended"), lifelong("without expiry"), payment("lasting"), extension("more", "lasting"), extension("still more", "lasting"),
			payment("refunded lately"), underpaid(t, "mismatched"),
		} {
			w.pay(t, p)
		}
		w.tellAt(t, 60*day, event(ledger.EventRefunded, "refunded lately"))
		w.clock.advance(tokenLife - 10*day)
		w.sweep(t, start.Add(60*day))
		for session, isSwept := range map[string]bool{
			"ended": true, "without expiry": false, "lasting": false, "refunded": true, "lost": true, "revoked": true,
			"refunded lately": false, "disputed": false, "mismatched": true,
		} {
			if got := w.status(t, session); (got == "none") != isSwept {
				t.Errorf("%s: %s", session, got)
			}
		}
	})
}

func lifelong(session string) ledger.Payment {
	p := payment(session)
	p.Terms.Access = -1
	return p
}

func TestSweepKeepsTermsThatOthersShare(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		w.payAt(t, 0, payment("a"))
		w.payAt(t, 40*day, payment("b"))
		w.sweep(t, start.Add(40*day))
		if rows := w.rowsOf(t); rows["payments"] != 1 || rows["terms"] != 1 {
			t.Errorf("%v", rows)
		}
	})
}

func TestSweepOfEventsThatMatchNothing(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		w.pay(t, lifelong("a"))
		w.tell(t, event(ledger.EventRefunded, "", "pay_of nobody"))
		w.tell(t, event(ledger.EventDisputed, "nobody"))
		w.tell(t, event(ledger.EventDisputed, "a"))
		w.tell(t, event(ledger.EventDisputeWon, "", "pay_a"))
		w.tellAt(t, 50*day, event(ledger.EventRefunded, "nobody lately"))
		if swept := w.sweep(t, start.Add(40*day)); swept.Events != 2 || swept.Purchases != 0 {
			t.Errorf("%+v", swept)
		}
		if rows := w.rowsOf(t); rows["events"] != 3 || rows["event_ids"] != 1 {
			t.Errorf("%v", rows)
		}
	})
}

func TestSweepKeepsTheNewestChange(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		w.pay(t, lifelong("a"))
		w.tell(t, event(ledger.EventDisputed, "a"))
		w.tell(t, event(ledger.EventDisputeWon, "a"))
		position := w.poll(t, ledger.Position{}).Position
		w.sweep(t, start.Add(40*day))
		if rows := w.rowsOf(t); rows["changes"] != 1 {
			t.Errorf("%v", rows)
		}
		if changes := w.poll(t, position); changes.All {
			t.Error("the feed does not hold the position")
		}
	})
}

func TestSweepWorksInBatches(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		ledger.Fill(t, w.Ledger, 3000)
		var events []string
		for i := range 1200 {
			events = append(events, fmt.Sprintf("('none %d', 'refunded', 'nobody', 1, 1)", i))
		}
		must(t, w.Exec(t.Context(), `INSERT INTO events (id, kind, session_id, occurred_at, received_at) VALUES `+strings.Join(events, ", ")))
		// All but the lifelong ones: one in a hundred.
		w.clock.advance(10 * 365 * day)
		if swept := w.sweep(t, ledger.FillStart.AddDate(5, 0, 0)); swept.Purchases != 2970 || swept.Events != 1260 { // of which 60 had a payment
			t.Errorf("%+v", swept)
		}
		if rows := w.rowsOf(t); rows["payments"] != 30 || rows["purchases"] != 30 || rows["devices"] != 30 || rows["events"] != 0 {
			t.Errorf("%v", rows)
		}
	})
}

func TestSweepBesidePayments(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		ledger.Fill(t, w.Ledger, 5000)
		var payments sync.WaitGroup
		for i := range 50 {
			payments.Go(func() { w.pay(t, payment(fmt.Sprintf("new %d", i))) })
		}
		w.sweep(t, ledger.FillStart)
		payments.Wait()
		if rows := w.rowsOf(t); rows["payments"] != 5000-50+50 {
			t.Errorf("%v", rows)
		}
	})
}

func TestSweepStopsWithItsContext(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		w.pay(t, payment("a"))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := w.Sweep(ctx, start.Add(99*day)); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}
