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
	const page = `SELECT paid_at, session_id FROM payments WHERE (paid_at, session_id) < (1, 'x')
		ORDER BY paid_at DESC, session_id DESC LIMIT 1 OFFSET 9`
	in := func(query string) string {
		list, _ := inList([]string{"x"}, sqlBatch)
		return strings.NewReplacer("{purchases}", list, "{values}", list).Replace(query)
	}
	plans := make(map[string]string)
	err := l.read(ctx, func(ctx context.Context, tx *tx) error {
		for name, query := range map[string]string{
			"page": page, "list": listQuery(""), "found": foundQuery(in("{values}"), ""), "find": findQuery,
			"currencies": soldCurrencies, "sales": sumSales, "returns": paymentReturns, "mismatched": countMismatched,
			"charged again": chargedAgain, "ended": endedPurchases, "closed": closedPurchases,
			"swept events": in(sweptEvents), "swept terms": in(sweptTerms), "delete payment ids": in(deletePaymentIDs),
			"delete payments": in(deletePayments), "delete devices": in(deleteDevices), "delete terms": in(deleteTerms),
			"unmatched": unmatchedQuery,
		} {
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

func explain(ctx context.Context, tx *tx, query string) (string, error) {
	n := 0
	for i := 600; i > 0 && n == 0; i-- {
		if strings.Contains(query, fmt.Sprintf("$%d", i)) {
			n = i
		}
	}
	var plan []string
	err := scanAll(ctx, tx, func(rows *sql.Rows) error {
		var id, parent, unused int
		var detail string
		err := rows.Scan(&id, &parent, &unused, &detail)
		plan = append(plan, detail)
		return err
	}, `EXPLAIN QUERY PLAN `+query, slices.Repeat([]any{1}, n)...)
	return strings.Join(plan, "\n"), err
}
