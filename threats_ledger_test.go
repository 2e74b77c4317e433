package paywall_test

import (
	"database/sql"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/caddy-axra/paywall"
)

// breakLedger puts the ledger out of reach, as a volume that was unmounted is. A folder in its place keeps a
// restarted Caddy from taking it for a new installation.
func (w *world) breakLedger() {
	w.t.Helper()
	w.broken = true
	for _, file := range w.ledgerFiles() {
		mustDo(w.t, os.Rename(file, file+".away"))
	}
	mustDo(w.t, os.Mkdir(w.database, 0o700))
	_ = paywall.PollFeeds(w.t.Context()) // which finds out
}

// mendLedger undoes breakLedger.
func (w *world) mendLedger() {
	w.t.Helper()
	w.broken = false
	mustDo(w.t, os.Remove(w.database))
	away, err := filepath.Glob(w.database + "*.away")
	mustDo(w.t, err)
	for _, file := range away {
		mustDo(w.t, os.Rename(file, file[:len(file)-len(".away")]))
	}
	w.awaitLedger()
}

func (w *world) ledgerFiles() []string {
	w.t.Helper()
	files, err := filepath.Glob(w.database + "*")
	mustDo(w.t, err)
	return files
}

// awaitLedger waits until the ledger is read again.
func (w *world) awaitLedger() {
	w.t.Helper()
	for range 1000 {
		if paywall.PollFeeds(w.t.Context()) == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.t.Fatal("the ledger is not read again")
}

// rows counts rows of a table of the ledger.
func (w *world) rows(table string) int {
	w.t.Helper()
	db, err := sql.Open("sqlite", "file:"+w.database+"?mode=ro")
	mustDo(w.t, err)
	defer db.Close()
	var n int
	mustDo(w.t, db.QueryRow("SELECT count(*) FROM "+table).Scan(&n))
	return n
}

// signingKey is the installation's own key, which nobody outside has.
func (w *world) signingKey() (installation, kid string, secret []byte) {
	w.t.Helper()
	running, err := paywall.RunningLedger()
	mustDo(w.t, err)
	set, err := running.Keys(w.t.Context())
	mustDo(w.t, err)
	return set.Installation, set.Keys[0].ID, set.Keys[0].Secret
}

// D1 and its class: what is not stored for certain is not acknowledged; the retry grants. D2: nothing is sold meanwhile.
func TestD1D2WebhookWhileTheLedgerIsBroken(t *testing.T) {
	w := newWorld(t, worldOptions{})
	v := w.visitor()
	_, event := v.started("/premium/article.html")
	body := encode(t, event)
	w.breakLedger()
	if answer := w.deliver(body, sign(body, webhookSecret)); answer.status < 500 || answer.header.Get("Retry-After") == "" {
		t.Errorf("answers %d", answer.status)
	}
	for _, visitor := range []*visitor{v, w.visitor()} {
		visitor.open("/premium/article.html").wantPage(t, http.StatusServiceUnavailable, "Your payment is safe")
	}
	w.mendLedger()
	if answer := w.deliver(body, sign(body, webhookSecret)); answer.status != http.StatusOK {
		t.Errorf("the retry answers %d", answer.status)
	}
	v.browse("/premium/article.html").wantPaid(t)
}

// D3: known buyers are served for the time of grace, then not.
func TestD3KnownBuyersAreServedForTheGrace(t *testing.T) {
	w := newWorld(t, worldOptions{})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	w.breakLedger()
	for range 9 {
		w.pass(time.Minute)
		v.open("/premium/article.html").wantPaid(t)
	}
	w.pass(2 * time.Minute)
	v.open("/premium/article.html").wantPage(t, http.StatusServiceUnavailable, "Your payment is safe")
	if free := w.visitor().open("/"); free.status != http.StatusOK {
		t.Errorf("the free page answers %d", free.status)
	}
	w.mendLedger()
	v.open("/premium/article.html").wantPaid(t)
}
