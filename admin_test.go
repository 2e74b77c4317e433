package paywall_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/sitetest"
)

// office is a world with Caddy's admin API.
func office(t *testing.T, options ...string) *sitetest.World {
	t.Helper()
	config := sitetest.Member(options...)
	return newWorld(t, sitetest.Options{Caddyfile: strings.Replace(config, "SETUP", "SETUP ADMIN", 1)})
}

// shown is what caddy axra show --json prints of a purchase.
type shown struct {
	ID        string    `json:"id"`
	Reference string    `json:"reference"`
	Status    string    `json:"status"`
	EndsAt    time.Time `json:"ends_at"`
}

// show returns what is known about a purchase.
func show(w *sitetest.World, name string) shown {
	w.T.Helper()
	var found shown
	w.RunJSON(&found, "show", name)
	return found
}

func TestTheOperatorFindsAndRevokesAPurchase(t *testing.T) {
	w := office(t)
	if out := w.Run("list"); !strings.HasPrefix(out, "none") {
		t.Errorf("an empty ledger lists %s", out)
	}
	v := w.Visitor()
	v.Buy(article).WantPaid(t)
	payment := w.LastPayment()
	found := show(w, payment.ID)
	for _, name := range []string{found.ID, strings.ToUpper(found.Reference), payment.SessionID} {
		if by := show(w, name); by.ID != found.ID || by.Status != "active" || by.EndsAt.IsZero() {
			t.Errorf("%s is %+v", name, by)
		}
		if out := w.Run("list", "--search", name); !strings.Contains(out, found.Reference) || !strings.Contains(out, "5.00 USD") {
			t.Errorf("%s lists %s", name, out)
		}
	}
	if out := w.Run("revoke", payment.SessionID, "--note", "shared with the world"); !strings.Contains(out, "status: revoked") {
		t.Error(out)
	}
	// T7: at once on this node, and no new checkout by itself.
	v.Open(article).WantPage(t, http.StatusPaymentRequired, "Access was withdrawn")
	if out := w.Run("show", payment.ID); w.Creations() != 1 || !strings.Contains(out, "shared with the world") {
		t.Errorf("%d sessions; shows %s", w.Creations(), out)
	}
	w.Run("restore", payment.ID)
	v.Open(article).WantPaid(t)
	mustDo(t, w.Sandbox.Refund(payment.ID))
	w.Delivered()
	w.WantError("the purchase stays refunded", "restore", payment.SessionID)
	v.Open(article).WantPage(t, http.StatusPaymentRequired, "refunded")
	w.WantError("no such purchase", "revoke", "cs_unknown")

	// The id of a session may open its purchase: no list shows it, and no log line, though Caddy logs each call.
	for _, args := range [][]string{{"list"}, {"list", "--json"}, {"revoke", payment.ID}, {"report", "--json"}} {
		if out := w.Run(args...); strings.Contains(out, payment.SessionID) {
			t.Errorf("%v prints %s", args, out)
		}
	}
	for line := range strings.Lines(w.Log()) {
		if strings.Contains(line, payment.SessionID) || strings.Contains(line, payment.ID) {
			t.Errorf("a line of the log: %s", line)
		}
	}
}

func TestTheOperatorGivesAccess(t *testing.T) {
	w := office(t)
	var given struct{ Purchase, Link string }
	w.RunJSON(&given, "give", w.Site+article, "--for", "10d", "--note", "review copy", "--devices", "2")
	for range 3 { // who only looks takes nothing
		w.Visitor().Open(given.Link).WantPage(t, http.StatusOK, "has given you access")
	}
	first, second := w.Visitor(), w.Visitor()
	first.OpenOnDevice(given.Link).WantPaid(t)
	second.OpenOnDevice(given.Link).WantPaid(t)
	w.Visitor().Open(given.Link).WantPage(t, http.StatusForbidden, "All devices of this purchase are in use")
	receipt := first.Open(receiptPage)
	receipt.WantPage(t, http.StatusOK, "2 of 2")
	if strings.Contains(receipt.Body, "payment has arrived") || strings.Contains(receipt.Body, "Bought") {
		t.Errorf("a gift speaks of a payment: %s", receipt.Body)
	}
	if out := w.Run("report"); w.Creations() != 0 || strings.Contains(out, "member") {
		t.Errorf("%d sessions; what was given is in the accounts: %s", w.Creations(), out)
	}
	w.Run("revoke", given.Purchase)
	if answer := first.Open(article); answer.Status != http.StatusPaymentRequired {
		t.Errorf("revoked: %d", answer.Status)
	}
	w.Run("restore", given.Purchase)
	w.Restart() // it lies in the ledger
	first.Open(article).WantPaid(t)
	w.Pass(11 * day)
	first.Open(article).WantCheckout(t, w)
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
				response, err := http.Post("http://"+w.AdminAddress()+"/axra/keys/list", "", nil) //nolint:noctx // a test
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
		w.Load(w.Config)
	}
	close(done)
	clients.Wait()
}

func TestABackupIsRestoredWhileCaddyRuns(t *testing.T) {
	w := office(t)
	before, later := w.Visitor(), w.Visitor()
	before.Buy(article).WantPaid(t)
	file := w.File("backup")
	later.Buy(article).WantPaid(t)
	out := w.Run("restore-backup", file)
	_, kept, _ := strings.Cut(strings.TrimSpace(out), "kept: ")
	if _, err := os.Stat(kept); err != nil {
		t.Errorf("%v in %s", err, out)
	}
	before.Open(article).WantPaid(t)
	// What was bought since is missing, which is not "not paid".
	later.Open(article).WantPaid(t)
	w.Pass(11 * time.Minute)
	later.Open(article).WantPage(t, http.StatusServiceUnavailable, "Your payment is safe")
	w.Visitor().Buy(article).WantPaid(t)
	w.WantError("not a complete backup", "restore-backup", w.Logs)
	before.Open(article).WantPaid(t)
	// A new machine begins with a new ledger.
	w.Stop()
	w.Database = "sqlite " + filepath.Join(t.TempDir(), "ledger.db")
	w.Load(w.Config)
	w.Run("restore-backup", file)
	before.Open(article).WantPaid(t)
	w.Visitor().Buy(article).WantPaid(t)
}
