package ledger_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/ledger"
)

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
	if _, err := held.Exec(lock); err != nil {
		t.Fatal(err)
	}
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

// A double charge is reported once, and the order of the payments does not matter.
func TestDoubleChargesInAnyOrder(t *testing.T) {
	onEach(t, func(t *testing.T, on backend) {
		wrong, first, second := payment("a", "wrong"), payment("a", "first"), payment("a", "second")
		wrong.Mismatch = true
		for _, test := range []struct {
			payments []ledger.Payment
			reported []bool
			doubles  int
		}{
			{[]ledger.Payment{first, second, second}, []bool{false, true, false}, 1},
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
				reported = append(reported, recorded.DoubleCharge && recorded.New)
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
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Poll(t.Context(), ledger.Position{}); err == nil {
		t.Fatal("the poll succeeds")
	}
	for _, err := range w.List(t.Context(), ledger.Filter{}) {
		wantError(t, "list", err, ledger.ErrUnavailable)
	}
	_, err := w.Report(t.Context(), time.Time{}, time.Time{})
	wantError(t, "report", err, ledger.ErrUnavailable)
	_, err = w.Find(t.Context(), "nothing")
	wantError(t, "find", err, ledger.ErrUnavailable)
}

// A closed purchase is kept for as long as a token of it may live.
func TestT7ASweptPurchaseOpensNothing(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		w.pay(t, payment("a"))
		if _, err := w.Decide(t.Context(), ledger.PurchaseID("a"), ledger.Revoke, ""); err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct{ days, swept int }{{300, 0}, {101, 1}} {
			w.clock.advance(time.Duration(step.days) * 24 * time.Hour)
			swept, err := w.Sweep(t.Context(), w.clock.now().Add(-60*24*time.Hour))
			if err != nil || swept.Purchases != step.swept {
				t.Errorf("%d days later: %d purchases swept, want %d: %v", step.days, swept.Purchases, step.swept, err)
			}
		}
	})
}
