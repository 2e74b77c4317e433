package paywall_test

import (
	"database/sql"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/pgtest"
)

// The queries of docs/ledger.md answer what they say, on a copy of a ledger in SQLite and on one in PostgreSQL.
func TestTheQueriesOfTheDocumentation(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) {
		w := office(t)
		tryQueries(t, w, func(query string) string { return query }, func() (*sql.DB, error) { return sql.Open("sqlite", w.backup()) })
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		databaseURL := pgtest.Shared(t).NewDatabase(t)
		tryQueries(t, officeOf(t, databaseURL), forPostgres(t), func() (*sql.DB, error) {
			return sql.Open("pgx", databaseURL+"?search_path=axra&default_transaction_read_only=on")
		})
	})
}

// forPostgres changes a query as the table in docs/ledger.md says.
func forPostgres(t *testing.T) func(string) string {
	t.Helper()
	type change struct {
		from *regexp.Regexp
		to   string
	}
	var changes []change
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| `([^`]+)` \\|$").FindAllStringSubmatch(readDoc(t, "docs/ledger.md"), -1) {
		from := strings.ReplaceAll(regexp.QuoteMeta(row[1]), "paid_at", `([a-z._]+)`) // it stands for any column
		changes = append(changes, change{regexp.MustCompile(from), strings.ReplaceAll(row[2], "paid_at", "$1")})
	}
	return func(query string) string {
		for _, c := range changes {
			query = c.from.ReplaceAllString(query, c.to)
		}
		return query
	}
}

func tryQueries(t *testing.T, w *world, adapt func(string) string, open func() (*sql.DB, error)) {
	t.Helper()
	for range 2 {
		w.visitor().buy("/premium/article.html", cardGood).wantPaid(t)
	}
	mustDo(t, w.sandbox.Refund(w.lastPayment().ID))
	w.delivered()
	w.give()
	w.runJSON(new(any), "give", w.site+"/premium/", "--for", "3d")
	_, event := w.visitor().started("/premium/article.html")
	data, _ := event["data"].(map[string]any)
	data["amount"] = 3
	body := encode(t, event)
	w.deliver(body, sign(body, webhookSecret))

	db, err := open()
	mustDo(t, err)
	t.Cleanup(func() { mustDo(t, db.Close()) })
	queries := regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(readDoc(t, "docs/ledger.md"), -1)
	month := w.now().UTC().Format("2006-01")
	ends := w.now().UTC().Add(3 * day).Format(time.DateOnly)
	want := []string{
		month + "|usd|2|10",
		w.site + "|member|3",
		"|member|" + ends,
		"|refunded|",
		"|500|usd|3 ",
	}
	if len(queries) != len(want) {
		t.Fatalf("%d queries", len(queries))
	}
	for i, query := range queries {
		rows := selected(t, db, adapt(query[1]))
		if len(rows) != 1 || !strings.Contains(rows[0], want[i]) {
			t.Errorf("%s\nreturns %q, want one row with %q", adapt(query[1]), rows, want[i])
		}
	}
}

// Every table is documented.
func TestTheTablesAreDocumented(t *testing.T) {
	w := office(t)
	db, err := sql.Open("sqlite", w.backup())
	mustDo(t, err)
	t.Cleanup(func() { mustDo(t, db.Close()) })
	document := readDoc(t, "docs/ledger.md")
	for _, name := range selected(t, db, `SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')`) {
		if !strings.Contains(document, "`"+name+"`") {
			t.Errorf("docs/ledger.md does not have the table %s", name)
		}
	}
}

// selected are the rows of a query, their values joined with |.
func selected(t *testing.T, db *sql.DB, query string) (found []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	mustDo(t, err)
	defer rows.Close() //nolint:errcheck // only read
	columns, err := rows.Columns()
	mustDo(t, err)
	for rows.Next() {
		values, targets := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			targets[i] = &values[i]
		}
		mustDo(t, rows.Scan(targets...))
		texts := make([]string, len(values))
		for i, value := range values {
			texts[i] = value.String
		}
		found = append(found, strings.Join(texts, "|"))
	}
	mustDo(t, rows.Err())
	return found
}
