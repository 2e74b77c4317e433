package pgtest_test

import (
	"testing"

	"github.com/caddy-axra/paywall/internal/pgtest"
)

func TestAServerOfATest(t *testing.T) {
	server := pgtest.New(t)
	server.NewDatabase(t)
	for _, end := range []func(){server.Kill, server.Stop} {
		end()
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
	}
	if n := server.Count(t, `SELECT COUNT(*) FROM pg_database WHERE datname = 'test1'`); n != 1 {
		t.Errorf("%d databases", n)
	}
}
