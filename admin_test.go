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
	all, err := running.List(w.t.Context(), ledger.Filter{})
	mustDo(w.t, err)
	return len(all)
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
	// The id of a session may open its purchase: no list shows it, and no log line, though Caddy logs each call.
	for _, args := range [][]string{{"list"}, {"list", "--json"}, {"revoke", payment.ID}, {"restore", payment.ID, "--json"}, {"report", "--json"}} {
		if out := w.run(args...); strings.Contains(out, payment.SessionID) {
			t.Errorf("%v prints %s", args, out)
		}
	}
	for line := range strings.Lines(w.log()) {
		if strings.Contains(line, payment.SessionID) || strings.Contains(line, payment.ID) {
			t.Errorf("a line of the log: %s", line)
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
	if out := w.run("show", session); !strings.Contains(out, "shared with the world") {
		t.Errorf("the note is not shown: %s", out)
	}
	w.run("restore", w.lastPayment().ID)
	v.open("/premium/article.html").wantPaid(t)
	if out := w.run("restore", session); !strings.Contains(out, "status: active") {
		t.Error(out)
	}

	mustDo(t, w.sandbox.Refund(w.lastPayment().ID))
	w.delivered()
	w.wantError("the purchase stays refunded", "restore", session)
	w.run("revoke", session)
	w.wantError("the purchase stays refunded", "restore", session)
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
	// On a new machine a backup is copied to where the ledger will be.
	fresh := w.backup()
	w.stop()
	w.database = fresh
	http.DefaultClient.CloseIdleConnections()
	w.load(w.config)
	before.open("/premium/article.html").wantPaid(t)
	w.visitor().buy("/premium/article.html", cardGood).wantPaid(t)
}

// file is what a command has written.
func (w *world) file(command string) string {
	w.t.Helper()
	name := filepath.Join(w.t.TempDir(), command)
	w.run(append(strings.Fields(command), name)...)
	return name
}
