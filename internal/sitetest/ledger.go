package sitetest

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddy-axra/paywall/ledger"
)

// BreakLedger puts the ledger out of reach, as a volume that was unmounted is. A folder in its place keeps a
// restarted Caddy from taking it for a new installation.
func (w *World) BreakLedger() {
	w.T.Helper()
	w.options.Broken = true
	for _, file := range w.ledgerFiles() {
		must(w.T, os.Rename(file, file+".away"))
	}
	must(w.T, os.Mkdir(w.ledgerFile(), 0o700))
	_ = w.plugin.PollFeeds(w.T.Context()) // which finds out
}

// MendLedger undoes BreakLedger.
func (w *World) MendLedger() {
	w.T.Helper()
	w.options.Broken = false
	must(w.T, os.Remove(w.ledgerFile()))
	away, err := filepath.Glob(w.ledgerFile() + "*.away")
	must(w.T, err)
	for _, file := range away {
		must(w.T, os.Rename(file, file[:len(file)-len(".away")]))
	}
	w.AwaitLedger()
}

// ledgerFile is the file of the ledger on SQLite.
func (w *World) ledgerFile() string { return strings.TrimPrefix(w.Database, "sqlite ") }

func (w *World) ledgerFiles() []string {
	w.T.Helper()
	files, err := filepath.Glob(w.ledgerFile() + "*")
	must(w.T, err)
	return files
}

// AwaitLedger waits until the ledger is read again.
func (w *World) AwaitLedger() {
	w.T.Helper()
	for range 1000 {
		if w.plugin.PollFeeds(w.T.Context()) == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.T.Fatal("the ledger is not read again")
}

// Rows counts rows of a table of the ledger.
func (w *World) Rows(table string) int {
	w.T.Helper()
	db, err := sql.Open("sqlite", "file:"+w.ledgerFile()+"?mode=ro")
	must(w.T, err)
	defer db.Close()
	var n int
	must(w.T, db.QueryRow("SELECT count(*) FROM "+table).Scan(&n))
	return n
}

// SigningKey is the installation's own key, which nobody outside has.
func (w *World) SigningKey() (installation, kid string, secret []byte) {
	w.T.Helper()
	running, err := w.plugin.RunningLedger()
	must(w.T, err)
	set, err := running.Keys(w.T.Context())
	must(w.T, err)
	return set.Installation, set.Keys[0].ID, set.Keys[0].Secret
}

// Purchases counts the purchases of the ledger.
func (w *World) Purchases() int {
	w.T.Helper()
	running, err := w.plugin.RunningLedger()
	must(w.T, err)
	all, err := running.List(w.T.Context(), ledger.Filter{})
	must(w.T, err)
	return len(all)
}
