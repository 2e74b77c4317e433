// Command growth measures what a ledger costs as it grows: space and files, the time of
// what happens at each payment and visit, and of what an operator does.
//
//	go run ./internal/growth                     # to 100,000 payments, 1 GB
//	go run ./internal/growth -payments 1000000   # 10 GB, half an hour or more
//	go run ./internal/growth -payments 1000000 -tokens 1000000   # and the memory of Caddy
//
// A Caddy with the plugin, in a process of its own, shows what a paid request, a webhook
// and a redemption cost in front of the ledger, over a connection on this machine, and how
// long it takes to start. Beside what the ledger does stands what the file system takes for
// the same files by itself: a file system that is many times larger has colder caches. With
// -tokens so many different access tokens go through that Caddy at the end, and its
// resident memory is printed on the way.
//
// It fills a ledger on Caddy's file storage in a folder of its own, which it removes at
// the end. The filling does not sync each record to disk, which is most of the time
// that a record takes; what is measured does.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// maxPayments and maxTokens bound a run: it would take 100 GB, and hours.
const (
	maxPayments = 10_000_000
	maxTokens   = 10_000_000
)

func main() {
	payments := flag.Int("payments", 100_000, "payments to grow to")
	dir := flag.String("dir", os.TempDir(), "folder in which to make the ledger's folder")
	tokens := flag.Int("tokens", 10_000, "different access tokens to send through Caddy at the end; a million takes some minutes")
	limit := flag.Duration("limit", 3*time.Hour, "give up after this time")
	flag.Parse()
	if file := os.Getenv(nodeFile); file != "" {
		if err := serve(file, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "node:", err)
			os.Exit(1)
		}
		return
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, *limit)
	err := grow(ctx, os.Stdout, os.Stderr, *dir, sizes(*payments), *tokens)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "growth:", err)
		os.Exit(1)
	}
}

// sizes are those at which is measured, on the way to the last one.
func sizes(payments int) []int {
	var all []int
	for _, size := range []int{1_000, 100_000, 1_000_000} {
		if size < payments {
			all = append(all, size)
		}
	}
	return append(all, payments)
}

// grow fills a ledger to each of the sizes, measures there, and prints the table.
func grow(ctx context.Context, out, progress io.Writer, dir string, sizes []int, tokens int) (err error) {
	if last := sizes[len(sizes)-1]; last < 1 || last > maxPayments {
		return fmt.Errorf("from 1 to %d payments can be measured, not %d", maxPayments, last)
	}
	if tokens < 1 || tokens > maxTokens {
		return fmt.Errorf("from 1 to %d tokens can be sent, not %d", maxTokens, tokens)
	}
	folder, err := os.MkdirTemp(dir, "axra-growth-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	shop, err := newShop(ctx, filepath.Join(folder, "ledger"))
	if err != nil {
		return err
	}
	var all []figures
	for _, size := range sizes {
		began := time.Now()
		if err := shop.fill(ctx, size); err != nil {
			return fmt.Errorf("filling: %w", err)
		}
		fmt.Fprintf(progress, "%d payments after %s, measuring\n", size, time.Since(began).Round(time.Second))
		measured, err := shop.measure(ctx)
		if err != nil {
			return fmt.Errorf("measuring at %d payments: %w", size, err)
		}
		all = append(all, measured)
	}
	fmt.Fprintf(out, "Go %s, %s/%s, %d CPUs, file storage in %s\n\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), dir)
	if err := table(out, sizes, all); err != nil {
		return err
	}
	fmt.Fprintf(progress, "sending %d tokens\n", tokens)
	fmt.Fprintln(out)
	return shop.tokens(ctx, out, tokens)
}
