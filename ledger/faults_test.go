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
	"time"

	"github.com/caddy-axra/paywall/internal/pgtest"
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
	must(t, os.WriteFile(to, raw, 0o600))
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
	must(t, os.Rename(from, to))
}

// D1: a ledger that takes no payments, such as one of another build, is noticed when it is opened: nothing is sold then.
func TestD1ALedgerThatTakesNoPaymentsIsNoticedAtTheStart(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		w.pay(t, payment("old"))
		must(t, w.Exec(t.Context(), `ALTER TABLE payments RENAME COLUMN note TO remark`))
		w.Close()
		reopened := openWorld(t, w.location)
		if err := reopened.Err(); !errors.Is(err, ledger.ErrUnavailable) {
			t.Errorf("sales may go on: %v", err)
		}
		if holding, err := reopened.Holding(t.Context(), ledger.PurchaseID("old")); err != nil || holding.Status != ledger.Active {
			t.Errorf("the buyer has %q, %v", holding.Status, err)
		}
	})
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
			must(t, os.WriteFile(path+"-shm", nil, 0o600))
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
			must(t, os.Truncate(w.Path(), size))
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
				must(t, w.Exec(t.Context(), statement))
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
		must(t, w.Exec(t.Context(), fails))
		var payers sync.WaitGroup
		for i := range 16 {
			session := fmt.Sprint([]string{"good", "bad"}[i%4/3], i)
			payers.Go(func() {
				_, err := w.RecordPayment(context.Background(), payment(session))
				for tries := 0; err != nil && tries < 10; tries++ { // as Axra does
					_, err = w.RecordPayment(context.Background(), payment(session))
				}
				if strings.HasPrefix(session, "bad") {
					wantError(t, session, err, ledger.ErrUnavailable)
				} else {
					wantError(t, session, err, nil)
				}
			})
		}
		payers.Wait()
		for i := range 16 {
			if i%4 != 3 && w.status(t, fmt.Sprint("good", i)) != ledger.Active {
				t.Errorf("payment %d was acknowledged and is lost", i)
			}
		}
	})
}

func TestAFeedThatWentBackDropsEverything(t *testing.T) {
	t.Parallel()
	w, older := reopenedWith(t)
	position := w.poll(t, ledger.Position{}).Position
	w.Close()
	rename(t, older, w.Path())
	w = openWorld(t, ledger.Options{Path: w.Path()})
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

// A node that has just started reads what nothing is prepared for yet.
func TestD3ABurstAfterTheStartDoesNotWaitForItself(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		id := w.pay(t, payment("a"))
		for range 5 {
			cold := ledger.New(w.location)
			must(t, errorOf(cold.Open(t.Context())))
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

// until polls, as a node does, until a condition holds.
func (w world) until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 seconds: %s", what)
		}
		_, _ = w.Poll(t.Context(), ledger.Position{})
	}
}

// D4: a ledger that takes some writes but no payments is not sold from.
func TestD4WhatCannotBeStoredIsNotSold(t *testing.T) {
	onEach(t, func(t *testing.T, on backend) {
		refuse := `CREATE TRIGGER refused BEFORE INSERT ON payments BEGIN SELECT RAISE(ABORT, 'refused'); END`
		allow := `DROP TRIGGER refused`
		if on.name == onPostgres.name {
			refuse = `ALTER TABLE payments ADD CONSTRAINT refused CHECK (false) NOT VALID`
			allow = `ALTER TABLE payments DROP CONSTRAINT refused`
		}
		w := newWorld(t, on)
		id := w.pay(t, payment("a"))
		must(t, w.Exec(t.Context(), refuse))
		_, err := w.RecordPayment(t.Context(), payment("b"))
		wantError(t, "a payment", err, ledger.ErrUnavailable)
		for i := range 20 {
			w.poll(t, ledger.Position{})
			must(t, w.AddDevice(t.Context(), id, ledger.Device{ID: []string{"x", "y"}[i%2]}))
			if w.Err() == nil {
				t.Fatal("it may be sold from")
			}
			time.Sleep(5 * time.Millisecond)
		}
		must(t, w.Exec(t.Context(), allow))
		w.until(t, "it may be sold from", func() bool { return w.Err() == nil })
		before := w.export(t)
		w.poll(t, ledger.Position{})
		if w.export(t) != before || w.status(t, "b") != "none" {
			t.Error("a trial is left")
		}
	})
}

// Visitors who hang up, or wait too long, say nothing about the database.
func TestD3WhoHangsUpStopsNoSales(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		w.poll(t, ledger.Position{})
		for i := range 300 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*10*time.Microsecond)
			_, _ = w.HoldingOfSession(ctx, "unknown")
			cancel()
			must(t, w.Err())
		}
	})
}

// A node with much to write lets others write in between.
func TestABurstOnOneNodeStopsNoOther(t *testing.T) {
	t.Parallel()
	busy := newWorld(t, onPostgres)
	other := openWorld(t, busy.location)
	var writes sync.WaitGroup
	for range 26 {
		writes.Go(func() { wantError(t, "a write", busy.Hold(t.Context(), 100*time.Millisecond), nil) })
	}
	time.Sleep(300 * time.Millisecond)
	for range 3 {
		if _, err := other.RecordPayment(t.Context(), payment("a")); err != nil {
			t.Errorf("a payment on the other node: %v", err)
		}
	}
	writes.Wait()
}

// An upgrade that would wait for a reader makes nobody wait for itself.
func TestAMigrationYieldsToReaders(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	w := newWorld(t, onPostgres)
	id := w.pay(t, payment("a"))
	release := server.Read(t, w.location.URL, `SELECT * FROM axra.purchases`)
	newer := ledger.New(ledger.WithMigration(w.location, `ALTER TABLE purchases ADD COLUMN coupon TEXT NOT NULL DEFAULT '';`, 1))
	defer newer.Close()
	opened := make(chan error, 1)
	go func() {
		_, err := newer.Open(t.Context())
		opened <- err
	}()
	for ended := false; !ended; {
		select {
		case err := <-opened:
			wantError(t, "opening", err, ledger.ErrUnavailable)
			ended = true
		default:
		}
		if _, err := w.Holding(t.Context(), id); err != nil {
			t.Fatalf("a look-up: %v", err)
		}
	}
	release()
	_, err := newer.Open(t.Context())
	wantError(t, "opening afterwards", err, nil)
}

// A database that comes and goes every second is logged once a minute, and the last line is true.
func TestWritesThatFlapAreLoggedOnceAMinute(t *testing.T) {
	t.Parallel()
	for name, note := range map[string]func(*ledger.Ledger, error){"used": (*ledger.Ledger).NoteCheck, "written": (*ledger.Ledger).NoteWrite} {
		w := newWorld(t, onSQLite)
		for range 100 {
			note(w.Ledger, errors.New("disk full"))
			w.clock.advance(time.Second)
			note(w.Ledger, nil)
			w.clock.advance(time.Second)
		}
		w.clock.advance(time.Minute)
		w.poll(t, ledger.Position{})
		last := make(map[string]time.Time)
		for _, line := range w.log.lines {
			if before, ok := last[line.text]; ok && line.at.Sub(before) < time.Minute {
				t.Errorf("%q again after %s", line.text, line.at.Sub(before))
			}
			last[line.text] = line.at
		}
		if n := len(w.log.lines); n == 0 || !strings.Contains(w.log.lines[n-1].text, "can be used again") {
			t.Errorf("%s: logged %v", name, w.log.lines)
		}
	}
}
