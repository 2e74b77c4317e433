package ledger

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/bulk"
)

// FillStart is the time after which most payments of Fill lie.
var FillStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Fill inserts n payments of as many purchases by SQL.
func Fill(t testing.TB, l *Ledger, n int) {
	t.Helper()
	err := l.write(context.Background(), func(ctx context.Context, tx *tx) error {
		tx.waitUpTo(time.Hour)
		for _, statement := range bulk.Statements(l.options.URL != "", FillStart, n) {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("%w: %s", err, statement)
			}
		}
		return tx.runScript(ctx, l.options.dialect().analyze)
	})
	if err != nil {
		t.Fatal(err)
	}
}
