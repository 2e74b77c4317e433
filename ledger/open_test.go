package ledger_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-axra/paywall/ledger"
)

func TestALedgerThatIsNotOpenIsUnavailable(t *testing.T) {
	onEach(t, func(t *testing.T, on backend) {
		l := ledger.New(on.empty(t))
		_, err := l.RecordPayment(t.Context(), payment("a"))
		wantError(t, "a payment", err, ledger.ErrUnavailable)
		_, err = l.Holding(t.Context(), "a")
		wantError(t, "a look-up", err, ledger.ErrUnavailable)
		_, err = l.Poll(t.Context(), ledger.Position{})
		wantError(t, "a poll", err, ledger.ErrUnavailable)
		_, err = l.Keys(t.Context())
		wantError(t, "the keys", err, ledger.ErrUnavailable)
		if _, err := os.Stat(l.Path()); err == nil {
			t.Errorf("New made a ledger")
		}
		if err := l.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
}

func TestOpeningMayBeRetried(t *testing.T) {
	t.Parallel()
	directory := filepath.Join(t.TempDir(), "taken")
	must(t, os.WriteFile(directory, nil, 0o600))
	l := ledger.New(ledger.Options{Path: filepath.Join(directory, "ledger.db")})
	defer l.Close()
	_, err := l.Open(t.Context())
	wantError(t, "opening below a file", err, ledger.ErrUnavailable)
	_, err = l.Holding(t.Context(), "a")
	wantError(t, "a look-up", err, ledger.ErrUnavailable)
	must(t, os.Remove(directory))
	created, err := l.Open(t.Context())
	if err != nil || !created {
		t.Fatalf("opening again: %v, %v", created, err)
	}
	if created, err = l.Open(t.Context()); err != nil || created {
		t.Errorf("opening an open ledger: %v, %v", created, err)
	}
}

func TestOnlyTheOwnerReadsTheFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onSQLite)
	w.pay(t, payment("a"))
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(w.Path() + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("ledger.db%s has mode %o", suffix, info.Mode().Perm())
		}
	}
}

func TestWhatOpenRefuses(t *testing.T) {
	t.Parallel()
	makeLedger := func(statement string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			w := openWorld(t, ledger.Options{Path: path})
			must(t, w.Exec(t.Context(), statement))
			w.Close()
		}
	}
	for _, test := range []struct {
		name    string
		prepare func(*testing.T, string)
		want    string // empty: it opens
	}{
		{"an empty file", func(t *testing.T, path string) { os.WriteFile(path, nil, 0o600) }, ""},
		{"what is no database", func(t *testing.T, path string) { os.WriteFile(path, []byte(strings.Repeat("text ", 1000)), 0o600) }, "not a database"},
		{"a database of another program", makeLedger(`DROP TABLE schema_versions`), "another program"},
		{"no schema version", makeLedger(`DELETE FROM schema_versions`), "schema version"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ledger.db")
			test.prepare(t, path)
			l := ledger.New(ledger.Options{Path: path})
			defer l.Close()
			_, err := l.Open(t.Context())
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v, want %q in it", err, test.want)
			}
		})
	}
	l := ledger.New(ledger.Options{Path: "ledger.db"})
	defer l.Close()
	if _, err := l.Open(t.Context()); err == nil || !strings.Contains(err.Error(), "absolute") {
		t.Errorf("a relative path: %v", err)
	}
}

func TestClosingWaitsForTheQueue(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		results := make(chan error, 50)
		for i := range 50 {
			go func() {
				_, err := w.RecordPayment(t.Context(), payment(string(rune('A'+i))))
				results <- err
			}()
		}
		if err := <-results; err != nil {
			t.Error(err)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		acknowledged := 1
		for range 49 {
			if err := <-results; err == nil {
				acknowledged++
			} else {
				wantError(t, "a payment at closing", err, ledger.ErrUnavailable)
			}
		}
		again := openWorld(t, w.location)
		found := 0
		for i := range 50 {
			if again.status(t, string(rune('A'+i))) == ledger.Active {
				found++
			}
		}
		if found < acknowledged {
			t.Errorf("%d payments were acknowledged, %d are stored", acknowledged, found)
		}
	})
}

// A rolling upgrade: nodes of two versions share a database for a while.
func TestOldAndNewProgramsShareADatabase(t *testing.T) {
	onEach(t, func(t *testing.T, on backend) {
		const script = `
			ALTER TABLE purchases ADD COLUMN coupon TEXT NOT NULL DEFAULT '';
			CREATE INDEX purchases_by_coupon ON purchases (coupon);`
		old := newWorld(t, on)
		old.pay(t, payment("before"))
		upgraded := openWorld(t, ledger.WithMigration(old.location, script, 1))
		position := old.poll(t, ledger.Position{}).Position
		old.pay(t, payment("old"))
		upgraded.pay(t, payment("new"))
		upgraded.pay(t, extension("more", "before"))
		upgraded.tell(t, event(ledger.EventRefunded, "old"))
		old.tell(t, event(ledger.EventRefunded, "new"))
		for name, w := range map[string]world{"old": old, "upgraded": upgraded} {
			for session, want := range map[string]ledger.Status{"before": ledger.Active, "old": ledger.Refunded, "new": ledger.Refunded} {
				if got := w.status(t, session); got != want {
					t.Errorf("%s: %s is %s, want %s", name, session, got, want)
				}
			}
			if changes := w.poll(t, position); changes.All || len(changes.PurchaseIDs) != 3 {
				t.Errorf("%s: the poll says %+v", name, changes)
			}
		}
		if reopened := openWorld(t, old.location); reopened.status(t, "before") != ledger.Active {
			t.Error("an old program does not start any more")
		}
		again := openWorld(t, ledger.WithMigration(old.location, script, 1))
		again.pay(t, payment("again"))
	})
}

// A program that is too old for the schema says so, and sells nothing.
func TestAnOldProgramRefusesASchemaThatItCannotUse(t *testing.T) {
	onEach(t, func(t *testing.T, on backend) {
		running := newWorld(t, on)
		openWorld(t, ledger.WithMigration(running.location, `ALTER TABLE keys ADD COLUMN note TEXT NOT NULL DEFAULT '';`, 2))
		_, err := running.RecordPayment(t.Context(), payment("a"))
		wantError(t, "a payment at an old program that runs", err, ledger.ErrUnavailable)
		_, err = running.Poll(t.Context(), ledger.Position{})
		wantError(t, "its poll", err, ledger.ErrUnavailable)
		if running.Err() == nil {
			t.Error("it may still sell")
		}
		old := ledger.New(running.location)
		defer old.Close()
		_, err = old.Open(t.Context())
		wantError(t, "opening", err, ledger.ErrUnavailable)
		if err == nil || !strings.Contains(err.Error(), "upgrade the plugin") {
			t.Errorf("the error does not say what to do: %v", err)
		}
	})
}

func TestCheckLocation(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	file := filepath.Join(root, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for path, want := range map[string]string{
		file:                              "",
		filepath.Join(root, "ledger.db"):  "",
		filepath.Join(root, "a/b/new.db"): "",
		"axra/ledger.db":                  "must be absolute",
		root:                              "is not a file",
		filepath.Join(file, "ledger.db"):  "not a directory",
	} {
		err := ledger.CheckLocation(path)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "a")); err == nil {
		t.Error("a directory was made")
	}
}
