package paywall_test

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-axra/paywall"
	"github.com/caddy-axra/paywall/internal/faults"
)

func newFaultyWorld(t *testing.T) (*world, *faults.Control) {
	t.Helper()
	return newFaultyWorldOf(t, fiveLines)
}

// newFaultyWorldOf has the ledger on a storage that fails on command.
func newFaultyWorldOf(t *testing.T, config string) (*world, *faults.Control) {
	t.Helper()
	root := t.TempDir()
	w := newWorld(t, worldOptions{Caddyfile: strings.Replace(config, "endpoint       ENDPOINT",
		"endpoint ENDPOINT\n\t\tstorage faulty "+root, 1)})
	control := faults.On(root)
	t.Cleanup(control.Heal)
	w.storage = root
	return w, control
}

// D1 and its class: what is not stored for certain is not acknowledged; the retry
// grants.
func TestD1WebhookOnBrokenStorage(t *testing.T) {
	for _, fault := range []faults.Fault{faults.Fails, faults.Full, faults.Garbles, faults.Empties, faults.Forgets, faults.Blind, faults.Panics} {
		t.Run(string(fault), func(t *testing.T) {
			w, storage := newFaultyWorld(t)
			v := w.visitor()
			_, event := v.started("/premium/article.html")
			body := encode(t, event)
			storage.Set(fault, "axra/ledger")
			if answer := w.deliver(body, sign(body, webhookSecret)); answer.status < 500 {
				t.Errorf("answers %d", answer.status)
			}
			storage.Heal()
			if answer := w.deliver(body, sign(body, webhookSecret)); answer.status != http.StatusOK {
				t.Errorf("the retry answers %d", answer.status)
			}
			v.browse("/premium/article.html").wantPaid(t)
		})
	}
	t.Run("stalls", func(t *testing.T) {
		if testing.Short() {
			t.Skip("takes five seconds")
		}
		w, storage := newFaultyWorld(t)
		v := w.visitor()
		_, event := v.started("/premium/article.html")
		body := encode(t, event)
		storage.Set(faults.Stalls, "axra/ledger")
		if answer := w.deliver(body, sign(body, webhookSecret)); answer.status < 500 {
			t.Errorf("answers %d", answer.status)
		}
		storage.Heal()
		w.deliver(body, sign(body, webhookSecret))
		v.browse("/premium/article.html").wantPaid(t)
	})
}

// D2: nobody is asked to pay while it cannot be told whether they have.
func TestD2ReturnOnBrokenStorage(t *testing.T) {
	for _, fault := range []faults.Fault{faults.Fails, faults.Blind, faults.Panics} {
		t.Run(string(fault), func(t *testing.T) {
			w, storage := newFaultyWorld(t)
			v := w.visitor()
			back := v.pay(v.browse("/premium/article.html"), cardGood)
			w.delivered()
			storage.Set(fault, "axra/ledger")
			for _, target := range []string{back.location(), "/premium/article.html", "/premium/article.html?axra_cancelled=1", "/premium/article.html?axra_restart=1"} {
				answer := v.open(target)
				answer.wantPage(t, http.StatusServiceUnavailable, "Your payment is safe")
				if answer.header.Get("Retry-After") == "" {
					t.Error("no Retry-After")
				}
			}
			if state := v.poll(back.location()); state != "waiting" {
				t.Errorf("the page is told %q", state)
			}
			if w.creations() != 1 {
				t.Errorf("%d sessions were created", w.creations())
			}
			// A stranger can still buy: nothing needs to be read for it.
			w.visitor().open("/premium/article.html").wantCheckout(t, w)
			storage.Heal()
			v.browse(back.location()).wantPaid(t)
		})
	}
}

// D3: those known to have paid are served for the time of grace, then not.
func TestD3RecheckOnBrokenStorage(t *testing.T) {
	for _, fault := range []faults.Fault{faults.Fails, faults.Blind} {
		t.Run(string(fault), func(t *testing.T) {
			w, storage := newFaultyWorld(t)
			v := w.visitor()
			v.buy("/premium/article.html", cardGood).wantPaid(t)
			storage.Set(fault, "axra/ledger")
			for range 9 {
				w.pass(time.Minute)
				v.open("/premium/article.html").wantPaid(t)
			}
			w.pass(2 * time.Minute)
			v.open("/premium/article.html").wantPage(t, http.StatusServiceUnavailable, "Your payment is safe")
			storage.Heal()
			w.pass(5 * time.Second)
			v.open("/premium/article.html").wantPaid(t)
		})
	}
}

// D3 in another guise: a storage that has lost everything, as an unmounted volume
// does, is not taken for a refund.
func TestD3VanishedStorage(t *testing.T) {
	w := newWorld(t, worldOptions{})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	ledger := filepath.Join(w.storage, "axra", "ledger")
	mustDo(t, os.Rename(ledger, ledger+".gone"))
	w.pass(time.Minute)
	v.open("/premium/article.html").wantPaid(t)
	w.pass(11 * time.Minute)
	v.open("/premium/article.html").wantPage(t, http.StatusServiceUnavailable, "Your payment is safe")
	w.restart()
	v.open("/premium/article.html").wantPage(t, http.StatusServiceUnavailable, "Your payment is safe")
	mustDo(t, os.Rename(ledger+".gone", ledger))
	v.open("/premium/article.html").wantPaid(t)
}

// D4: a garbled record denies, and the next delivery heals it.
func TestD4GarbledRecords(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "zeros": "\x00\x00\x00\x00", "not JSON": "paid", "another kind": `{"v":1,"kind":"refunded"}`,
		"no checksum": `{"v":1,"kind":"paid","session":"x"}`, "null": "null", "list": "[]", "half": `{"v":1,"kind":"pa`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			v := w.visitor()
			_, event := v.started("/premium/article.html")
			body := encode(t, event)
			w.deliver(body, sign(body, webhookSecret))
			path := w.paidFact()
			mustDo(t, os.WriteFile(path, []byte(content), 0o600))
			v.open("/premium/article.html").wantPage(t, http.StatusServiceUnavailable, "Your payment is safe")
			if w.creations() != 1 {
				t.Error("asked to pay again")
			}
			if answer := w.deliver(body, sign(body, webhookSecret)); answer.status != http.StatusOK {
				t.Errorf("the next delivery answers %d", answer.status)
			}
			v.browse("/premium/article.html").wantPaid(t)
		})
	}
}

func (w *world) paidFact() string {
	w.t.Helper()
	found, err := filepath.Glob(filepath.Join(w.storage, "axra", "ledger", "paid", "*", "*"))
	mustDo(w.t, err)
	if len(found) != 1 {
		w.t.Fatalf("%d facts", len(found))
	}
	return found[0]
}

// D5: no request waits for a lock, be it stale, corrupt or held for ever.
func TestD5Locks(t *testing.T) {
	t.Run("a stale lock on a running site", func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		v := w.visitor()
		v.buy("/premium/article.html", cardGood).wantPaid(t)
		locks := filepath.Join(w.storage, "locks")
		mustDo(t, os.MkdirAll(locks, 0o700))
		for name, content := range map[string]string{
			"axra_keyring.lock": `{"created":"2020-01-01T00:00:00Z","updated":"2020-01-01T00:00:00Z"}`,
			"corrupt.lock":      "",
		} {
			mustDo(t, os.WriteFile(filepath.Join(locks, name), []byte(content), 0o600))
		}
		w.restart()
		v.open("/premium/article.html").wantPaid(t)
		w.visitor().buy("/premium/article.html", cardGood).wantPaid(t)
	})
	t.Run("a lock held for ever at the very first start", func(t *testing.T) {
		root := t.TempDir()
		faults.On(root).Set(faults.LockHeld, "axra")
		w := newWorld(t, worldOptions{Caddyfile: strings.Replace(fiveLines, "endpoint       ENDPOINT",
			"endpoint ENDPOINT\n\t\tstorage faulty "+root, 1)})
		started := time.Now()
		answer := w.visitor().open("/premium/article.html")
		if answer.status != http.StatusServiceUnavailable || time.Since(started) > 5*time.Second {
			t.Errorf("answers %d after %s", answer.status, time.Since(started))
		}
		if free := w.visitor().open("/"); free.status != http.StatusOK {
			t.Errorf("the free page answers %d", free.status)
		}
		faults.On(root).Heal()
	})
}

// A garbled keyring is not replaced: that would log out everybody who has paid.
func TestGarbledKeyringIsKept(t *testing.T) {
	w := newWorld(t, worldOptions{})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	path := filepath.Join(w.storage, "axra", "keyring.json")
	good, err := os.ReadFile(path)
	mustDo(t, err)
	mustDo(t, os.WriteFile(path, []byte("{"), 0o600))
	w.load(strings.Replace(fiveLines, "30d", "31d", 1)) // a reload keeps the keys in memory
	v.open("/premium/article.html").wantPaid(t)
	w.restart()
	if answer := v.open("/premium/article.html"); answer.status != http.StatusServiceUnavailable {
		t.Errorf("answers %d", answer.status)
	}
	if now, _ := os.ReadFile(path); string(now) != "{" {
		t.Error("the garbled keyring was overwritten")
	}
	mustDo(t, os.WriteFile(path, good, 0o600))
	w.restart()
	v.open("/premium/article.html").wantPaid(t)
}

// goroutinesIn waits for n goroutines in a function of the plugin.
func goroutinesIn(t *testing.T, function string, n int) {
	t.Helper()
	stacks := make([]byte, 16<<20)
	found := 0
	for deadline := time.Now().Add(4 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		all := string(stacks[:runtime.Stack(stacks, true)])
		if found = strings.Count(all, "paywall.(*"+function); found >= n {
			return
		}
	}
	t.Fatalf("%d goroutines in %s, want %d", found, function, n)
}

// openWhileStalled opens a page from each of the browsers as often, all while storage stalls,
// and returns the answers and how many records were read.
func (w *world) openWhileStalled(control *faults.Control, browsers []*visitor, times int, stalled func()) (answers []reply, loads int) {
	before, _ := control.Counts()
	control.Set(faults.Stalls, "axra/ledger")
	var mu sync.Mutex
	var requests sync.WaitGroup
	for _, v := range browsers {
		for range times {
			requests.Go(func() {
				answer := v.open("/premium/article.html")
				mu.Lock()
				defer mu.Unlock()
				answers = append(answers, answer)
			})
		}
	}
	stalled()
	control.Heal()
	requests.Wait()
	after, _ := control.Counts()
	return answers, after - before
}

// However many requests of a browser come back from the checkout at once, the ledger is
// read once.
func TestRedemptionsOfASessionReadTheLedgerOnce(t *testing.T) {
	w, storage := newFaultyWorld(t)
	v := w.visitor()
	v.pay(v.browse("/premium/article.html"), cardGood)
	w.delivered()
	const times = 16
	answers, loads := w.openWhileStalled(storage, []*visitor{v}, times, func() { goroutinesIn(t, "grants).of(", times) })
	for _, answer := range answers {
		if answer.status != http.StatusSeeOther || answer.location() != "/premium/article.html" {
			t.Errorf("%d to %q", answer.status, answer.location())
		}
	}
	if loads != 3 {
		t.Errorf("%d reads, want 3", loads)
	}
	v.open("/premium/article.html").wantPaid(t)
}

// Two browsers with tokens of one session are rechecked by one reading.
func TestRechecksOfASessionReadTheLedgerOnce(t *testing.T) {
	w, storage := newFaultyWorld(t)
	v, other := w.visitor(), w.visitor()
	v.pay(v.browse("/premium/article.html"), cardGood)
	w.delivered()
	address, err := url.Parse(w.site + "/premium/")
	mustDo(t, err)
	other.client.Jar.SetCookies(address, v.cookies())
	v.browse("/premium/article.html").wantPaid(t)
	w.pass(2 * time.Second) // so that the tokens differ
	other.browse("/premium/article.html").wantPaid(t)
	if v.cookies()[0].Value == other.cookies()[0].Value {
		t.Fatal("both have the same token")
	}
	w.pass(time.Minute)
	answers, loads := w.openWhileStalled(storage, []*visitor{v, other}, 8, func() { goroutinesIn(t, "App).recheck.func1(", 2) })
	for _, answer := range answers {
		answer.wantPaid(t)
	}
	if loads != 3 {
		t.Errorf("%d reads, want 3", loads)
	}
}

// A token that others have pushed out of memory is read again, but neither is its
// signature checked nor the ledger asked once more: so a flood of visitors costs little.
func TestATokenThatIsForgottenKeepsItsStanding(t *testing.T) {
	for _, algorithm := range []string{"HS256", "EdDSA"} {
		t.Run(algorithm, func(t *testing.T) {
			w, storage := newFaultyWorldOf(t, strings.Replace(fiveLines, "endpoint       ENDPOINT", "signing_algorithm "+algorithm+"\n\t\tendpoint       ENDPOINT", 1))
			v := w.visitor()
			v.buy("/premium/article.html", cardGood)
			v.open("/premium/article.html").wantPaid(t)
			gate, err := paywall.OnlyGate(onlyServer(t))
			mustDo(t, err)
			before, _ := storage.Counts()
			gate.ForgetTokens()
			v.open("/premium/article.html").wantPaid(t)
			if after, _ := storage.Counts(); after != before {
				t.Errorf("%d reads", after-before)
			}
			// What is checked of a token beside its signature still is.
			gate.ForgetTokens()
			w.pass(401 * 24 * time.Hour)
			v.open("/premium/article.html").wantCheckout(t, w)
		})
	}
}

// After the answer to a webhook nobody is told what was read before it.
func TestAWebhookEndsTheReadingsBeforeIt(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: strings.Replace(fiveLines, "SETUP", "SETUP ADMIN", 1)})
	session, event := w.visitor().started("/premium/article.html")
	seen := make(map[string]bool)
	heard := func(after string) {
		t.Helper()
		edition, err := paywall.HeardOf(session)
		mustDo(t, err)
		if seen[edition] {
			t.Errorf("after %s readings go on that began before it", after)
		}
		seen[edition] = true
	}
	heard("the start")
	deliver := func() {
		body := encode(t, event)
		if answer := w.deliver(body, sign(body, webhookSecret)); answer.status != http.StatusOK {
			t.Fatalf("answers %d", answer.status)
		}
	}
	deliver()
	heard("the payment")
	event["event"] = "payment.refunded"
	deliver()
	heard("the refund")

	var other string
	other, event = w.visitor().started("/premium/article.html")
	metadata := event["data"].(map[string]any)["metadata"].(map[string]any)
	metadata["paywall_extends"], metadata["paywall_from"] = session, w.now().UTC().Format(time.RFC3339)
	deliver()
	heard("the extension by " + other)
}
