package ledger

import (
	"context"
	"fmt"
	"strings"
)

// Find returns the ids of the purchases that a text means: the beginning of a purchase id, in any case, or
// a session id, or a payment id. It returns at most 100 of them, and none without an error where nothing is
// found.
func (l *Ledger) Find(ctx context.Context, text string) (ids []string, err error) {
	err = l.read(ctx, func(ctx context.Context, tx *tx) error {
		ids, err = find(ctx, tx, text)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("finding a purchase: %w", err)
	}
	return ids, nil
}

const findQuery = `
	SELECT id FROM purchases WHERE id >= $1 AND id < $2
	UNION
	SELECT purchase_id FROM payments WHERE session_id = $3
	UNION
	SELECT p.purchase_id
	FROM payment_ids i CROSS JOIN payments p
	WHERE i.payment_id = $3 AND p.session_id = i.session_id
	ORDER BY 1
	LIMIT $4`

func find(ctx context.Context, tx *tx, text string) ([]string, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	prefix, above := "", "" // an empty range
	if isHex(text) {
		prefix = strings.ToLower(text)
		above = prefix + "g" // after every hex digit
	}
	return tx.texts(ctx, findQuery, prefix, above, text, findLimit)
}

func isHex(text string) bool {
	return strings.Trim(text, "0123456789abcdefABCDEF") == ""
}

// shortReference is the usual length of a reference that people see.
const shortReference = 10

// Reference returns the beginning of a purchase id that people see: ten digits, or more where another
// purchase begins with the same ones.
func (l *Ledger) Reference(ctx context.Context, purchaseID string) (reference string, err error) {
	const query = `
		SELECT COALESCE((SELECT MAX(id) FROM purchases WHERE id < $1), ''),
			COALESCE((SELECT MIN(id) FROM purchases WHERE id > $1), '')`
	err = l.read(ctx, func(ctx context.Context, tx *tx) error {
		var before, after string
		if err := tx.QueryRowContext(ctx, query, purchaseID).Scan(&before, &after); err != nil {
			return fmt.Errorf("shortening a purchase id: %w", err)
		}
		n := max(shortReference, commonPrefix(purchaseID, before)+1, commonPrefix(purchaseID, after)+1)
		reference = purchaseID[:min(n, len(purchaseID))]
		return nil
	})
	return reference, err
}

func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
