package ledger_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/ledger"
)

// backup writes a backup of a ledger to a file.
func (w world) backup(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "backup.db")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	must(t, w.Backup(context.Background(), file))
	return path
}

// reopen opens the ledger at a path anew.
func reopen(t testing.TB, path string) world {
	t.Helper()
	return openWorld(t, ledger.Options{Path: path})
}

func TestBackupIsConsistentWhilePaymentsArrive(t *testing.T) {
	t.Parallel()
	w := newFilled(t, onSQLite)
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
	var paths []string
	for range 3 {
		paths = append(paths, w.backup(t))
	}
	close(stop)
	payments.Wait()
	for _, path := range paths {
		copied := reopen(t, path)
		rows := copied.rowsOf(t)
		if rows["payments"] < 2003 || rows["payments"] != rows["purchases"]+1 { // one of newFilled is an extension
			t.Errorf("%v", rows)
		}
		if keys, err := copied.Keys(t.Context()); err != nil || len(keys.Keys) != 2 {
			t.Errorf("keys: %v, %v", keys, err)
		}
	}
	if left := leftovers(t, w.Path()); left != "" {
		t.Errorf("left: %s", left)
	}
}

func TestBackupHidesItsTemporaryFile(t *testing.T) {
	t.Parallel()
	w := newFilled(t, onSQLite)
	if err := w.Backup(t.Context(), writerFunc(func(p []byte) (int, error) {
		found, err := filepath.Glob(filepath.Join(filepath.Dir(w.Path()), "axra-ledger-*"))
		if err != nil || len(found) != 1 {
			t.Fatalf("%v, %v", found, err)
		}
		if info, err := os.Stat(found[0]); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		return 0, errors.New("broken pipe")
	})); err == nil || !strings.Contains(err.Error(), "broken pipe") {
		t.Errorf("%v", err)
	}
	if left := leftovers(t, w.Path()); left != "" {
		t.Errorf("left: %s", left)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// restoreFile puts the backup in a file in place of the ledger at a path.
func restoreFile(t testing.TB, backup, path string) (ledger.Restored, error) {
	t.Helper()
	file, err := os.Open(backup)
	must(t, err)
	defer file.Close()
	l := ledger.New(ledger.Options{Path: path, Now: func() time.Time { return start }})
	defer l.Close()
	return l.Restore(t.Context(), file)
}

func TestRestore(t *testing.T) {
	t.Parallel()
	w := newFilled(t, onSQLite)
	backup := w.backup(t)
	exported := w.export(t)
	position := w.poll(t, ledger.Position{}).Position
	w.payAt(t, time.Hour, payment("later"))
	w.Close()

	restored, err := restoreFile(t, backup, w.Path())
	if err != nil {
		t.Fatal(err)
	}
	if restored.Payments != 4 || !restored.LastPayment.Equal(start) || restored.Kept != w.Path()+".before-restore-20260301T120000.000Z" {
		t.Errorf("%+v", restored)
	}
	if left := leftovers(t, w.Path()); left != filepath.Base(restored.Kept) {
		t.Errorf("left: %s", left)
	}
	if info, err := os.Stat(w.Path()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	now := reopen(t, w.Path())
	if now.export(t) != exported {
		t.Error("it is not what was backed up")
	}
	if changes := now.poll(t, position); !changes.All {
		t.Error("a node that has seen the old feed does not notice")
	}
	kept := reopen(t, restored.Kept)
	if status := kept.status(t, "later"); status != ledger.Active {
		t.Errorf("the old ledger lost a payment: %s", status)
	}
}

func TestRestoreRefusesALedgerInUse(t *testing.T) {
	t.Parallel()
	w := newFilled(t, onSQLite)
	backup := w.backup(t)
	inode, err := os.Stat(w.Path())
	if err != nil {
		t.Fatal(err)
	}
	_, err = restoreFile(t, backup, w.Path())
	wantError(t, "in this process", err, ledger.ErrInUse)
	w.pay(t, payment("later"))
	if info, err := os.Stat(w.Path()); err != nil || !os.SameFile(info, inode) {
		t.Errorf("it was replaced: %v", err)
	}
	if left := leftovers(t, w.Path()); left != "" {
		t.Errorf("left: %s", left)
	}
}

func TestRestoreWhereNoLedgerIs(t *testing.T) {
	t.Parallel()
	backup := newFilled(t, onSQLite).backup(t)
	path := filepath.Join(t.TempDir(), "ledger.db")
	for _, stale := range []string{"-wal", "-shm"} { // of a ledger that was deleted
		must(t, os.WriteFile(path+stale, []byte("stale"), 0o600))
	}
	restored, err := restoreFile(t, backup, path)
	if err != nil || restored.Kept != "" {
		t.Fatalf("%+v, %v", restored, err)
	}
	if status := reopen(t, path).status(t, "lifelong"); status != ledger.Active {
		t.Errorf("%s", status)
	}
}

func TestRestoreOverADamagedLedger(t *testing.T) {
	t.Parallel()
	w := newFilled(t, onSQLite)
	backup := w.backup(t)
	w.Close()
	for name, content := range map[string]string{"no database": strings.Repeat("x", 8192), "empty": ""} {
		must(t, os.WriteFile(w.Path(), []byte(content), 0o600))
		restored, err := restoreFile(t, backup, w.Path())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if kept, err := os.ReadFile(restored.Kept); err != nil || !strings.HasPrefix(string(kept), content) {
			t.Errorf("%s: kept %.20q, %v", name, kept, err)
		}
		os.Remove(restored.Kept)
		l := ledger.New(ledger.Options{Path: w.Path()})
		if created, err := l.Open(t.Context()); err != nil || created {
			t.Errorf("%s: %v, %v", name, created, err)
		}
		l.Close()
	}
}

func TestRestoreRefusesWhatIsNoBackup(t *testing.T) {
	t.Parallel()
	w := newFilled(t, onSQLite)
	backup := w.backup(t)
	other := newFilled(t, onSQLite).backup(t)
	w.Close()
	before, err := os.Stat(w.Path())
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(backup)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(whole)
	copy(damaged[len(damaged)/2:], bytes.Repeat([]byte{0xff}, len(damaged)/4))
	for name, content := range map[string][]byte{
		"text": []byte("no database"), "nothing": nil, "cut off": whole[:len(whole)/2], "damaged": damaged,
	} {
		path := filepath.Join(t.TempDir(), "backup.db")
		must(t, os.WriteFile(path, content, 0o600))
		_, err := restoreFile(t, path, w.Path())
		wantError(t, name, err, ledger.ErrNotBackup)
	}
	_, err = restoreFile(t, other, w.Path())
	wantError(t, "of another installation", err, ledger.ErrNotBackup)
	if after, err := os.Stat(w.Path()); err != nil || !os.SameFile(before, after) {
		t.Errorf("the ledger was replaced: %v", err)
	}
	if left := leftovers(t, w.Path()); left != "" {
		t.Errorf("left: %s", left)
	}
}

// A node that was behind when the backup was made must not take its newest change for an ordinary one.
func TestRestoreIntoARunningLedgerMakesEveryPositionUnknown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onSQLite)
	id := w.pay(t, payment("cs_1", "pay_1"))
	positions := []ledger.Position{w.poll(t, ledger.Position{}).Position}
	for _, kind := range []ledger.DecisionKind{ledger.Revoke, ledger.Restore} {
		must(t, errorOf(w.Decide(t.Context(), id, kind, "")))
		positions = append(positions, w.poll(t, positions[0]).Position)
	}
	backup := w.backup(t)
	must(t, errorOf(w.Decide(t.Context(), id, ledger.Revoke, "")))
	positions = append(positions, w.poll(t, positions[0]).Position)
	w.pay(t, payment("later"))
	file, err := os.Open(backup)
	must(t, err)
	defer file.Close()
	must(t, errorOf(w.Restore(t.Context(), file)))
	if status := w.status(t, "later"); status != "none" {
		t.Errorf("a payment after the backup is %s", status)
	}
	for _, since := range positions {
		if changes := w.poll(t, since); !changes.All {
			t.Errorf("since %d: %+v", since.Seq, changes)
		}
	}
}
