package ledger_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/caddy-axra/paywall/ledger"
)

func BenchmarkRecordPayment(b *testing.B) {
	for _, callers := range []int{1, 32} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			w := newWorld(b, onSQLite)
			var n atomic.Int64
			b.SetParallelism(callers) // times GOMAXPROCS, which -cpu 1 sets
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					session := fmt.Sprintf("cs_%022d", n.Add(1))
					if _, err := w.RecordPayment(context.Background(), payment(session, "pay_"+session)); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "payments/s")
		})
	}
}

func BenchmarkHolding(b *testing.B) {
	w := newWorld(b, onSQLite)
	id := w.pay(b, payment("a"))
	for b.Loop() {
		if _, err := w.Holding(context.Background(), id); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPoll(b *testing.B) {
	w := newWorld(b, onSQLite)
	since := w.poll(b, ledger.Position{}).Position
	for b.Loop() {
		since = w.poll(b, since).Position
	}
}
