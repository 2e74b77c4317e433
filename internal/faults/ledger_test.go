package faults_test

import (
	"database/sql"
	"errors"
	"maps"
	"net/url"
	"slices"
	"testing"

	"github.com/caddy-axra/paywall/sandbox"
)

// driver is a kind of database.
type driver string

const (
	sqlite   driver = "sqlite"
	postgres driver = "postgres"
)

// onBoth runs a test on each kind of database.
func onBoth(t *testing.T, test func(t *testing.T, on driver)) {
	t.Helper()
	for _, on := range []driver{sqlite, postgres} {
		t.Run(string(on), func(t *testing.T) { test(t, on) })
	}
}

// The tests ask the ledger with SQL of their own, as an owner would with sqlite3 or psql.

// ledger opens the database for reading. SQLite repairs the file of a killed process when the first one opens it, so
// no test opens it between the kill of a node and its next start.
func (r *rig) ledger() *sql.DB {
	r.t.Helper()
	if r.reading != nil {
		return r.reading
	}
	name, source := "sqlite", (&url.URL{Scheme: "file", Path: r.database, RawQuery: url.Values{
		"mode": {"rw"}, "_pragma": {"query_only(1)", "busy_timeout(5000)"},
	}.Encode()}).String()
	if r.server != nil {
		name, source = "pgx", r.database+"?search_path=axra&default_transaction_read_only=on"
	}
	var err error
	r.reading, err = sql.Open(name, source)
	must(r.t, err)
	return r.reading
}

func (r *rig) closeLedger() {
	if r.reading != nil {
		if err := r.reading.Close(); err != nil {
			r.t.Error(err)
		}
		r.reading = nil
	}
}

// number is the single number that a query returns.
func (r *rig) number(query string, args ...any) int {
	r.t.Helper()
	var n int
	must(r.t, r.ledger().QueryRow(query, args...).Scan(&n))
	return n
}

// statusOf is the status of the purchase that a session's payment belongs to; empty: there is no such payment.
func (r *rig) statusOf(session sandbox.Session) string {
	r.t.Helper()
	var status string
	err := r.ledger().QueryRow(`
		SELECT n.status FROM payments p JOIN purchases_now n ON n.id = p.purchase_id
		WHERE p.session_id = $1`, session.ID).Scan(&status)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		r.t.Errorf("the ledger cannot tell about %s: %v", session.ID, err)
	}
	return status
}

func (r *rig) isPaid(session sandbox.Session) bool { return r.statusOf(session) == "active" }

// rows counts the rows of each table.
func (r *rig) rows() map[string]int {
	r.t.Helper()
	tables := `SELECT name FROM sqlite_master WHERE type = 'table'`
	if r.server != nil {
		tables = `SELECT tablename FROM pg_tables WHERE schemaname = 'axra'`
	}
	rows, err := r.ledger().Query(tables)
	must(r.t, err)
	defer rows.Close()
	counts := make(map[string]int)
	for rows.Next() {
		var name string
		must(r.t, rows.Scan(&name))
		counts[name] = 0
	}
	must(r.t, rows.Err())
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		counts[name] = r.number(`SELECT COUNT(*) FROM "` + name + `"`)
	}
	return counts
}

// mustBeSound fails the test if SQLite finds the file damaged.
func (r *rig) mustBeSound() {
	r.t.Helper()
	if r.server != nil {
		return
	}
	var result string
	must(r.t, r.ledger().QueryRow(`PRAGMA integrity_check`).Scan(&result))
	if result != "ok" {
		r.t.Errorf("integrity_check says %.500s", result)
	}
}

// mustBeUntouched fails the test if a table has other rows than before.
func mustBeUntouched(t *testing.T, before, after map[string]int) {
	t.Helper()
	if !maps.Equal(before, after) {
		t.Errorf("the ledger has changed:\nbefore %v\nafter  %v", before, after)
	}
}
