package ledger_test

import (
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/pgtest"
	"github.com/caddy-axra/paywall/ledger"
)

// Connections that were lost are made again before anybody needs them.
func TestLostConnectionsAreReplaced(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	url := server.NewDatabase(t)
	w := openWorld(t, ledger.Options{URL: url})
	count := func() int {
		return server.Count(t, `SELECT COUNT(*) FROM pg_stat_activity WHERE datname = $1`, pgtest.Name(url))
	}
	before := count()
	server.Exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1`, pgtest.Name(url))
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		_, err := w.Poll(t.Context(), ledger.Position{})
		if err == nil && count() >= before-1 { // the one that writes waits for a write
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections before and %d after (%v)", before, count(), err)
		}
	}
}
