package ledger

import (
	"context"
	"slices"
	"strconv"
	"strings"
)

// inList are the values as a list of exactly size parameters: the last value fills it up. Queries are prepared
// once and kept, so there should be few of them.
func inList(values []string, size int) (list string, args []any) {
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
		list, args := inList(batch, sqlBatch)
		if _, err := tx.ExecContext(ctx, strings.ReplaceAll(query, "{values}", list), args...); err != nil {
			return err
		}
	}
	return nil
}
