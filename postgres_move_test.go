package paywall_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-axra/paywall/internal/pgtest"
)

// A ledger goes from SQLite to PostgreSQL and back by the steps of docs/operations.md. Yesterday's cookie opens all
// along.
func TestMovingBetweenTheDatabases(t *testing.T) {
	w := office(t)
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	w.run("give", w.site+"/premium/")
	installation, _, _ := w.signingKey()
	move := func(from, to, keptIn string) {
		t.Helper()
		purchases := w.purchases()
		before := v.cookie(t, "axra_t_")
		w.stop() // step 3
		w.loadLedgerOnly(from)
		export := w.file("export")
		w.stop()
		w.loadLedgerOnly(to)
		w.run("import", export)
		w.stop()
		w.keptIn = keptIn
		w.load(w.config)
		mustDo(t, os.Remove(export))
		v.open("/premium/article.html").wantPaid(t)
		if v.cookie(t, "axra_t_") != before {
			t.Error("it is not the cookie from before")
		}
		if now, _, _ := w.signingKey(); now != installation || w.purchases() != purchases {
			t.Errorf("installation %s, before %s; %d purchases, before %d", now, installation, w.purchases(), purchases)
		}
		other := w.visitor()
		other.buy("/premium/other.html", cardGood).wantPaid(t)
		mustDo(t, w.sandbox.Refund(w.lastPayment().ID))
		w.delivered()
		if answer := other.open("/premium/other.html"); strings.Contains(answer.body, marker) {
			t.Error("it is open after a refund")
		}
	}
	onSQLite, onPostgres := filesOfTheMove(t)
	t.Setenv("AXRA_DATABASE_URL", pgtest.Shared(t).NewDatabase(t))
	at := func(path string) string { return strings.Replace(onSQLite, "/var/lib/axra/ledger.db", path, 1) }
	move(at(w.database), onPostgres, "postgres {env.AXRA_DATABASE_URL}")
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
func (w *world) loadLedgerOnly(config string) {
	w.t.Helper()
	mustDo(w.t, w.tryLoad(w.expand(strings.Replace(config, "{\n", "{\n\tSETUP ADMIN\n", 1))))
	w.awaitLedger()
}
