package paywall_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-axra/paywall"
	"github.com/caddy-axra/paywall/ledger"
)

// office is a world with Caddy's admin API.
func office(t *testing.T, options ...string) *world {
	t.Helper()
	config := member(options...)
	return newWorld(t, worldOptions{Caddyfile: strings.Replace(config, "SETUP", "SETUP ADMIN", 1)})
}

// operate runs `caddy axra` as the operator does, and returns what it prints.
func (w *world) operate(args ...string) (out string, err error) {
	w.t.Helper()
	out, _, err = w.operateWith("", args...)
	return out, err
}

// operateWith does so with a standard input, and returns what is said aside, too.
func (w *world) operateWith(input string, args ...string) (out, aside string, err error) {
	w.t.Helper()
	var stdout, stderr bytes.Buffer
	for range 50 {
		stdout.Reset()
		stderr.Reset()
		cmd := paywall.NewCommand()
		cmd.SetIn(strings.NewReader(input))
		cmd.SetArgs(append(args, "--address", w.admin()))
		cmd.SetOut(&stdout)
		cmd.SetErr(&stderr)
		err = cmd.ExecuteContext(w.t.Context())
		if err == nil || !strings.Contains(err.Error(), "is Caddy running?") {
			break
		}
		time.Sleep(10 * time.Millisecond) // Caddy opens its admin API some moments after a restart
	}
	return stdout.String(), stderr.String(), err
}

// run runs `caddy axra`, which must go well.
func (w *world) run(args ...string) string {
	w.t.Helper()
	out, err := w.operate(args...)
	if err != nil {
		w.t.Fatalf("caddy axra %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// runJSON runs it with --json.
func (w *world) runJSON(into any, args ...string) {
	w.t.Helper()
	out := w.run(append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), into); err != nil {
		w.t.Fatalf("%v in %s", err, out)
	}
}

// wantError runs it and wants it to say what is wrong.
func (w *world) wantError(phrase string, args ...string) {
	w.t.Helper()
	out, err := w.operate(args...)
	if err == nil || !strings.Contains(err.Error(), phrase) {
		w.t.Errorf("caddy axra %s: %v, want %q\n%s", strings.Join(args, " "), err, phrase, out)
	}
}

// shown is what caddy axra show --json prints of a purchase.
type shown struct {
	ID            string    `json:"id"`
	Reference     string    `json:"reference"`
	Status        string    `json:"status"`
	EndsAt        time.Time `json:"ends_at"`
	DoubleCharges []string  `json:"double_charges"`
	Payments      []struct {
		Session    string   `json:"session"`
		PaymentIDs []string `json:"payment_ids"`
	} `json:"payments"`
	Devices []struct {
		ID        string     `json:"id"`
		RemovedAt *time.Time `json:"removed_at"`
	} `json:"devices"`
}

// show returns what is known about a purchase.
func (w *world) show(name string) shown {
	w.t.Helper()
	var found shown
	w.runJSON(&found, "show", name)
	return found
}

// purchases counts the purchases of the ledger.
func (w *world) purchases() int {
	w.t.Helper()
	running, err := paywall.RunningLedger()
	mustDo(w.t, err)
	count := 0
	for _, err := range running.List(w.t.Context(), ledger.Filter{}) {
		mustDo(w.t, err)
		count++
	}
	return count
}

func TestTheOperatorFindsAPurchase(t *testing.T) {
	w := office(t)
	if out := w.run("list"); !strings.HasPrefix(out, "none") {
		t.Errorf("an empty ledger lists %s", out)
	}
	w.visitor().buy("/premium/article.html", cardGood).wantPaid(t)
	payment := w.lastPayment()
	found := w.show(payment.ID)
	out := w.run("list")
	for _, part := range []string{"active", "5.00 USD", found.Reference, payment.ID} {
		if !strings.Contains(out, part) {
			t.Errorf("the list has no %q:\n%s", part, out)
		}
	}
	for _, name := range []string{found.ID, found.Reference, strings.ToUpper(found.Reference), payment.SessionID, payment.ID} {
		if by := w.show(name); by.ID != found.ID || by.Payments[0].Session != payment.SessionID || by.Payments[0].PaymentIDs[0] != payment.ID ||
			by.Status != "active" || by.EndsAt.IsZero() {
			t.Errorf("%s is %+v", name, by)
		}
		if out := w.run("list", "--search", name); !strings.Contains(out, found.Reference) {
			t.Errorf("%s lists %s", name, out)
		}
	}
	if out := w.run("show", payment.ID); !strings.Contains(out, payment.SessionID) || !strings.Contains(out, "device_limit: 3") {
		t.Errorf("shows %s", out)
	}
	w.wantError("no such purchase", "show", "cs_unknown")
	if out := w.run("list", "--status", "refunded"); !strings.HasPrefix(out, "none") {
		t.Errorf("refunded are %s", out)
	}
}

// Whoever has a session's id may be able to open its purchase.
func TestAListShowsNoSessionIds(t *testing.T) {
	w := office(t)
	w.visitor().buy("/premium/article.html", cardGood).wantPaid(t)
	for _, args := range [][]string{{"list"}, {"list", "--json"}, {"revoke", w.lastPayment().ID}, {"restore", w.lastPayment().ID, "--json"}, {"report", "--json"}} {
		if out := w.run(args...); strings.Contains(out, w.lastPayment().SessionID) {
			t.Errorf("%v prints %s", args, out)
		}
	}
}

// give gives access to one purchase and returns its id.
func (w *world) give() string {
	w.t.Helper()
	var given struct{ Purchase string }
	w.runJSON(&given, "give", w.site+"/premium/")
	return given.Purchase
}

func TestTheOperatorRemovesADevice(t *testing.T) {
	w := office(t, "devices 1")
	v, other := w.visitor(), w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	payment := w.lastPayment()
	w.wantError("all 1 devices", "link", payment.ID, w.site+"/premium/article.html")
	devices := w.show(payment.ID).Devices
	if len(devices) != 1 {
		t.Fatalf("%d devices", len(devices))
	}
	w.wantError("no such device", "remove-device", payment.ID, "unknown")
	if out := w.run("remove-device", payment.ID, devices[0].ID); !strings.Contains(out, "removed_at") {
		t.Error(out)
	}
	if answer := v.open("/premium/article.html"); answer.status == http.StatusOK {
		t.Error("a removed device is let in")
	}
	var made struct{ Link string }
	w.runJSON(&made, "link", payment.ID, w.site+"/premium/article.html")
	other.openOnDevice(made.Link).wantPaid(t)
	if after := w.show(payment.ID).Devices; len(after) != 2 || after[0].RemovedAt == nil && after[1].RemovedAt == nil {
		t.Errorf("%+v", after)
	}
}

func TestADoubleChargeIsShown(t *testing.T) {
	w := office(t)
	_, event := w.visitor().started("/premium/article.html")
	charge := func(id string) {
		data, _ := event["data"].(map[string]any)
		data["paymentId"] = id
		body := encode(t, event)
		if answer := w.deliver(body, sign(body, webhookSecret)); answer.status != http.StatusOK {
			t.Fatalf("%d", answer.status)
		}
		w.pass(time.Minute)
	}
	charge("bpay_first")
	charge("bpay_second")
	if found := w.show("bpay_first"); len(found.DoubleCharges) != 1 || found.DoubleCharges[0] != "bpay_second" {
		t.Errorf("%+v", found)
	}
	if out := w.run("show", "bpay_second"); !strings.Contains(out, "double_charges: bpay_second") {
		t.Errorf("shows %s", out)
	}
	if out := w.run("report"); !strings.Contains(out, "double_charges: 1") {
		t.Errorf("reports %s", out)
	}
}

func TestTheOperatorRevokesAndRestores(t *testing.T) {
	w := office(t)
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	session := w.lastPayment().SessionID
	if out := w.run("revoke", session, "--note", "shared with the world"); !strings.Contains(out, "status: revoked") {
		t.Error(out)
	}
	// T7: at once on this node, and no new checkout by itself.
	v.open("/premium/article.html").wantPage(t, http.StatusPaymentRequired, "Access was withdrawn")
	if w.creations() != 1 {
		t.Errorf("%d sessions", w.creations())
	}
	w.wantError("the purchase is revoked", "revoke", session)
	if out := w.run("show", session); !strings.Contains(out, "shared with the world") {
		t.Errorf("the note is not shown: %s", out)
	}
	w.run("restore", w.lastPayment().ID)
	v.open("/premium/article.html").wantPaid(t)
	w.wantError("the purchase is active", "restore", session)

	mustDo(t, w.sandbox.Refund(w.lastPayment().ID))
	w.delivered()
	w.wantError("the purchase is refunded", "restore", session)
	w.run("revoke", session)
	w.run("restore", session)
	v.open("/premium/article.html").wantPage(t, http.StatusPaymentRequired, "refunded") // which is final
	w.wantError("no such purchase", "revoke", "cs_unknown")
}

func TestTheOperatorGivesAccess(t *testing.T) {
	w := office(t)
	var given struct{ Purchase, Link string }
	w.runJSON(&given, "give", w.site+"/premium/article.html", "--for", "10d", "--note", "review copy", "--devices", "2")
	for range 3 { // who only looks takes nothing
		w.visitor().open(given.Link).wantPage(t, http.StatusOK, "has given you access")
	}
	first, second, third := w.visitor(), w.visitor(), w.visitor()
	first.openOnDevice(given.Link).wantPaid(t)
	second.openOnDevice(given.Link).wantPaid(t)
	third.open(given.Link).wantPage(t, http.StatusForbidden, "All devices of this purchase are in use")
	receipt := first.open(receiptPage)
	receipt.wantPage(t, http.StatusOK, "2 of 2")
	for _, words := range []string{"payment has arrived", "Bought"} {
		if strings.Contains(receipt.body, words) {
			t.Errorf("a gift speaks of a payment: %s", receipt.body)
		}
	}
	if w.creations() != 0 {
		t.Errorf("%d sessions", w.creations())
	}
	if out := w.run("list"); !strings.Contains(out, "operator") {
		t.Errorf("the list says %s", out)
	}
	if out := w.run("report"); strings.Contains(out, "member") {
		t.Errorf("what was given is in the accounts: %s", out)
	}
	w.run("revoke", given.Purchase)
	if answer := first.open("/premium/article.html"); answer.status != http.StatusPaymentRequired {
		t.Errorf("revoked: %d", answer.status)
	}
	w.run("restore", given.Purchase)
	first.open("/premium/article.html").wantPaid(t)
	w.restart() // it lies in the ledger
	first.open("/premium/article.html").wantPaid(t)
	w.pass(11 * day)
	first.open("/premium/article.html").wantCheckout(t, w)
}

func TestWhatNoGateSellsCannotBeGiven(t *testing.T) {
	w := office(t)
	for phrase, args := range map[string][]string{
		"no gate stands at": {"give", "https://example.org/premium/"},
		"is no address":     {"give", "/premium/"},
		"no gate covers":    {"give", w.site + "/"},
	} {
		w.wantError(phrase, args...)
	}
	if w.purchases() != 0 {
		t.Error("something was given all the same")
	}
}

func TestTheOperatorMakesALink(t *testing.T) {
	w := office(t, "links")
	w.visitor().buy("/premium/article.html", cardGood).wantPaid(t)
	session := w.lastPayment().SessionID
	var made struct{ Link string }
	w.runJSON(&made, "link", session, w.site+"/premium/article.html")
	w.visitor().openOnDevice(made.Link).wantPaid(t)

	w.runJSON(&made, "link", session, w.site+"/premium/article.html", "--direct", "--for", "1h")
	program := http.Header{}
	w.visitor().do(http.MethodGet, made.Link, program, nil).wantPaid(t)
	elsewhere := strings.Replace(made.Link, "article.html", "other.html", 1)
	if answer := w.visitor().do(http.MethodGet, elsewhere, program, nil); answer.status != http.StatusPaymentRequired {
		t.Errorf("T4: a link opens another page: %d", answer.status)
	}
	w.pass(2 * time.Hour)
	if answer := w.visitor().do(http.MethodGet, made.Link, program, nil); answer.status != http.StatusPaymentRequired {
		t.Errorf("after its time: %d", answer.status)
	}
	w.wantError("no gate covers", "link", session, w.site+"/index.html")
	w.wantError("no gate stands at", "link", session, "https://example.org/")
	w.run("revoke", session)
	w.wantError("it is revoked", "link", session, w.site+"/premium/article.html")
}

func TestADirectLinkNeedsAGateThatHonoursIt(t *testing.T) {
	w := office(t)
	w.visitor().buy("/premium/article.html", cardGood).wantPaid(t)
	w.wantError("has `links`", "link", w.lastPayment().SessionID, w.site+"/premium/article.html", "--direct")
}

// start starts Caddy with another ledger.
func (w *world) startWith(database string) {
	w.t.Helper()
	w.stop()
	w.database = database
	http.DefaultClient.CloseIdleConnections()
	w.load(w.config)
}

func TestTheLedgerMovesToAnotherDatabase(t *testing.T) {
	w := office(t)
	v, refunded := w.visitor(), w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	refunded.buy("/premium/article.html", cardGood).wantPaid(t)
	mustDo(t, w.sandbox.Refund(w.lastPayment().ID))
	w.delivered()
	file := filepath.Join(t.TempDir(), "ledger.jsonl")
	w.run("export", file)
	w.wantError("has payments already", "import", file)
	w.startWith(filepath.Join(t.TempDir(), "new", "ledger.db"))
	if v.open("/premium/article.html").status == http.StatusOK {
		t.Fatal("the new ledger knows the buyer already")
	}
	w.wantError("not a complete export", "import", filepath.Join(w.root, "index.html"))
	raw, err := os.ReadFile(file)
	mustDo(t, err)
	cut := filepath.Join(t.TempDir(), "cut.jsonl")
	mustDo(t, os.WriteFile(cut, raw[:len(raw)-20], 0o600))
	w.wantError("not a complete export", "import", cut)
	if w.purchases() != 0 {
		t.Error("a part was imported")
	}
	if out := w.run("import", file); !strings.Contains(out, "rows: ") {
		t.Error(out)
	}
	v.open("/premium/article.html").wantPaid(t) // with the cookie of before
	if answer := refunded.open("/premium/article.html"); answer.status == http.StatusOK {
		t.Error("the refund did not move")
	}
	v.w.visitor().buy("/premium/article.html", cardGood).wantPaid(t)
}

func TestTheOperatorChangesKeys(t *testing.T) {
	w := office(t)
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	type key struct {
		ID    string `json:"kid"`
		Signs bool   `json:"signs_access"`
	}
	var before, after []key
	w.runJSON(&before, "keys", "list")
	if out := w.run("keys", "rotate"); !strings.Contains(out, before[0].ID) {
		t.Error(out)
	}
	w.pass(4 * time.Minute)
	v.open("/premium/article.html").wantPaid(t)
	w.runJSON(&after, "keys", "list")
	if len(before) != 1 || len(after) != 2 || after[0].Signs || !after[1].Signs {
		t.Errorf("%+v, then %+v", before, after)
	}
	w.wantError("add --yes", "keys", "remove", after[0].ID)
	w.wantError("no signing key has this id", "keys", "remove", "unknown", "--yes")
	w.run("keys", "remove", before[0].ID, "--yes")
	if answer := v.open("/premium/article.html"); answer.status == http.StatusOK {
		t.Error("what a removed key has signed is good")
	}
}

// Whole ids are for the operator's eyes: Caddy logs each call to its admin API.
func TestNoCommandLeavesAWholeIdInTheLog(t *testing.T) {
	w := office(t)
	w.visitor().buy("/premium/article.html", cardGood).wantPaid(t)
	payment := w.lastPayment()
	w.run("list")
	for _, id := range []string{payment.SessionID, payment.ID} {
		w.run("show", id)
		w.run("list", "--search", id)
		w.run("revoke", id)
		w.run("restore", id)
		w.run("link", id, w.site+"/premium/")
	}
	for line := range strings.Lines(w.log()) {
		if strings.Contains(line, payment.SessionID) || strings.Contains(line, payment.ID) {
			t.Errorf("a line of the log: %s", line)
		}
	}
}

func TestAnExtensionIsRevokedAsAWhole(t *testing.T) {
	w := office(t)
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	first := w.lastPayment()
	v.buyLonger("/premium/article.html").wantPaid(t)
	mustDo(t, w.sandbox.Refund(w.lastPayment().ID)) // the extension
	w.delivered()
	if out := w.run("show", first.ID); !strings.Contains(out, "refunded") || !strings.Contains(out, "active") {
		t.Errorf("one payment of two was refunded: %s", out)
	}
	w.run("revoke", w.lastPayment().ID)
	v.open("/premium/article.html").wantPage(t, http.StatusPaymentRequired, "Access was withdrawn")
}

// K2: Caddy opens the admin API of a configuration before its apps are made.
func TestK2TheAdminAPIAnswersDuringReloads(t *testing.T) {
	w := office(t)
	done := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				response, err := http.Post("http://"+w.admin()+"/axra/keys/list", "", nil) //nolint:noctx // a test
				if err != nil {
					continue // the listener changes hands
				}
				if response.StatusCode != http.StatusOK {
					t.Errorf("answers %s", response.Status)
				}
				_ = response.Body.Close()
			}
		})
	}
	for range 30 {
		w.load(w.config)
	}
	close(done)
	clients.Wait()
}

func TestAPaymentForWhatWasRevokedIsSaidLoudly(t *testing.T) {
	w := office(t)
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	first := w.lastPayment()
	checkout := v.browse(link(t, v.open(receiptPage), "Extend access"))
	w.run("revoke", first.ID)
	v.pay(checkout, cardGood)
	w.delivered()
	if !strings.Contains(w.log(), "a payment extends a purchase that was revoked") {
		t.Error("nobody is told")
	}
	v.open("/premium/article.html").wantPage(t, http.StatusPaymentRequired, "Access was withdrawn")
}

// backup makes a backup with the command and returns its path.
func (w *world) backup() string {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "backup.db")
	if out := w.run("backup", file); !strings.Contains(out, "written to "+file) {
		w.t.Error(out)
	}
	return file
}

func TestABackupIsRestoredWhileCaddyRuns(t *testing.T) {
	w := office(t)
	before, later := w.visitor(), w.visitor()
	before.buy("/premium/article.html", cardGood).wantPaid(t)
	file := w.backup()
	later.buy("/premium/article.html", cardGood).wantPaid(t)
	out := w.run("restore-backup", file)
	if !strings.Contains(out, "payments: 1\n") {
		t.Error(out)
	}
	_, kept, _ := strings.Cut(strings.TrimSpace(out), "kept: ")
	if _, err := os.Stat(kept); err != nil {
		t.Errorf("%v in %s", err, out)
	}
	before.open("/premium/article.html").wantPaid(t)
	// What was bought since is missing, which is not "not paid".
	later.open("/premium/article.html").wantPaid(t)
	w.pass(11 * time.Minute)
	later.open("/premium/article.html").wantPage(t, http.StatusServiceUnavailable, "Your payment is safe")
	w.visitor().buy("/premium/article.html", cardGood).wantPaid(t)
	if left, _ := filepath.Glob(w.database + ".restore-*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	for name, content := range map[string]string{"words": "no database", "nothing": ""} {
		bad := filepath.Join(t.TempDir(), name)
		mustDo(t, os.WriteFile(bad, []byte(content), 0o600))
		w.wantError("not a usable backup", "restore-backup", bad)
	}
	mustDo(t, os.WriteFile(file+"-wal", []byte("more"), 0o600))
	w.wantError("belongs to it", "restore-backup", file)
	before.open("/premium/article.html").wantPaid(t)
}

// On a new machine a backup is copied to where the ledger will be.
func TestABackupIsALedger(t *testing.T) {
	w := office(t)
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	w.startWith(w.backup())
	v.open("/premium/article.html").wantPaid(t)
	w.visitor().buy("/premium/article.html", cardGood).wantPaid(t)
}

// file is what a command has written.
func (w *world) file(command string) string {
	w.t.Helper()
	name := filepath.Join(w.t.TempDir(), command)
	w.run(command, name)
	return name
}
