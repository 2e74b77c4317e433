package ledger_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
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

// TestFigures prints how long operators wait with LEDGER_FIGURES payments, such as 1000000. With
// LEDGER_FIGURES_DIR it keeps the ledger there, so a second run shows the first queries of a new process. With
// LEDGER_FIGURES_URL the ledger is in that PostgreSQL database, and stays there.
func TestFigures(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("LEDGER_FIGURES"))
	if n == 0 {
		t.Skip("set LEDGER_FIGURES to a number of payments")
	}
	dir := os.Getenv("LEDGER_FIGURES_DIR")
	if dir == "" {
		dir = t.TempDir()
	}
	location := ledger.Options{Path: filepath.Join(dir, "ledger.db"), URL: os.Getenv("LEDGER_FIGURES_URL"), Now: time.Now}
	first := ledger.New(location)
	if created, err := first.Open(t.Context()); err != nil {
		t.Fatal(err)
	} else if created {
		must(t, errorOf(first.ChangeKeys(t.Context(), noChange)))
		took(t, "fill", func() { ledger.Fill(t, first, n) })
	}
	first.Close()
	if info, err := os.Stat(location.Path); err == nil {
		t.Logf("%-28s %d bytes, %d a payment", "file", info.Size(), info.Size()/int64(n))
	}
	var w world
	took(t, "open", func() { w = openWorld(t, location) })
	month := ledger.FillStart.AddDate(0, 5, 0)
	report := func(from, to time.Time) func() {
		return func() {
			must(t, errorOf(w.Report(t.Context(), from, to)))
		}
	}
	took(t, "month's report, first", report(month, month.AddDate(0, 1, 0)))
	took(t, "month's report, warm", report(month, month.AddDate(0, 1, 0)))
	took(t, "year's report", report(ledger.FillStart, ledger.FillStart.AddDate(1, 0, 0)))
	list := func(f ledger.Filter) func() { return func() { w.sessions(t, f) } }
	took(t, "newest 50, first", list(ledger.Filter{Limit: 50}))
	took(t, "newest 50, warm", list(ledger.Filter{Limit: 50}))
	took(t, "newest 50 refunded", list(ledger.Filter{Limit: 50, Status: ledger.Refunded}))
	took(t, "newest 50 of a product", list(ledger.Filter{Limit: 50, Product: "product 7"}))
	took(t, "find a prefix", list(ledger.Filter{Query: "0123"}))
	figureSweep(t, w)
	if os.Getenv("LEDGER_FIGURES_ALL") != "" {
		took(t, "list all", list(ledger.Filter{}))
		took(t, "export", func() { w.export(t) })
		backup := w.export(t)
		took(t, "restore", func() { must(t, errorOf(w.Restore(t.Context(), strings.NewReader(backup)))) })
	}
}

// figureSweep sweeps one in a hundred while payments arrive.
func figureSweep(t *testing.T, w world) {
	stop := make(chan struct{})
	var paying sync.WaitGroup
	var longest time.Duration
	paid := 0
	paying.Go(func() {
		for ; ; paid++ {
			select {
			case <-stop:
				return
			default:
			}
			begun := time.Now()
			w.pay(t, payment(fmt.Sprintf("%d %d", begun.UnixNano(), paid)))
			longest = max(longest, time.Since(begun))
		}
	})
	var swept ledger.Swept
	took(t, "sweep", func() { swept = w.sweep(t, ledger.FillStart) })
	close(stop)
	paying.Wait()
	t.Logf("%-28s %+v, %d payments meanwhile, the longest waited %s", "", swept, paid, longest.Round(time.Millisecond))
}

func took(t *testing.T, what string, f func()) {
	t.Helper()
	begun := time.Now()
	f()
	t.Logf("%-28s %s", what, time.Since(begun).Round(10*time.Microsecond))
}
