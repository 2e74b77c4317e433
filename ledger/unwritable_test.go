package ledger_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/pgtest"
	"github.com/caddy-axra/paywall/ledger"
)

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
		if err := w.Exec(t.Context(), refuse); err != nil {
			t.Fatal(err)
		}
		_, err := w.RecordPayment(t.Context(), payment("b"))
		wantError(t, "a payment", err, ledger.ErrUnavailable)
		for i := range 20 {
			w.poll(t, ledger.Position{})
			if err := w.AddDevice(t.Context(), id, ledger.Device{ID: []string{"x", "y"}[i%2]}); err != nil {
				t.Fatal(err)
			}
			if w.Err() == nil {
				t.Fatal("it may be sold from")
			}
			time.Sleep(5 * time.Millisecond)
		}
		if err := w.Exec(t.Context(), allow); err != nil {
			t.Fatal(err)
		}
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
			if err := w.Err(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A node with much to write lets others write in between.
func TestABurstOnOneNodeStopsNoOther(t *testing.T) {
	t.Parallel()
	busy := newWorld(t, onPostgres)
	other := openWorld(t, busy.location)
	var writes sync.WaitGroup
	for range 40 {
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

// A server that may not be used any more is left, as another one may have taken its place.
func TestAReadOnlyServerIsLeft(t *testing.T) {
	t.Parallel()
	server := pgtest.New(t)
	w := openWorld(t, ledger.Options{URL: server.NewDatabase(t)})
	w.pay(t, payment("a"))
	server.Configure(t, `default_transaction_read_only = on`)
	w.until(t, "its connections are closed", func() bool {
		return server.Count(t, `SELECT COUNT(*) FROM pg_stat_activity WHERE application_name = 'caddy-axra'`) == 0
	})
	server.Configure(t, `default_transaction_read_only = off`)
	w.until(t, "it can be used again", func() bool { return w.Err() == nil })
	w.pay(t, payment("b"))
}
