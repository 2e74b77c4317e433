package ledger_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/token"
)

// newFilled is a ledger with rows in every table, and two keys, one of them of yesterday.
func newFilled(t testing.TB, on backend) world {
	t.Helper()
	w := newWorld(t, on)
	_, err := w.ChangeKeys(t.Context(), func(token.KeySet) ([]token.StoredKey, error) {
		return []token.StoredKey{
			{ID: "yesterday's", Algorithm: "HS256", Secret: []byte{0, 1, 254, 255}, CreatedAt: start.Add(-day), SignFrom: start.Add(-day)},
			{ID: "today's", Algorithm: "EdDSA", Secret: []byte("<&>\u2028"), CreatedAt: start, SignFrom: start},
		}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	first := payment("a", "pay_a", "pi_a")
	first.Metadata = map[string]string{"note": "<b>\"é\"\n漢</b>"}
	id := w.pay(t, first)
	w.pay(t, extension("b", "a"))
	w.pay(t, underpaid(t, "wrong"))
	w.pay(t, lifelong("lifelong"))
	w.tell(t, event(ledger.EventRefunded, "b", "pay_b", "pi_b"))
	w.tell(t, event(ledger.EventRefunded, "", "pay_nobody"))
	must(t, w.AddDevice(t.Context(), id, ledger.Device{ID: "d1", Label: "Firefox"}))
	must(t, w.RemoveDevice(t.Context(), id, "d1"))
	must(t, w.Claim(t.Context(), id, ledger.Device{ID: "d2"}))
	must(t, errorOf(w.Decide(t.Context(), id, ledger.Revoke, "why")))
	return w
}

func (w world) export(t testing.TB) string {
	t.Helper()
	var out bytes.Buffer
	must(t, w.Export(context.Background(), &out))
	return out.String()
}

// Moving to another database loses nothing, and what was sold yesterday goes on.
func TestExportAndImportKeepEverything(t *testing.T) {
	t.Parallel()
	for _, move := range []struct{ from, to backend }{{onSQLite, onSQLite}, {onSQLite, onPostgres}, {onPostgres, onSQLite}} {
		t.Run(move.from.name+" to "+move.to.name, func(t *testing.T) {
			t.Parallel()
			from, to := newFilled(t, move.from), newWorld(t, move.to)
			ledger.Fill(t, from.Ledger, 1200)
			exported := from.export(t)
			keys, err := from.Keys(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			before := to.poll(t, ledger.Position{}).Position
			imported, err := to.Import(t.Context(), strings.NewReader(exported))
			if err != nil || imported.Installation != keys.Installation || imported.Rows != strings.Count(exported, "\n[") {
				t.Fatalf("%+v, %v", imported, err)
			}
			if got := to.export(t); got != exported {
				t.Error("exported again it is not the same")
			}
			if got, err := to.Keys(t.Context()); err != nil || !reflect.DeepEqual(got, keys) {
				t.Errorf("the keys are %+v and not %+v: %v", got, keys, err)
			}
			if changes := to.poll(t, before); !changes.Keys {
				t.Error("the feed does not tell of the keys")
			}
			to.tell(t, event(ledger.EventRefunded, "lifelong"))
			if status := to.status(t, "lifelong"); status != ledger.Refunded {
				t.Errorf("the imported purchase is %s after its refund", status)
			}
			to.pay(t, extension("c", "a"))
			if errs := to.log.errors(); len(errs) != 0 {
				t.Errorf("logged: %v", errs)
			}
			if left := leftovers(t, to.Path()); to.Path() != "" && left != "" {
				t.Errorf("left: %s", left)
			}
		})
	}
}

func TestEveryTableIsExported(t *testing.T) {
	onEach(t, func(t *testing.T, on backend) {
		own := map[string]bool{"feed": true, "changes": true, "schema_versions": true} // of a database
		for table := range newWorld(t, on).rowsOf(t) {
			if ledger.IsExported(table) == own[table] {
				t.Errorf("table %s: exported %v", table, ledger.IsExported(table))
			}
		}
	})
}

func TestImportRefusesWhatIsNoExport(t *testing.T) {
	onEach(t, func(t *testing.T, on backend) {
		exported := newFilled(t, on).export(t)
		lines := strings.SplitAfter(exported, "\n")
		lines = lines[:len(lines)-1]
		n := len(lines)
		w := newWorld(t, on)
		before := w.export(t)
		for name, text := range map[string]string{
			"nothing":                   "",
			"another file":              "id,amount\n1,2\n",
			"no head":                   strings.Join(lines[1:], ""),
			"cut off":                   strings.Join(lines[:n-1], ""),
			"cut in a line":             exported[:len(exported)/2],
			"a row is missing":          strings.Join(append(append([]string{}, lines[:5]...), lines[6:]...), ""),
			"a row twice":               strings.Join(append(append([]string{}, lines[:6]...), lines[5:]...), ""),
			"an amount changed":         strings.Replace(exported, `"usd",500,`, `"usd",900,`, 1),
			"more follows":              exported + lines[3],
			"another version":           strings.Replace(exported, `"version":1`, `"version":2`, 1),
			"unknown table":             signed(lines, `{"table":"x","columns":["id"]}`+"\n"),
			"unknown column":            signed(lines, `{"table":"terms","columns":["hash","x"]}`+"\n"),
			"a row that lacks a column": signed(lines, `{"table":"terms","columns":["hash"]}`+"\n[1]\n"),
			"binary":                    "\x00\x01\x02",
		} {
			_, err := w.Import(t.Context(), strings.NewReader(text))
			if err == nil {
				t.Errorf("%s: imported", name)
			} else if !errors.Is(err, ledger.ErrNotExport) && !strings.HasPrefix(name, "a row that") {
				t.Errorf("%s: %v", name, err)
			}
			if after := w.export(t); after != before {
				t.Errorf("%s: left\n%s", name, after)
			}
		}
		w.pay(t, payment("later"))
	})
}

// signed adds a row to an export, with the right last line.
func signed(lines []string, row string) string {
	n := len(lines)
	body := strings.Join(lines[:n-1], "") + row
	sum := sha256.Sum256([]byte(body))
	return body + fmt.Sprintf("{\"end\":true,\"rows\":%d,\"sha256\":\"%s\"}\n", strings.Count(body, "\n["), hex.EncodeToString(sum[:]))
}

func TestImportIntoALedgerWithPayments(t *testing.T) {
	onEach(t, func(t *testing.T, on backend) {
		exported := newFilled(t, on).export(t)
		w := newWorld(t, on)
		w.pay(t, payment("mine"))
		before := w.export(t)
		_, err := w.Import(t.Context(), strings.NewReader(exported))
		wantError(t, "with a payment", err, ledger.ErrNotEmpty)
		if w.export(t) != before {
			t.Error("it was changed")
		}
	})
}

func TestImportHeedsEventsThatCameBefore(t *testing.T) {
	onEach(t, func(t *testing.T, on backend) {
		w := newWorld(t, on)
		w.pay(t, payment("a"))
		w.pay(t, payment("b"))
		exported := w.export(t)
		other := newWorld(t, on)
		other.tell(t, event(ledger.EventRefunded, "a"))
		other.tell(t, event(ledger.EventRefunded, "", "pay_b"))
		must(t, errorOf(other.Import(t.Context(), strings.NewReader(exported))))
		for _, session := range []string{"a", "b"} {
			if status := other.status(t, session); status != ledger.Refunded {
				t.Errorf("%s is %s", session, status)
			}
		}
	})
}

func TestImportIntoALedgerWithoutInstallation(t *testing.T) {
	onEach(t, func(t *testing.T, on backend) {
		exported := newFilled(t, on).export(t)
		l := ledger.New(on.location(t))
		t.Cleanup(func() { l.Close() })
		must(t, errorOf(l.Open(t.Context())))
		must(t, errorOf(l.Import(t.Context(), strings.NewReader(exported))))
		var again bytes.Buffer
		if err := l.Export(t.Context(), &again); err != nil || again.String() != exported {
			t.Errorf("%v:\n%s", err, again.String())
		}
	})
}

// A node that was behind when the backup was made must not take its newest change for an ordinary one.
func TestRestoreReplacesTheLedgerWhileItIsUsed(t *testing.T) {
	onEach(t, func(t *testing.T, on backend) {
		w := newFilled(t, on)
		id := w.pay(t, payment("cs_1", "pay_1"))
		positions := []ledger.Position{w.poll(t, ledger.Position{}).Position}
		decide := func(kind ledger.DecisionKind) {
			must(t, errorOf(w.Decide(t.Context(), id, kind, "")))
			positions = append(positions, w.poll(t, positions[0]).Position)
		}
		decide(ledger.Revoke)
		decide(ledger.Restore)
		backup := w.export(t)
		decide(ledger.Revoke)
		w.pay(t, payment("later"))
		w.tell(t, event(ledger.EventRefunded, "lifelong"))
		before := w.export(t)
		restored, err := w.Restore(t.Context(), strings.NewReader(backup))
		if err != nil || restored.Rows != strings.Count(backup, "\n[") {
			t.Fatalf("%+v, %v", restored, err)
		}
		for session, want := range map[string]ledger.Status{"later": "none", "cs_1": ledger.Active, "lifelong": ledger.Refunded} {
			if status := w.status(t, session); status != want {
				t.Errorf("%s is %s, want %s", session, status, want)
			}
		}
		for _, since := range positions {
			if changes := w.poll(t, since); !changes.All {
				t.Errorf("since %d: %+v", since.Seq, changes)
			}
		}
		if on.name == onPostgres.name {
			return
		}
		kept, err := os.ReadFile(restored.Kept)
		if info, statErr := os.Stat(restored.Kept); err != nil || statErr != nil || info.Mode().Perm() != 0o600 || string(kept) != before {
			t.Errorf("kept in %s: %v", restored.Kept, err)
		}
	})
}

func TestRestoreRefusesWhatIsNoBackupOfTheLedger(t *testing.T) {
	onEach(t, func(t *testing.T, on backend) {
		w := newFilled(t, on)
		before, other := w.export(t), newFilled(t, on).export(t)
		for name, text := range map[string]string{
			"nothing": "", "text": "no backup", "cut off": before[:len(before)/2], "of another installation": other,
		} {
			_, err := w.Restore(t.Context(), strings.NewReader(text))
			wantError(t, name, err, ledger.ErrNotExport)
			if w.export(t) != before {
				t.Errorf("%s: the ledger was changed", name)
			}
		}
		w.pay(t, payment("later"))
	})
}

func TestAnExportIsOfOneMoment(t *testing.T) {
	onEach(t, func(t *testing.T, on backend) {
		w := newFilled(t, on)
		ledger.Fill(t, w.Ledger, 2000)
		stop := make(chan struct{})
		var payments sync.WaitGroup
		payments.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					w.pay(t, payment(fmt.Sprintf("meanwhile %d", i)))
				}
			}
		})
		exported := w.export(t)
		close(stop)
		payments.Wait()
		to := newWorld(t, on)
		must(t, errorOf(to.Import(t.Context(), strings.NewReader(exported))))
		if rows := to.rowsOf(t); rows["payments"] < 2003 || rows["payments"] != rows["purchases"]+1 { // one of newFilled is an extension
			t.Errorf("%v", rows)
		}
	})
}

func TestAnExportHidesItsTemporaryFile(t *testing.T) {
	t.Parallel()
	w := newFilled(t, onSQLite)
	err := w.Export(t.Context(), writerFunc(func([]byte) (int, error) {
		found, err := filepath.Glob(filepath.Join(filepath.Dir(w.Path()), "axra-ledger-*"))
		if err != nil || len(found) != 1 {
			t.Fatalf("%v, %v", found, err)
		}
		if info, err := os.Stat(found[0]); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		return 0, errors.New("broken pipe")
	}))
	if err == nil || !strings.Contains(err.Error(), "broken pipe") {
		t.Errorf("%v", err)
	}
	if left := leftovers(t, w.Path()); left != "" {
		t.Errorf("left: %s", left)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// leftovers are the files beside a ledger that are not its own.
func leftovers(t testing.TB, path string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, name := range found {
		switch name {
		case path, path + "-wal", path + "-shm":
		default:
			left = append(left, filepath.Base(name))
		}
	}
	return strings.Join(left, " ")
}
