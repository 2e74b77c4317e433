package paywall_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-axra/paywall/internal/pgtest"
	"github.com/caddy-axra/paywall/internal/sitetest"
)

// A ledger goes from SQLite to PostgreSQL and back by the steps of docs/operations.md. Yesterday's cookie opens all
// along.
func TestMovingBetweenTheDatabases(t *testing.T) {
	w := office(t)
	v := w.Visitor()
	v.Buy(article).WantPaid(t)
	w.Run("give", w.Site+"/premium/")
	installation, _, _ := w.SigningKey()
	move := func(from, to, database string) {
		t.Helper()
		purchases := w.Purchases()
		before := v.Cookie("axra_t_")
		w.Stop() // step 3
		loadLedgerOnly(w, from)
		export := w.File("export")
		w.Stop()
		loadLedgerOnly(w, to)
		w.Run("import", export)
		w.Stop()
		w.Database = database
		w.Load(w.Config)
		mustDo(t, os.Remove(export))
		v.Open(article).WantPaid(t)
		if v.Cookie("axra_t_") != before {
			t.Error("it is not the cookie from before")
		}
		if now, _, _ := w.SigningKey(); now != installation || w.Purchases() != purchases {
			t.Errorf("installation %s, before %s; %d purchases, before %d", now, installation, w.Purchases(), purchases)
		}
		other := w.Visitor()
		other.Buy("/premium/other.html").WantPaid(t)
		mustDo(t, w.Sandbox.Refund(w.LastPayment().ID))
		w.Delivered()
		if answer := other.Open("/premium/other.html"); strings.Contains(answer.Body, sitetest.Marker) {
			t.Error("it is open after a refund")
		}
	}
	onSQLite, onPostgres := filesOfTheMove(t)
	t.Setenv("AXRA_DATABASE_URL", pgtest.Shared(t).NewDatabase(t))
	at := func(path string) string { return strings.Replace(onSQLite, "/var/lib/axra/ledger.db", path, 1) }
	move(at(strings.TrimPrefix(w.Database, "sqlite ")), onPostgres, "postgres {env.AXRA_DATABASE_URL}")
	back := filepath.Join(t.TempDir(), "axra", "ledger.db")
	move(onPostgres, at(back), "sqlite "+back)
}

// filesOfTheMove are from.caddyfile and to.caddyfile of docs/operations.md.
func filesOfTheMove(t *testing.T) (from, to string) {
	t.Helper()
	_, section, _ := strings.Cut(readDoc(t, "docs/operations.md"), "### To PostgreSQL, and back")
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := regexp.MustCompile("(?s)```caddyfile\n(.*?)```").FindAllStringSubmatch(section, -1)
	if len(blocks) != 2 {
		t.Fatalf("%d files", len(blocks))
	}
	return blocks[0][1], blocks[1][1]
}

// loadLedgerOnly loads a Caddyfile without sites.
func loadLedgerOnly(w *sitetest.World, config string) {
	w.T.Helper()
	mustDo(w.T, w.TryLoad(w.Expand(strings.Replace(config, "{\n", "{\n\tSETUP ADMIN\n", 1))))
	w.AwaitLedger()
}
