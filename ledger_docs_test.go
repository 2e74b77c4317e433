package paywall_test

import (
	"database/sql"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The queries of docs/ledger.md answer what they say, on a copy of a ledger.
func TestTheQueriesOfTheDocumentation(t *testing.T) {
	w := office(t)
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

	db, err := sql.Open("sqlite", w.backup())
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
		rows := selected(t, db, query[1])
		if len(rows) != 1 || !strings.Contains(rows[0], want[i]) {
			t.Errorf("%s\nreturns %q, want one row with %q", query[1], rows, want[i])
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
