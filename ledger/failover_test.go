package ledger_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/caddy-axra/paywall/internal/pgtest"
	"github.com/caddy-axra/paywall/ledger"
)

// A server of the URL that is down, or takes connections and does not answer, is passed over.
func TestAServerThatIsDownIsPassedOver(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	databaseURL := server.NewDatabase(t)
	address := fmt.Sprintf("127.0.0.1:%d", server.Port())
	first, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	for _, test := range []struct{ name, sslmode string }{
		{"it does not answer", "disable"},
		{"it does not answer, and may use TLS", "prefer"},
		{"it refuses connections", "disable"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if strings.Contains(test.name, "refuses") {
				first.Close()
			}
			w := openWorld(t, ledger.Options{
				URL: strings.Replace(databaseURL, address, first.Addr().String()+","+address, 1) + "?sslmode=" + test.sslmode,
			})
			since := w.poll(t, ledger.Position{}).Position
			server.Exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1`, pgtest.Name(databaseURL))
			w.poll(t, since)
			w.pay(t, payment(test.name))
		})
	}
}
