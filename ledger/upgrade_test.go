package ledger_test

import (
	"strings"
	"testing"

	"github.com/caddy-axra/paywall/ledger"
)

// A rolling upgrade: nodes of two versions share a database for a while.
func TestOldAndNewProgramsShareADatabase(t *testing.T) {
	onEach(t, func(t *testing.T, on backend) {
		const script = `
			ALTER TABLE purchases ADD COLUMN coupon TEXT NOT NULL DEFAULT '';
			CREATE INDEX purchases_by_coupon ON purchases (coupon);`
		old := newWorld(t, on)
		old.pay(t, payment("before"))
		upgraded := openWorld(t, ledger.WithMigration(old.location, script, 1))
		position := old.poll(t, ledger.Position{}).Position
		old.pay(t, payment("old"))
		upgraded.pay(t, payment("new"))
		upgraded.pay(t, extension("more", "before"))
		upgraded.tell(t, event(ledger.EventRefunded, "old"))
		old.tell(t, event(ledger.EventRefunded, "new"))
		for name, w := range map[string]world{"old": old, "upgraded": upgraded} {
			for session, want := range map[string]ledger.Status{"before": ledger.Active, "old": ledger.Refunded, "new": ledger.Refunded} {
				if got := w.status(t, session); got != want {
					t.Errorf("%s: %s is %s, want %s", name, session, got, want)
				}
			}
			if changes := w.poll(t, position); changes.All || len(changes.PurchaseIDs) != 3 {
				t.Errorf("%s: the poll says %+v", name, changes)
			}
		}
		if reopened := openWorld(t, old.location); reopened.status(t, "before") != ledger.Active {
			t.Error("an old program does not start any more")
		}
		again := openWorld(t, ledger.WithMigration(old.location, script, 1))
		again.pay(t, payment("again"))
	})
}

// A program that is too old for the schema says so, and sells nothing.
func TestAnOldProgramRefusesASchemaThatItCannotUse(t *testing.T) {
	onEach(t, func(t *testing.T, on backend) {
		running := newWorld(t, on)
		openWorld(t, ledger.WithMigration(running.location, `ALTER TABLE keys ADD COLUMN note TEXT NOT NULL DEFAULT '';`, 2))
		_, err := running.RecordPayment(t.Context(), payment("a"))
		wantError(t, "a payment at an old program that runs", err, ledger.ErrUnavailable)
		_, err = running.Poll(t.Context(), ledger.Position{})
		wantError(t, "its poll", err, ledger.ErrUnavailable)
		if running.Err() == nil {
			t.Error("it may still sell")
		}
		old := ledger.New(running.location)
		defer old.Close()
		_, err = old.Open(t.Context())
		wantError(t, "opening", err, ledger.ErrUnavailable)
		if err == nil || !strings.Contains(err.Error(), "upgrade the plugin") {
			t.Errorf("the error does not say what to do: %v", err)
		}
	})
}
