package paywall_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-axra/paywall/internal/pgtest"
	"github.com/caddy-axra/paywall/internal/sitetest"
)

// passwordForms are the password of pgtest, as it is and as a URL has it, and its telling part.
var passwordForms = []string{"se/cret%", "se%2Fcret%25", "cret%"}

// Nothing that Caddy writes or answers holds the password of the database, also a wrong one, which a reload corrects.
func TestAReloadCorrectsAPasswordAndNoneIsShown(t *testing.T) {
	right := pgtest.Shared(t).NewDatabase(t)
	wrong := strings.Replace(right, "%25@", "%25%3A@", 1)
	config := strings.Replace(sitetest.Member(), "SETUP", "SETUP ADMIN", 1)
	newWorld(t, sitetest.Options{DatabaseURL: right}).Stop() // the ledger is there
	w := newWorld(t, sitetest.Options{Caddyfile: config, DatabaseURL: wrong, Broken: true})
	w.Visitor().Open(article).WantPage(t, http.StatusServiceUnavailable, "Your payment is safe")
	if !strings.Contains(w.Log(), "the ledger cannot be opened") {
		t.Error("the log does not say that it cannot be opened")
	}
	wantNoPassword(w, wrong)

	t.Setenv("AXRA_DATABASE_URL", right)
	saved := loadAndSave(w, config)
	w.AwaitLedger()
	w.Visitor().Buy(article).WantPaid(t)
	wantNoPassword(w, right)
	for _, form := range append(passwordForms, right) {
		if strings.Contains(saved, form) {
			t.Errorf("the autosaved configuration has %q:\n%s", form, saved)
		}
	}
}

// wantNoPassword looks for the password in whatever Caddy writes or answers.
func wantNoPassword(w *sitetest.World, databaseURL string) {
	w.T.Helper()
	texts := make(map[string]string)
	for _, path := range []string{"/config/", "/metrics", "/axra/report"} {
		texts[path] = w.AskAdmin(path)
	}
	for _, args := range [][]string{{"list"}, {"export", "-"}, {"backup", "-"}, {"restore-backup", w.Logs}, {"import", w.Logs}, {"sweep"}, {"keys", "list"}} {
		out, aside, err := w.OperateWith("", args...)
		texts[strings.Join(args, " ")] = out + aside
		if err != nil {
			texts[args[0]+" fails"] = err.Error()
		}
	}
	texts["the gate"] = w.Visitor().Open(article).Body
	texts["the webhook"] = w.Send(map[string]any{"event": "payment.refunded", "data": map[string]any{"paymentId": "bpay_1"}}).Body
	texts["the log"] = w.Log()
	for where, text := range texts {
		for _, form := range append(passwordForms, databaseURL) {
			if strings.Contains(text, form) {
				w.T.Errorf("%s has %q:\n%s", where, form, text)
			}
		}
	}
}

// loadAndSave loads a Caddyfile and returns what Caddy saves of it.
func loadAndSave(w *sitetest.World, config string) string {
	w.T.Helper()
	before := caddy.ConfigAutosavePath
	defer func() { caddy.ConfigAutosavePath = before }()
	caddy.ConfigAutosavePath = filepath.Join(w.T.TempDir(), "autosave.json")
	mustDo(w.T, w.TryLoad(strings.Replace(w.Expand(config), "persist_config off", "", 1)))
	saved, err := os.ReadFile(caddy.ConfigAutosavePath)
	mustDo(w.T, err)
	return string(saved)
}
