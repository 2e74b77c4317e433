//go:build linux

package faults_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A node's files may grow to a limit, as those on a disk that gets full.
func init() {
	limitFiles = func(command string) error {
		text, ok := strings.CutPrefix(command, "limit ")
		if !ok {
			return nil
		}
		signal.Ignore(syscall.SIGXFSZ) // so that a write beyond the limit fails, and the process goes on
		var limit syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			return err
		}
		bytes, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return err
		}
		limit.Cur = min(limit.Max, bytes)
		return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit)
	}
}

// limit bounds the size of the node's files from now on.
func (n *node) limit(bytes uint64) {
	n.t.Helper()
	_, err := fmt.Fprintf(n.commands, "limit %d\n", bytes)
	must(n.t, err)
	n.expect("limited")
}

// D1: the disk gets full while webhooks arrive. SQLite notices at the commit. What is acknowledged is stored, what
// is not comes again, and nothing is sold meanwhile.
func TestD1FullDiskLosesNoAcknowledgedPayment(t *testing.T) {
	r := newRig(t, sqlite)
	n := r.add("A", options{axra: unlimited}).start()
	known, buyers := r.buyer(n), r.buyers(n, inForm(40, 200))
	wal, err := os.Stat(r.database + "-wal")
	must(t, err)
	n.limit(uint64(wal.Size()) + 160<<10)
	var refused atomic.Int64
	deliverAll := func() {
		must(t, each(t.Context(), 8, len(buyers), func(ctx context.Context, i int) error {
			b := buyers[i]
			if !b.signed || b.acknowledged {
				return nil
			}
			status, err := deliver(ctx, n, completed(b.session), secret)
			b.acknowledged = err == nil && status == http.StatusOK
			if err == nil && !b.acknowledged {
				refused.Add(1)
				if status < 500 {
					return fmt.Errorf("a webhook is answered %d", status)
				}
			}
			return err
		}))
	}
	deliverAll()
	if refused.Load() == 0 {
		t.Fatal("the disk did not get full: this proves nothing")
	}
	var figures killed
	r.compareWithLedger(buyers, &figures)
	if a := r.visit(newVisitor(), n); !isSafe(a) {
		t.Errorf("a stranger is answered %s", a)
	}
	r.mustRead(known, n)

	n.limit(1 << 62)
	until(t, 5*time.Second, "the node sells again", func() bool { return r.visit(newVisitor(), n).status == http.StatusSeeOther })
	deliverAll()
	for _, b := range buyers {
		if b.signed {
			r.mustRead(b.visitor, n)
		}
	}
	r.mustBeSound()
	t.Logf("acknowledged on the full disk %d, refused %d, LOST %d", figures.acknowledged, refused.Load(), figures.lost)
}
