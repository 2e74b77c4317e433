package ledger_test

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/ledger"
)

// benchmarked is SQLite, or the empty PostgreSQL database that LEDGER_BENCH_URL names: that of the tests is never
// durable, and so too fast.
func benchmarked() backend {
	if url := os.Getenv("LEDGER_BENCH_URL"); url != "" {
		return backend{name: "postgres", location: func(testing.TB) ledger.Options { return ledger.Options{URL: url} }}
	}
	return onSQLite
}

func BenchmarkRecordPayment(b *testing.B) {
	for _, callers := range []int{1, 32} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			w := newWorld(b, benchmarked())
			var n atomic.Int64
			run := time.Now().UnixNano()
			b.SetParallelism(callers) // times GOMAXPROCS, which -cpu 1 sets
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					session := fmt.Sprintf("cs_%d_%022d", run, n.Add(1))
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
	w := newWorld(b, benchmarked())
	id := w.pay(b, payment("a"))
	for b.Loop() {
		if _, err := w.Holding(context.Background(), id); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPoll(b *testing.B) {
	w := newWorld(b, benchmarked())
	since := w.poll(b, ledger.Position{}).Position
	for b.Loop() {
		since = w.poll(b, since).Position
	}
}
