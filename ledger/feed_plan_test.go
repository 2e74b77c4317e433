package ledger

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/caddy-axra/paywall/internal/pgtest"
)

// PostgreSQL compiles what it thinks is expensive, and the poll runs once a second on each node.
func TestThePollIsNotCompiled(t *testing.T) {
	t.Parallel()
	databaseURL := pgtest.Shared(t).NewDatabase(t)
	l := New(Options{URL: databaseURL})
	if _, err := l.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	db, err := sql.Open("pgx", databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), "EXPLAIN "+qualify(strings.NewReplacer("$1", "0", "$2", "1000").Replace(pollQuery)))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "JIT:") {
			t.Error("PostgreSQL compiles it")
		}
		t.Log(line)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}
