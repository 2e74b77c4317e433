package ledger

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// CountRows counts the rows of every table.
func (l *Ledger) CountRows(ctx context.Context) (map[string]int, error) {
	return read(ctx, l, func(t *tx) (map[string]int, error) {
		counts := make(map[string]int)
		for _, table := range t.texts(l.options.dialect().tables) {
			var n int
			t.get(`SELECT COUNT(*) FROM `+table, nil, &n)
			counts[table] = n
		}
		return counts, nil
	})
}

// IsExported reports whether an export holds a table.
func IsExported(table string) bool {
	for _, exported := range exportTables {
		if exported.name == table {
			return true
		}
	}
	return false
}

// OperatorPlans explains the queries of the operators' work.
func (l *Ledger) OperatorPlans(ctx context.Context) (map[string]string, error) {
	return l.explainAll(ctx, operatorQueries(), explain)
}

// PostgresPlans explains the look-ups, as PostgreSQL plans them for any arguments.
func (l *Ledger) PostgresPlans(ctx context.Context) (map[string]string, error) {
	if err := l.Exec(ctx, l.options.dialect().analyze); err != nil {
		return nil, err
	}
	return l.explainAll(ctx, lookUpQueries, func(t *tx, query string) string {
		t.exec(`SET LOCAL plan_cache_mode = force_generic_plan; PREPARE q AS ` + query)
		arguments := ""
		if n := parameters(query); n > 0 {
			arguments = "(" + strings.Repeat("'1', ", n-1) + "'1')"
		}
		lines := t.texts(`EXPLAIN EXECUTE q` + arguments)
		t.exec(`DEALLOCATE q`)
		return strings.Join(lines, "\n")
	})
}

func (l *Ledger) explainAll(ctx context.Context, queries map[string]string, explain func(*tx, string) string) (map[string]string, error) {
	return read(ctx, l, func(t *tx) (map[string]string, error) {
		plans := make(map[string]string)
		for name, query := range queries {
			plans[name] = explain(t, query)
		}
		return plans, nil
	})
}

func operatorQueries() map[string]string {
	queries := map[string]string{
		"page": pageQuery, "found": foundQuery, "find": findQuery,
		"sales": salesQuery, "returns": returnsQuery, "mismatched": countMismatched, "charged again": countRepeated,
		"ended": endedPurchases, "closed": closedPurchases, "swept terms": sweptTerms, "unmatched": unmatchedQuery,
	}
	for i, query := range deleteSwept {
		queries[fmt.Sprint("delete ", i)] = query
	}
	return queries
}

// parameters is the number of parameters of a query.
func parameters(query string) int {
	for i := 600; i > 0; i-- {
		if strings.Contains(query, fmt.Sprintf("$%d", i)) {
			return i
		}
	}
	return 0
}

func explain(t *tx, query string) string {
	var plan []string
	var id, parent, unused int
	var detail string
	t.each(`EXPLAIN QUERY PLAN `+query, slices.Repeat([]any{1}, parameters(query)), into{&id, &parent, &unused, &detail}, func() {
		plan = append(plan, detail)
	})
	return strings.Join(plan, "\n")
}
