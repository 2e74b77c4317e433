package paywall_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-axra/paywall/internal/pgtest"
)

func TestMain(m *testing.M) {
	data, err := os.MkdirTemp("", "paywall-*")
	if err != nil {
		panic(err)
	}
	// A test that names no database must not touch the ledger of who runs it.
	os.Setenv("XDG_DATA_HOME", data)
	code := m.Run()
	pgtest.Stop()
	os.RemoveAll(data)
	os.Exit(code)
}

// passwordForms are the password of pgtest, as it is and as a URL has it, and its telling part.
var passwordForms = []string{"se/cret%", "se%2Fcret%25", "cret%"}

// Nothing that Caddy writes or answers holds the password of the database, also a wrong one, which a reload corrects.
func TestAReloadCorrectsAPasswordAndNoneIsShown(t *testing.T) {
	right := pgtest.Shared(t).NewDatabase(t)
	wrong := strings.Replace(right, "%25@", "%25%3A@", 1)
	config := strings.Replace(member(), "SETUP", "SETUP ADMIN", 1)
	newWorld(t, worldOptions{DatabaseURL: right}).stop() // the ledger is there
	w := newWorld(t, worldOptions{Caddyfile: config, DatabaseURL: wrong, Broken: true})
	w.visitor().open("/premium/article.html").wantPage(t, http.StatusServiceUnavailable, "Your payment is safe")
	if !strings.Contains(w.log(), "the ledger cannot be opened") {
		t.Error("the log does not say that it cannot be opened")
	}
	w.wantNoPassword(wrong)

	t.Setenv("AXRA_DATABASE_URL", right)
	saved := w.loadAndSave(config)
	w.awaitLedger()
	w.visitor().buy("/premium/article.html", cardGood).wantPaid(t)
	w.wantNoPassword(right)
	for _, form := range append(passwordForms, right) {
		if strings.Contains(saved, form) {
			t.Errorf("the autosaved configuration has %q:\n%s", form, saved)
		}
	}
}

// wantNoPassword looks for the password in whatever Caddy writes or answers.
func (w *world) wantNoPassword(databaseURL string) {
	w.t.Helper()
	texts := make(map[string]string)
	for _, path := range []string{"/config/", "/metrics", "/axra/report"} {
		texts[path] = w.askAdmin(path)
	}
	for _, args := range [][]string{{"list"}, {"export", "-"}, {"backup", "-"}, {"restore-backup", w.logs}, {"import", w.logs}, {"sweep"}, {"keys", "list"}} {
		out, aside, err := w.operateWith("", args...)
		texts[strings.Join(args, " ")] = out + aside
		if err != nil {
			texts[args[0]+" fails"] = err.Error()
		}
	}
	texts["the gate"] = w.visitor().open("/premium/article.html").body
	body := encode(w.t, map[string]any{"event": "payment.refunded", "data": map[string]any{"paymentId": "bpay_1"}})
	texts["the webhook"] = w.deliver(body, sign(body, webhookSecret)).body
	texts["the log"] = w.log()
	for where, text := range texts {
		for _, form := range append(passwordForms, databaseURL) {
			if strings.Contains(text, form) {
				w.t.Errorf("%s has %q:\n%s", where, form, text)
			}
		}
	}
}

// loadAndSave loads a Caddyfile and returns what Caddy saves of it.
func (w *world) loadAndSave(config string) string {
	w.t.Helper()
	before := caddy.ConfigAutosavePath
	defer func() { caddy.ConfigAutosavePath = before }()
	caddy.ConfigAutosavePath = filepath.Join(w.t.TempDir(), "autosave.json")
	mustDo(w.t, w.tryLoad(strings.Replace(w.expand(config), "persist_config off", "", 1)))
	saved, err := os.ReadFile(caddy.ConfigAutosavePath)
	mustDo(w.t, err)
	return string(saved)
}

func (w *world) askAdmin(path string) string {
	w.t.Helper()
	for range 100 {
		response, err := http.Get("http://" + w.admin() + path)
		if err != nil {
			time.Sleep(10 * time.Millisecond) // it opens some moments after a reload
			continue
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		mustDo(w.t, err)
		return string(body)
	}
	w.t.Fatal("the admin API does not answer")
	return ""
}
