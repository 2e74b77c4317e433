package ledger

import (
	"context"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/bulk"
)

// FillStart is the time after which most payments of Fill lie.
var FillStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Fill inserts n payments of as many purchases by SQL.
func Fill(t testing.TB, l *Ledger, n int) {
	t.Helper()
	err := l.queueUp(context.Background(), func(t *tx) {
		t.waitUpTo(time.Hour)
		for _, statement := range bulk.Statements(l.options.URL != "", FillStart, n) {
			t.exec(statement)
		}
		t.exec(l.options.dialect().analyze)
	})
	if err != nil {
		t.Fatal(err)
	}
}
