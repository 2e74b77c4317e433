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
	ID        string    `json:"id"`
	Reference string    `json:"reference"`
	Status    string    `json:"status"`
	EndsAt    time.Time `json:"ends_at"`
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

func TestTheOperatorFindsAndRevokesAPurchase(t *testing.T) {
	w := office(t)
	if out := w.run("list"); !strings.HasPrefix(out, "none") {
		t.Errorf("an empty ledger lists %s", out)
	}
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	payment := w.lastPayment()
	found := w.show(payment.ID)
	for _, name := range []string{found.ID, strings.ToUpper(found.Reference), payment.SessionID} {
		if by := w.show(name); by.ID != found.ID || by.Status != "active" || by.EndsAt.IsZero() {
			t.Errorf("%s is %+v", name, by)
		}
		if out := w.run("list", "--search", name); !strings.Contains(out, found.Reference) || !strings.Contains(out, "5.00 USD") {
			t.Errorf("%s lists %s", name, out)
		}
	}
	if out := w.run("revoke", payment.SessionID, "--note", "shared with the world"); !strings.Contains(out, "status: revoked") {
		t.Error(out)
	}
	// T7: at once on this node, and no new checkout by itself.
	v.open("/premium/article.html").wantPage(t, http.StatusPaymentRequired, "Access was withdrawn")
	if out := w.run("show", payment.ID); w.creations() != 1 || !strings.Contains(out, "shared with the world") {
		t.Errorf("%d sessions; shows %s", w.creations(), out)
	}
	w.run("restore", payment.ID)
	v.open("/premium/article.html").wantPaid(t)
	mustDo(t, w.sandbox.Refund(payment.ID))
	w.delivered()
	w.wantError("the purchase stays refunded", "restore", payment.SessionID)
	v.open("/premium/article.html").wantPage(t, http.StatusPaymentRequired, "refunded")
	w.wantError("no such purchase", "revoke", "cs_unknown")

	// The id of a session may open its purchase: no list shows it, and no log line, though Caddy logs each call.
	for _, args := range [][]string{{"list"}, {"list", "--json"}, {"revoke", payment.ID}, {"report", "--json"}} {
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

func TestTheOperatorGivesAccess(t *testing.T) {
	w := office(t)
	var given struct{ Purchase, Link string }
	w.runJSON(&given, "give", w.site+"/premium/article.html", "--for", "10d", "--note", "review copy", "--devices", "2")
	for range 3 { // who only looks takes nothing
		w.visitor().open(given.Link).wantPage(t, http.StatusOK, "has given you access")
	}
	first, second := w.visitor(), w.visitor()
	first.openOnDevice(given.Link).wantPaid(t)
	second.openOnDevice(given.Link).wantPaid(t)
	w.visitor().open(given.Link).wantPage(t, http.StatusForbidden, "All devices of this purchase are in use")
	receipt := first.open(receiptPage)
	receipt.wantPage(t, http.StatusOK, "2 of 2")
	if strings.Contains(receipt.body, "payment has arrived") || strings.Contains(receipt.body, "Bought") {
		t.Errorf("a gift speaks of a payment: %s", receipt.body)
	}
	if out := w.run("report"); w.creations() != 0 || strings.Contains(out, "member") {
		t.Errorf("%d sessions; what was given is in the accounts: %s", w.creations(), out)
	}
	w.run("revoke", given.Purchase)
	if answer := first.open("/premium/article.html"); answer.status != http.StatusPaymentRequired {
		t.Errorf("revoked: %d", answer.status)
	}
	w.run("restore", given.Purchase)
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

func TestABackupIsRestoredWhileCaddyRuns(t *testing.T) {
	w := office(t)
	before, later := w.visitor(), w.visitor()
	before.buy("/premium/article.html", cardGood).wantPaid(t)
	file := w.file("backup")
	later.buy("/premium/article.html", cardGood).wantPaid(t)
	out := w.run("restore-backup", file)
	_, kept, _ := strings.Cut(strings.TrimSpace(out), "kept: ")
	if _, err := os.Stat(kept); err != nil || !strings.Contains(out, "payments: 1\n") {
		t.Errorf("%v in %s", err, out)
	}
	before.open("/premium/article.html").wantPaid(t)
	// What was bought since is missing, which is not "not paid".
	later.open("/premium/article.html").wantPaid(t)
	w.pass(11 * time.Minute)
	later.open("/premium/article.html").wantPage(t, http.StatusServiceUnavailable, "Your payment is safe")
	w.visitor().buy("/premium/article.html", cardGood).wantPaid(t)
	w.wantError("not a usable backup", "restore-backup", w.logs)
	before.open("/premium/article.html").wantPaid(t)
	// On a new machine a backup is copied to where the ledger will be.
	fresh := w.file("backup")
	w.stop()
	w.database = fresh
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
