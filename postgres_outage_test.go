package paywall_test

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall"
	"github.com/caddy-axra/paywall/internal/pgtest"
)

// Caddy starts without its database, serves what is free, and sells as soon as the database is there.
func TestCaddyStartsWithoutItsDatabase(t *testing.T) {
	server := pgtest.New(t)
	databaseURL := strings.Replace(server.NewDatabase(t), ":"+port(server), ":"+port(server)+hangingHost(t), 1)
	server.Pause()
	began := time.Now()
	w := newWorld(t, worldOptions{Caddyfile: measured(fiveLines), DatabaseURL: databaseURL, Broken: true})
	if took := time.Since(began); took > 3500*time.Millisecond {
		t.Errorf("Caddy starts in %s", took)
	}
	v := w.visitor()
	if free := v.open("/"); free.status != http.StatusOK {
		t.Errorf("the free page answers %d", free.status)
	}
	answer := v.open("/premium/article.html")
	answer.wantPage(t, http.StatusServiceUnavailable, "Your payment is safe")
	if answer.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	body := encode(t, map[string]any{"event": "payment.refunded", "data": map[string]any{"paymentId": "bpay_1"}})
	if status := w.deliver(body, sign(body, webhookSecret)).status; status != http.StatusServiceUnavailable {
		t.Errorf("a webhook is answered %d", status)
	}
	if w.creations() != 0 {
		t.Error("something is sold")
	}
	w.pass(time.Minute)
	if seen := w.scrape(); seen["caddy_axra_change_feed_age_seconds"] < 60 || seen[`caddy_axra_ledger_errors_total{operation="poll"}`] == 0 {
		t.Errorf("the metrics do not show it: %v", seen)
	}
	began = time.Now()
	w.load(w.config) // a reload meanwhile
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("a reload takes %s", took)
	}
	server.Resume()
	w.broken = false
	w.awaitLedger()
	if !strings.Contains(w.log(), "the ledger was opened") {
		t.Error("the log does not say that it is open")
	}
	if strings.Contains(w.log(), "the ledger cannot be read; nothing is sold") {
		t.Error("the log says that it cannot be read")
	}
	v.buy("/premium/article.html", cardGood).wantPaid(t)
}

// hangingHost is one more host for a URL, which accepts connections and answers nothing. It is waited for as well.
func hangingHost(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	mustDo(t, err)
	t.Cleanup(func() { mustDo(t, listener.Close()) })
	return "," + listener.Addr().String()
}

// A database that comes and goes every second fills no log, and neither does one that stays away.
func TestAnOutageIsLoggedOnceAMinute(t *testing.T) {
	server := pgtest.Shared(t)
	databaseURL := server.NewDatabase(t)
	w := newWorld(t, worldOptions{DatabaseURL: databaseURL})
	buyer := w.visitor()
	_, event := buyer.started("/premium/article.html")
	body := encode(t, event)
	name := pgtest.Name(databaseURL)
	use := func() {
		_ = paywall.PollFeeds(t.Context())
		w.visitor().open("/premium/article.html")
		buyer.open("/premium/article.html")
		w.deliver(body, sign(body, webhookSecret))
	}
	cut := func() {
		server.Exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
	}
	minutes := func(n int) {
		t.Helper()
		for message, count := range w.logged("error", "warn", "info") {
			if isAboutTheLedger(message) && count > n {
				t.Errorf("%q is there %d times within %d minutes", message, count, n)
			}
		}
	}
	for range 3 {
		server.Exec(t, "ALTER DATABASE "+name+" ALLOW_CONNECTIONS false")
		cut()
		use()
		server.Exec(t, "ALTER DATABASE "+name+" ALLOW_CONNECTIONS true")
		use()
		time.Sleep(600 * time.Millisecond) // connections are made again
		use()
		cut() // as a pooler does that is started anew
		use()
	}
	minutes(1)
	found := w.logged("error")
	if found["the ledger cannot be used: nothing is sold until it is right again"] != 1 {
		t.Errorf("the outage is not in the log: %v", found)
	}
	server.Exec(t, "ALTER DATABASE "+name+" ALLOW_CONNECTIONS false")
	cut()
	for range 3 {
		w.pass(time.Minute)
		use()
		use()
	}
	minutes(4)
	if after := w.logged("error")["a verified event could not be stored; Axra is asked to send it again"]; after < 3 {
		t.Errorf("a long outage is in the log %d times", after)
	}
	server.Exec(t, "ALTER DATABASE "+name+" ALLOW_CONNECTIONS true")
	w.awaitLedger()
	w.sure(event)
	buyer.browse("/premium/article.html").wantPaid(t)
}

func isAboutTheLedger(message string) bool {
	for _, word := range []string{"ledger", "stored", "signing keys", "purchase"} {
		if strings.Contains(message, word) {
			return true
		}
	}
	return false
}
