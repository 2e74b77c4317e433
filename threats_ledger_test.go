package paywall_test

import (
	"database/sql"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

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

// D3: known buyers are served for the time of grace, then not, also over a restart.
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
	w.restart()
	v.open("/premium/article.html").wantPage(t, http.StatusServiceUnavailable, "Your payment is safe")
	if free := w.visitor().open("/"); free.status != http.StatusOK {
		t.Errorf("the free page answers %d", free.status)
	}
	w.mendLedger()
	v.open("/premium/article.html").wantPaid(t)
	if keys := w.rows("keys"); keys != 1 {
		t.Errorf("%d signing keys after a restart", keys)
	}
}

// D4: a ledger that is replaced while Caddy runs stops selling, and webhooks come again.
func TestD4ALedgerThatIsReplaced(t *testing.T) {
	w := newWorld(t, worldOptions{})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	_, event := w.visitor().started("/premium/article.html")
	body := encode(t, event)
	sold := w.creations()
	mustDo(t, os.WriteFile(w.database+".new", nil, 0o600))
	mustDo(t, os.Rename(w.database+".new", w.database))
	_ = paywall.PollFeeds(t.Context()) // which finds out
	w.visitor().open("/premium/article.html").wantPage(t, http.StatusServiceUnavailable, "Your payment is safe")
	if answer := w.deliver(body, sign(body, webhookSecret)); answer.status < 500 {
		t.Errorf("a webhook is answered %d", answer.status)
	}
	v.open("/premium/article.html").wantPaid(t) // for the time of grace
	if w.creations() != sold {
		t.Error("something is sold")
	}
}

// D5: another process that holds the write lock delays no reader, and a webhook gets 5xx by its deadline.
func TestD5AHeldWriteLock(t *testing.T) {
	w := newWorld(t, worldOptions{})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	other := w.visitor()
	_, event := other.started("/premium/article.html")
	body := encode(t, event)

	db, err := sql.Open("sqlite", "file:"+w.database+"?_txlock=immediate")
	mustDo(t, err)
	defer db.Close()
	held, err := db.Begin()
	mustDo(t, err)
	answers := make(chan int, 1)
	go func() { answers <- w.deliver(body, sign(body, webhookSecret)).status }()
	v.open("/premium/article.html").wantPaid(t)
	if status := <-answers; status < 500 {
		t.Errorf("a webhook is answered %d", status)
	}
	mustDo(t, held.Rollback())
	w.awaitLedger()
	if answer := w.deliver(body, sign(body, webhookSecret)); answer.status != http.StatusOK {
		t.Errorf("the retry is answered %d", answer.status)
	}
	other.browse("/premium/article.html").wantPaid(t)
}

// A reload to the ledger of another installation is refused while the running one holds purchases.
func TestAReloadToAnotherLedgerIsRefused(t *testing.T) {
	w := newWorld(t, worldOptions{})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	other := strings.Replace(w.expand(w.config), w.database, filepath.Join(t.TempDir(), "other.db"), 1)
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(other), map[string]any{"filename": "Caddyfile"})
	mustDo(t, err)
	if err := caddy.Load(adapted, true); err == nil || !strings.Contains(err.Error(), "holds purchases") {
		t.Errorf("the reload ends with %v", err)
	}
	v.open("/premium/article.html").wantPaid(t)
	w.load(w.config)
	v.open("/premium/article.html").wantPaid(t)
}

// Every id that an event names belongs to the session.
func TestW7ARefundByAnIDOfItsCollection(t *testing.T) {
	w := newWorld(t, worldOptions{})
	v := w.visitor()
	session, event := v.started("/premium/article.html")
	collection := changedData(event, map[string]any{"id": "lcoll_1", "businessPaymentId": "bp_1"})
	collection["event"] = "collection.completed"
	delete(collection["data"].(map[string]any), "paymentId")
	w.sure(collection)
	w.sure(event) // payment.completed with paymentId bpay_…
	w.sure(collection)
	v.browse("/premium/article.html").wantPaid(t)
	w.sure(map[string]any{"event": "payment.refunded", "timestamp": w.now().UTC().Format(time.RFC3339), "data": map[string]any{"businessPaymentId": "bp_1"}})
	if answer := v.browse("/premium/article.html"); strings.Contains(answer.body, marker) {
		t.Errorf("refunded by an id of its collection, session %s: open", session)
	}
}
