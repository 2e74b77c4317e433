package ledger

import (
	"context"
	"slices"
	"strconv"
	"strings"
)

// inList are the values as a list of exactly size parameters that follow args: the last value fills it up.
// Queries are prepared once and kept, so there should be few of them.
func inList(args []any, values []string, size int) (list string, _ []any) {
	names := make([]string, size)
	for i := range size {
		args = append(args, values[min(i, len(values)-1)])
		names[i] = "$" + strconv.Itoa(len(args))
	}
	return strings.Join(names, ", "), args
}

// deleteIn runs a statement with {values} in batches.
func deleteIn(ctx context.Context, tx *tx, query string, values []string) error {
	for batch := range slices.Chunk(values, sqlBatch) {
		list, args := inList(nil, batch, sqlBatch)
		if _, err := tx.ExecContext(ctx, strings.ReplaceAll(query, "{values}", list), args...); err != nil {
			return err
		}
	}
	return nil
}
