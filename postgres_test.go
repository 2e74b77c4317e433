package paywall_test

import (
	"os"
	"strconv"
	"testing"

	"github.com/caddy-axra/paywall/internal/pgtest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	pgtest.Stop()
	os.Exit(code)
}

// passwordForms are the password of pgtest, as it is and as a URL has it, and its telling part.
var passwordForms = []string{"se/cret%", "se%2Fcret%25", "cret%"}

func port(server *pgtest.Server) string { return strconv.Itoa(server.Port()) }
