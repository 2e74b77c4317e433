package ledger_test

import (
	"testing"

	"github.com/caddy-axra/paywall/internal/pgtest"
	"github.com/caddy-axra/paywall/ledger"
)

// A failover may leave connections that no one answers. The first poll that waits in vain gives up all of them.
func TestSilentConnectionsAreGivenUp(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	proxy := server.NewProxy(t)
	w := openWorld(t, ledger.Options{URL: proxy.URL(pgtest.Name(server.NewDatabase(t)))})
	position := w.poll(t, ledger.Position{}).Position
	proxy.Silence()
	if _, err := w.Poll(t.Context(), position); err == nil {
		t.Fatal("a poll without an answer succeeds")
	}
	w.poll(t, position)
}
