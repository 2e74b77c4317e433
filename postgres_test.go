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
	"github.com/caddyserver/caddy/v2/caddyconfig"

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

// Nothing that Caddy writes or answers holds the password, right or wrong.
func TestThePasswordIsNotShown(t *testing.T) {
	server := pgtest.Shared(t)
	good := server.NewDatabase(t)
	for name, databaseURL := range map[string]string{
		"the right one": good,
		"a wrong one":   strings.Replace(good, "%25@", "%25%3A@", 1),
	} {
		t.Run(name, func(t *testing.T) {
			config := strings.Replace(member(), "SETUP", "SETUP ADMIN", 1)
			w := newWorld(t, worldOptions{Caddyfile: config, DatabaseURL: databaseURL, Broken: databaseURL != good})
			autosaved := w.loadAndSave(config)
			texts := map[string]string{"the autosaved configuration": autosaved}
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
			body := encode(t, map[string]any{"event": "payment.refunded", "data": map[string]any{"paymentId": "bpay_1"}})
			texts["the webhook"] = w.deliver(body, sign(body, webhookSecret)).body
			logged, err := os.ReadFile(w.logs)
			mustDo(t, err)
			texts["the log"] = string(logged)
			if databaseURL != good && !strings.Contains(texts["the log"], "the ledger cannot be opened") {
				t.Error("the log does not say that it cannot be opened")
			}
			for where, text := range texts {
				for _, form := range append(passwordForms, databaseURL) {
					if strings.Contains(text, form) {
						t.Errorf("%s has %q:\n%s", where, form, text)
					}
				}
			}
		})
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

// tryLoad loads a Caddyfile as it is.
func (w *world) tryLoad(expanded string) error {
	w.t.Helper()
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(expanded), map[string]any{"filename": "Caddyfile"})
	mustDo(w.t, err)
	return caddy.Load(adapted, true)
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

// configOf is the configuration in force with a ledger in a PostgreSQL database.
func (w *world) configOf(t *testing.T, databaseURL string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "url")
	mustDo(t, os.WriteFile(name, []byte(databaseURL+"\n"), 0o600))
	return strings.Replace(w.expand(w.config), w.place(), "postgres {file."+name+"}", 1)
}

// What was mistyped at the start is corrected by a reload.
func TestAReloadCorrectsTheURL(t *testing.T) {
	databaseURL := pgtest.Shared(t).NewDatabase(t)
	newWorld(t, worldOptions{DatabaseURL: databaseURL}).stop() // the ledger is there
	w := newWorld(t, worldOptions{DatabaseURL: strings.Replace(databaseURL, "owner:", "owner:x", 1), Broken: true})
	w.visitor().open("/premium/article.html").wantPage(t, http.StatusServiceUnavailable, "Your payment is safe")
	mustDo(t, w.tryLoad(w.configOf(t, databaseURL)))
	w.awaitLedger()
	w.visitor().buy("/premium/article.html", cardGood).wantPaid(t)
}
