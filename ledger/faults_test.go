package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-axra/paywall/ledger"
)

// copyOf closes nothing: it copies a ledger that is closed already.
func copyOf(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "copy.db")
	if err := os.WriteFile(to, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

// reopenedWith returns a ledger with payment "old", reopened, and an older copy of its file without it.
func reopenedWith(t *testing.T) (w world, older string) {
	t.Helper()
	w = newWorld(t, onSQLite)
	w.pay(t, payment("first"))
	w.Close()
	older = copyOf(t, w.Path())
	w = openWorld(t, ledger.Options{Path: w.Path()})
	w.pay(t, payment("old"))
	w.tell(t, event(ledger.EventRefunded, "first"))
	return w, older
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func TestD4AFileThatIsNotOursStopsTheLedgerUntilItIsRight(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		harm    func(t *testing.T, path, older string)
		putBack func(t *testing.T, path string)
	}{
		{"deleted", func(t *testing.T, path, _ string) { rename(t, path, path+".away") },
			func(t *testing.T, path string) { rename(t, path+".away", path) }},
		{"replaced by an older copy", func(t *testing.T, path, older string) {
			rename(t, path, path+".away")
			rename(t, older, path)
		}, func(t *testing.T, path string) { rename(t, path+".away", path) }},
		{"without its -wal", func(t *testing.T, path, _ string) { rename(t, path+"-wal", path+".away") },
			func(t *testing.T, path string) { rename(t, path+".away", path+"-wal") }},
		{"with an empty -shm", func(t *testing.T, path, _ string) {
			rename(t, path+"-shm", path+".away")
			if err := os.WriteFile(path+"-shm", nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, func(t *testing.T, path string) { rename(t, path+".away", path+"-shm") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, older := reopenedWith(t)
			position := w.poll(t, ledger.Position{}).Position
			test.harm(t, w.Path(), older)
			_, err := w.RecordPayment(t.Context(), payment("new"))
			wantError(t, "a payment", err, ledger.ErrForeign)
			wantError(t, "a payment", err, ledger.ErrUnavailable)
			w.wantStopped(t, position)
			test.putBack(t, w.Path())
			w.poll(t, position)
			w.pay(t, payment("new"))
			if got := w.status(t, "old"); got != ledger.Active {
				t.Errorf("afterwards the old payment is %s", got)
			}
			if got := w.status(t, "never"); got != "none" {
				t.Errorf("afterwards an unknown payment is %s", got)
			}
			if lines := w.log.errors(); len(lines) != 1 {
				t.Errorf("%d errors in the log: %q", len(lines), lines)
			}
		})
	}
}

// wantStopped checks that nothing is acknowledged and that nothing counts as not paid.
func (w world) wantStopped(t *testing.T, since ledger.Position) {
	t.Helper()
	for range 3 {
		_, err := w.Poll(t.Context(), since)
		wantError(t, "a poll", err, ledger.ErrUnavailable)
	}
	_, err := w.RecordEvent(t.Context(), event(ledger.EventRefunded, "old"))
	wantError(t, "an event", err, ledger.ErrUnavailable)
	_, err = w.ChangeKeys(t.Context(), noChange)
	wantError(t, "a change of keys", err, ledger.ErrUnavailable)
	for _, session := range []string{"old", "first", "never"} {
		if _, err := w.HoldingOfSession(t.Context(), session); errors.Is(err, ledger.ErrNotFound) {
			t.Errorf("%s is not found", session)
		}
		if _, err := w.Holding(t.Context(), ledger.PurchaseID(session)); errors.Is(err, ledger.ErrNotFound) {
			t.Errorf("the purchase of %s is not found", session)
		}
	}
	if w.Err() == nil {
		t.Error("the ledger can be sold from")
	}
}

func TestD4ATruncatedFileIsNoticed(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{0, 4096, 100_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			w := newWorld(t, onSQLite)
			for i := range 300 {
				w.pay(t, payment(fmt.Sprint("p", i)))
			}
			w.Close()
			w = openWorld(t, ledger.Options{Path: w.Path()})
			position := w.poll(t, ledger.Position{}).Position
			if err := os.Truncate(w.Path(), size); err != nil {
				t.Fatal(err)
			}
			for i := range 300 {
				if _, err := w.HoldingOfSession(t.Context(), fmt.Sprint("p", i)); errors.Is(err, ledger.ErrNotFound) {
					t.Fatalf("payment %d is not found", i)
				}
			}
			w.wantStopped(t, position)
		})
	}
}

func TestD4AnEmptiedOrForeignDatabaseIsNoticed(t *testing.T) {
	onEach(t, func(t *testing.T, on backend) {
		for _, statement := range []string{
			`UPDATE installation SET id = 'another'`,
			`DELETE FROM installation`,
		} {
			t.Run(statement, func(t *testing.T) {
				w := newWorld(t, on)
				w.pay(t, payment("old"))
				position := w.poll(t, ledger.Position{}).Position
				if err := w.Exec(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
				_, err := w.HoldingOfSession(t.Context(), "never")
				wantError(t, "a look-up", err, ledger.ErrForeign)
				w.wantStopped(t, position)
				if lines := w.log.errors(); len(lines) != 1 {
					t.Errorf("%d errors in the log: %q", len(lines), lines)
				}
			})
		}
	})
}

func TestD1AFullDiskAcknowledgesNothingAndLosesNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	w := openWorld(t, ledger.WithPragmas(ledger.Options{Path: path}, "max_page_count(60)"))
	var stored []string
	var failure error
	for i := 0; failure == nil && i < 10_000; i++ {
		p := payment(fmt.Sprint("p", i))
		if _, failure = w.RecordPayment(t.Context(), p); failure == nil {
			stored = append(stored, p.SessionID)
		}
	}
	wantError(t, "the last payment", failure, ledger.ErrUnavailable)
	if w.Err() == nil {
		t.Error("a full ledger can be sold from")
	}
	for _, session := range stored {
		if got := w.status(t, session); got != ledger.Active {
			t.Fatalf("%s is %s", session, got)
		}
	}
	lost := fmt.Sprint("p", len(stored))
	if got := w.status(t, lost); got != "none" {
		t.Errorf("the payment that failed is %s", got)
	}
	w.Close()
	w = openWorld(t, ledger.Options{Path: path})
	w.pay(t, payment(lost))
	if err := w.Err(); err != nil {
		t.Errorf("with room again the ledger says %v", err)
	}
}

func TestD1AReadOnlyLedgerAcknowledgesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onSQLite)
	w.pay(t, payment("old"))
	w.Close()
	clock := newClock()
	l := ledger.New(ledger.WithPragmas(ledger.Options{Path: w.Path(), Now: clock.now}, "query_only(1)"))
	defer l.Close()
	if _, err := l.Open(t.Context()); err != nil {
		wantError(t, "opening", err, ledger.ErrUnavailable)
		return
	}
	_, err := l.RecordPayment(t.Context(), payment("new"))
	wantError(t, "a payment", err, ledger.ErrUnavailable)
	if l.Err() == nil {
		t.Error("a read-only ledger can be sold from")
	}
	_, err = l.HoldingOfSession(t.Context(), "old")
	wantError(t, "a look-up", err, nil)
}

func TestOneFailureInABatchFailsOnlyItself(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		fails := `CREATE TRIGGER fails BEFORE INSERT ON payments WHEN new.session_id LIKE 'bad%'
			BEGIN SELECT RAISE(ABORT, 'bad'); END`
		if w.location.URL != "" {
			fails = `ALTER TABLE payments ADD CHECK (session_id NOT LIKE 'bad%')`
		}
		if err := w.Exec(t.Context(), fails); err != nil {
			t.Fatal(err)
		}
		var payers sync.WaitGroup
		for i := range 64 {
			session := fmt.Sprint([]string{"good", "bad"}[i%8/7], i)
			payers.Go(func() {
				_, err := w.RecordPayment(context.Background(), payment(session))
				if strings.HasPrefix(session, "bad") {
					wantError(t, session, err, ledger.ErrUnavailable)
				} else {
					wantError(t, session, err, nil)
				}
			})
		}
		payers.Wait()
		for i := range 64 {
			if i%8 != 7 && w.status(t, fmt.Sprint("good", i)) != ledger.Active {
				t.Errorf("payment %d was acknowledged and is lost", i)
			}
		}
	})
}

func TestAFeedThatWentBackDropsEverything(t *testing.T) {
	t.Parallel()
	w, older := reopenedWith(t)
	position := w.poll(t, ledger.Position{}).Position
	err := w.Swap(t.Context(), func(path string) error {
		os.Remove(path + "-wal")
		os.Remove(path + "-shm")
		return os.Rename(older, path)
	})
	if err != nil {
		t.Fatal(err)
	}
	changes := w.poll(t, position)
	if !changes.All || changes.Position == position {
		t.Errorf("the poll says %+v", changes)
	}
	if lines := w.log.errors(); len(lines) != 1 {
		t.Errorf("%d errors in the log: %q", len(lines), lines)
	}
	if got := w.status(t, "old"); got != "none" {
		t.Errorf("a payment that the older copy does not hold is %s", got)
	}
	// The same number of changes again does not bring back the old position.
	w.tell(t, event(ledger.EventDisputed, "first"))
	for i := range 5 { // more transactions than before
		w.pay(t, payment(fmt.Sprint("later", i)))
	}
	if changes := w.poll(t, position); !changes.All {
		t.Errorf("with as many changes as before, the poll says %+v", changes)
	}
}

func TestARestoredLedgerOfAnotherInstallationIsRefused(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t, onSQLite), newWorld(t, onSQLite)
	other.Close()
	err := w.Swap(t.Context(), func(path string) error {
		os.Remove(path + "-wal")
		os.Remove(path + "-shm")
		return os.Rename(other.Path(), path)
	})
	wantError(t, "the swap", err, ledger.ErrForeign)
	_, err = w.RecordPayment(t.Context(), payment("a"))
	wantError(t, "a payment", err, ledger.ErrForeign)
}

// A node that has just started reads what nothing is prepared for yet.
func TestD3ABurstAfterTheStartDoesNotWaitForItself(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		id := w.pay(t, payment("a"))
		for range 5 {
			cold := ledger.New(w.location)
			if _, err := cold.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			start := make(chan struct{})
			for range 32 {
				all.Go(func() {
					<-start
					if _, err := cold.Details(t.Context(), id); err != nil {
						t.Error(err)
					}
				})
			}
			close(start)
			all.Wait()
			if err := cold.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}
