package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
)

// CountRows counts the rows of every table.
func (l *Ledger) CountRows(ctx context.Context) (counts map[string]int, err error) {
	counts = make(map[string]int)
	err = l.read(ctx, func(ctx context.Context, tx *tx) error {
		tables, err := tx.texts(ctx, l.options.dialect().tables)
		if err != nil {
			return err
		}
		for _, table := range tables {
			var n int
			if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM `+table).Scan(&n); err != nil {
				return err
			}
			counts[table] = n
		}
		return nil
	})
	return counts, err
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
	err := l.write(ctx, func(ctx context.Context, tx *tx) error { return tx.runScript(ctx, l.options.dialect().analyze) })
	if err != nil {
		return nil, err
	}
	return l.explainAll(ctx, lookUpQueries, func(ctx context.Context, tx *tx, query string) (string, error) {
		if err := tx.runScript(ctx, `SET LOCAL plan_cache_mode = force_generic_plan; PREPARE q AS `+query); err != nil {
			return "", err
		}
		arguments := ""
		if n := parameters(query); n > 0 {
			arguments = "(" + strings.Repeat("'1', ", n-1) + "'1')"
		}
		lines, err := tx.texts(ctx, `EXPLAIN EXECUTE q`+arguments)
		if err == nil {
			err = tx.runScript(ctx, `DEALLOCATE q`)
		}
		return strings.Join(lines, "\n"), err
	})
}

func (l *Ledger) explainAll(ctx context.Context, queries map[string]string, explain func(context.Context, *tx, string) (string, error)) (map[string]string, error) {
	plans := make(map[string]string)
	err := l.read(ctx, func(ctx context.Context, tx *tx) error {
		for name, query := range queries {
			plan, err := explain(ctx, tx, query)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			plans[name] = plan
		}
		return nil
	})
	return plans, err
}

func operatorQueries() map[string]string {
	const page = `SELECT paid_at, session_id FROM payments WHERE (paid_at, session_id) < (1, 'x')
		ORDER BY paid_at DESC, session_id DESC LIMIT 1 OFFSET 9`
	in := func(query string) string {
		list, _ := inList([]string{"x"}, sqlBatch)
		return strings.NewReplacer("{purchases}", list, "{values}", list).Replace(query)
	}
	return map[string]string{
		"page": page, "list": listQuery(""), "found": foundQuery(in("{values}"), ""), "find": findQuery,
		"currencies": soldCurrencies, "sales": sumSales, "returns": paymentReturns, "mismatched": countMismatched,
		"charged again": chargedAgain, "ended": endedPurchases, "closed": closedPurchases,
		"swept events": in(sweptEvents), "swept terms": in(sweptTerms), "delete payment ids": in(deletePaymentIDs),
		"delete payments": in(deletePayments), "delete devices": in(deleteDevices), "delete terms": in(deleteTerms),
		"unmatched": unmatchedQuery,
	}
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

func explain(ctx context.Context, tx *tx, query string) (string, error) {
	var plan []string
	err := scanAll(ctx, tx, func(rows *sql.Rows) error {
		var id, parent, unused int
		var detail string
		err := rows.Scan(&id, &parent, &unused, &detail)
		plan = append(plan, detail)
		return err
	}, `EXPLAIN QUERY PLAN `+query, slices.Repeat([]any{1}, parameters(query))...)
	return strings.Join(plan, "\n"), err
}
