package ledger_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/ledger"
)

func TestReport(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		const before, within, after = 0, 40 * day, 80 * day
		from, to := start.Add(31*day), start.Add(70*day)

		// Before: sold, and refunded or lost within.
		w.payAt(t, before, sold(t, "refunded later", "book", "12.50", "usd"))
		w.payAt(t, before, sold(t, "lost later", "book", "3.00", "usd"))
		// Within.
		w.payAt(t, within, sold(t, "a", "book", "12.50", "usd"))
		w.payAt(t, within, sold(t, "b", "book", "10.00", "eur"))
		w.payAt(t, within, sold(t, "c", "film", "500", "jpy"))
		w.payAt(t, within, sold(t, "d", "film", "700", "jpy"))
		w.payAt(t, within, sold(t, "won", "film", "5.00", "usd"))
		w.payAt(t, within, sold(t, "both", "film", "6.00", "usd"))
		w.payAt(t, within, underpaid(t, "wrong"))
		w.payAt(t, within, sold(t, "twice", "song", "1.00", "usd"))
		again := sold(t, "twice", "song", "1.00", "usd")
		again.PaymentIDs = []string{"pay_again"}
		w.payAt(t, within+time.Hour, again)
		given := sold(t, "given", "book", "12.50", "usd")
		given.Source, given.PaidAt = ledger.FromOperator, start.Add(within)
		if _, err := w.Give(t.Context(), given); err != nil {
			t.Fatal(err)
		}
		// After.
		w.payAt(t, after, sold(t, "late", "book", "12.50", "usd"))

		w.tellAt(t, within, event(ledger.EventRefunded, "refunded later"))
		w.tellAt(t, within+day, event(ledger.EventRefunded, "", "pay_refunded later")) // again, by its id
		w.tellAt(t, within, event(ledger.EventDisputed, "", "pay_lost later"))
		w.tellAt(t, within+day, event(ledger.EventDisputeLost, "lost later"))
		w.tellAt(t, within, event(ledger.EventDisputed, "won"))
		w.tellAt(t, within+day, event(ledger.EventDisputeWon, "won"))
		w.tellAt(t, within, event(ledger.EventRefunded, "both"))
		w.tellAt(t, within+day, event(ledger.EventDisputeLost, "both")) // it was refunded already
		w.tellAt(t, after, event(ledger.EventRefunded, "a"))
		w.tellAt(t, within, event(ledger.EventRefunded, "wrong"))
		w.tellAt(t, within+2*time.Hour, event(ledger.EventRefunded, "twice", "pay_again")) // only the second charge
		w.tellAt(t, within, event(ledger.EventRefunded, "of nobody"))

		report, err := w.Report(t.Context(), from, to)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{
			"book eur: 1 1000, 0 0, 0 0, 0 0",
			"book usd: 1 1250, 1 1250, 1 300, 1 300",
			"film jpy: 2 1200, 0 0, 0 0, 0 0",
			"film usd: 2 1100, 1 600, 1 500, 0 0",
			"song usd: 1 100, 0 0, 0 0, 0 0",
		}
		if got := linesOf(report); !slices.Equal(got, want) {
			t.Errorf("lines:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if report.Mismatched != 1 || report.DoubleCharges != 1 {
			t.Errorf("%d mismatched, %d double charges", report.Mismatched, report.DoubleCharges)
		}
		all, err := w.Report(t.Context(), time.Time{}, time.Time{})
		if err != nil || !slices.Contains(linesOf(all), "book usd: 4 4050, 2 2500, 1 300, 1 300") {
			t.Errorf("without bounds: %v, %v", linesOf(all), err)
		}
		none, err := w.Report(t.Context(), start.Add(-2*day), start.Add(-day))
		if err != nil || len(none.Lines) != 0 || none.Mismatched+none.DoubleCharges != 0 {
			t.Errorf("of an empty time: %+v, %v", none, err)
		}
	})
}

func linesOf(r ledger.Report) []string {
	var lines []string
	for _, l := range r.Lines {
		lines = append(lines, fmt.Sprintf("%s %s: %d %d, %d %d, %d %d, %d %d", l.Product, l.Currency,
			l.Sales.Count, l.Sales.Minor, l.Refunds.Count, l.Refunds.Minor,
			l.Disputes.Count, l.Disputes.Minor, l.DisputesLost.Count, l.DisputesLost.Minor))
	}
	return lines
}
