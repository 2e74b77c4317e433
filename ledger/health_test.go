package ledger_test

import (
	"testing"
	"time"

	"github.com/caddy-axra/paywall/ledger"
)

// A database that comes and goes fills no log, and whoever reads the log knows within a minute how it is.
func TestAFaultIsLoggedOnceAMinute(t *testing.T) {
	w := newWorld(t)
	position := w.poll(t, ledger.Position{}).Position
	away := w.Path() + ".away"
	for range 180 {
		rename(t, w.Path(), away)
		if _, err := w.Poll(t.Context(), position); err == nil {
			t.Fatal("a poll of a file that is gone succeeds")
		}
		rename(t, away, w.Path())
		w.poll(t, position)
		w.clock.advance(time.Second)
	}
	if lines := w.log.errors(); len(lines) != 3 {
		t.Errorf("%d errors in three minutes: %q", len(lines), lines)
	}
	rename(t, w.Path(), away)
	for range 60 {
		_, _ = w.Poll(t.Context(), position)
		w.clock.advance(time.Second)
	}
	if lines := w.log.errors(); len(lines) != 4 {
		t.Errorf("%d errors, want one more while the fault lasts", len(lines))
	}
}
