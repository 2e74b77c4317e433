package paywall_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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

func port(server *pgtest.Server) string { return strconv.Itoa(server.Port()) }

// officeOf is a world with Caddy's admin API and its ledger in PostgreSQL.
func officeOf(t *testing.T, databaseURL string) *world {
	t.Helper()
	return newWorld(t, worldOptions{Caddyfile: strings.Replace(member(), "SETUP", "SETUP ADMIN", 1), DatabaseURL: databaseURL})
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

// PostgreSQL has its own tools for backups; what the plugin does by rows works as on SQLite.
func TestTheOperatorOfAServer(t *testing.T) {
	w := officeOf(t, pgtest.Shared(t).NewDatabase(t))
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	v.open("/premium/article.html").wantPaid(t)
	if found := w.show(w.lastPayment().ID); found.Status != "active" {
		t.Errorf("%+v", found)
	}
	if out := w.run("report"); !strings.Contains(out, "5.00") {
		t.Errorf("the report says %s", out)
	}
	w.run("sweep")
	before := here(t)
	backup := filepath.Join(t.TempDir(), "backup")
	w.wantError("pg_dump", "backup", backup)
	w.wantError("pg_restore", "restore-backup", w.logs)
	if _, err := os.Stat(backup); err == nil {
		t.Error("backup makes a file")
	}
	if after := here(t); !slices.Equal(before, after) {
		t.Errorf("files are left: %v", after)
	}
	for _, path := range []string{"/axra/backup", "/axra/restore-backup"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+w.admin()+path, strings.NewReader("x"))
		mustDo(t, err)
		response, err := http.DefaultClient.Do(request)
		mustDo(t, err)
		mustDo(t, response.Body.Close())
		if response.StatusCode != http.StatusConflict {
			t.Errorf("%s answers %d", path, response.StatusCode)
		}
	}
	w.wantError("has payments already", "import", w.file("export"))
	mustDo(t, w.sandbox.Refund(w.lastPayment().ID))
	w.delivered()
	if answer := v.open("/premium/article.html"); strings.Contains(answer.body, marker) {
		t.Error("it is open after a refund")
	}
	if text := w.log(); strings.Contains(text, "could not be backed up") || strings.Contains(text, "could not be replaced") {
		t.Error("what PostgreSQL does by itself is logged as an error")
	}
}

// here are the files of the working directory, where a path of "" would lead to.
func here(t *testing.T) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(".")
	mustDo(t, err)
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// logged counts the lines at or above a level by message.
func (w *world) logged(levels ...string) map[string]int {
	w.t.Helper()
	counts := make(map[string]int)
	for line := range strings.Lines(w.log()) {
		var entry struct{ Level, Msg string }
		if json.Unmarshal([]byte(line), &entry) == nil && slices.Contains(levels, entry.Level) {
			counts[entry.Msg]++
		}
	}
	return counts
}

// Thirty reloads, a half of them with another configuration, leave the connections as they were.
func TestReloadsKeepTheConnections(t *testing.T) {
	server := pgtest.Shared(t)
	databaseURL := server.NewDatabase(t)
	w := newWorld(t, worldOptions{DatabaseURL: databaseURL})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	connections := func() int {
		return server.Count(t, "SELECT count(*) FROM pg_stat_activity WHERE datname = $1", pgtest.Name(databaseURL))
	}
	before := connections()
	other := strings.Replace(fiveLines, "access 30d", "access 31d", 1)
	for range 15 {
		w.load(other)
		w.load(fiveLines)
	}
	v.open("/premium/article.html").wantPaid(t)
	if after := connections(); after > 6 {
		t.Errorf("%d connections, before %d", after, before)
	}
	w.stop()
	for range 100 {
		if connections() == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if left := connections(); left != 0 {
		t.Errorf("%d connections after the end", left)
	}
}

// A reload to another installation's ledger is refused, and creates nothing there.
func TestAReloadToAnotherDatabaseIsRefused(t *testing.T) {
	server := pgtest.Shared(t)
	empty, foreign, own := server.NewDatabase(t), server.NewDatabase(t), server.NewDatabase(t)
	newWorld(t, worldOptions{DatabaseURL: foreign}).stop()

	w := newWorld(t, worldOptions{DatabaseURL: own})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	onSQLite := newSQLiteConfig(w, filepath.Join(t.TempDir(), "axra", "ledger.db"))
	for name, config := range map[string]string{
		"an empty database":       w.configOf(t, empty),
		"another installation":    w.configOf(t, foreign),
		"a server that is down":   w.configOf(t, strings.Replace(own, ":"+port(server), ":1", 1)),
		"SQLite from PostgreSQL":  onSQLite,
		"a wrong password":        w.configOf(t, strings.Replace(own, "owner:", "owner:x", 1)),
		"a database that is none": w.configOf(t, own+"_none"),
	} {
		if err := w.tryLoad(config); err == nil || !strings.Contains(err.Error(), "holds purchases") {
			t.Errorf("%s: %v", name, err)
		}
		v.open("/premium/article.html").wantPaid(t)
	}
	if exists, err := hasLedger(t, empty); err != nil || exists {
		t.Errorf("there is a ledger in the empty database: %v, %v", exists, err)
	}
	if _, err := os.Stat(strings.Fields(onSQLite[strings.Index(onSQLite, "database sqlite "):])[2]); err == nil {
		t.Error("there is a ledger in the file")
	}
	mustDo(t, w.tryLoad(w.configOf(t, own+"?application_name=again"))) // the same ledger by another URL
	v.open("/premium/article.html").wantPaid(t)
	w.stop()

	w = newWorld(t, worldOptions{})
	w.visitor().buy("/premium/article.html", cardGood).wantPaid(t)
	if err := w.tryLoad(w.configOf(t, empty)); err == nil || !strings.Contains(err.Error(), "holds purchases") {
		t.Errorf("PostgreSQL from SQLite: %v", err)
	}
	if exists, err := hasLedger(t, empty); err != nil || exists {
		t.Errorf("there is a ledger in the empty database: %v, %v", exists, err)
	}
}

// configOf is the configuration in force with a ledger in a PostgreSQL database.
func (w *world) configOf(t *testing.T, databaseURL string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "url")
	mustDo(t, os.WriteFile(name, []byte(databaseURL+"\n"), 0o600))
	return strings.Replace(w.expand(w.config), w.place(), "postgres {file."+name+"}", 1)
}

// newSQLiteConfig is the configuration in force with a ledger in a file.
func newSQLiteConfig(w *world, path string) string {
	return strings.Replace(w.expand(w.config), w.place(), "sqlite "+path, 1)
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
