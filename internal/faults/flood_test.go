package faults_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/sandbox"
)

// maxGrowth bounds the resident memory that a flood may cost.
const maxGrowth = 50 << 20

// C1, P1 and P10: strangers flood a gate while Axra hangs, then while it is well.
// Axra is called no more often than the limits allow, memory and ledger stay as
// they are, and paid visitors are served.
func TestC1P10Flood(t *testing.T) {
	t.Run("Axra hangs", func(t *testing.T) {
		floodGate(t, "limit_per_client 5 10m\n\t\tlimit_total 50 1m", 50, sandbox.Fault{Kind: sandbox.FaultHang})
	})
	t.Run("Axra hangs, default limits", func(t *testing.T) {
		floodGate(t, "", 600, sandbox.Fault{Kind: sandbox.FaultHang})
	})
	t.Run("Axra is well, default limits", func(t *testing.T) {
		floodGate(t, "", 600, sandbox.Fault{})
	})
}

func floodGate(t *testing.T, limits string, perMinute int, fault sandbox.Fault) {
	t.Helper()
	perSecond, length := inForm(300, 1000), inForm(2500*time.Millisecond, 10*time.Second)
	idleLength := inForm(time.Second, 5*time.Second)
	r := newRig(t, sqlite)
	n := r.add("A", options{axra: limits}).start()
	var readers []*reader
	for range 4 {
		readers = append(readers, r.paidReader(n, r.buyer(n), 5*time.Millisecond))
	}
	during(t.Context(), func() { time.Sleep(idleLength / 2) }, readers...) // warms up
	idle := during(t.Context(), func() { time.Sleep(idleLength) }, readers...)

	// As many requests for a page without a gate: what they cost the paid visitors is
	// the price of sharing a machine with the flood and its sender.
	free := during(t.Context(), func() { flood(t.Context(), n, "/", perSecond, length) }, readers...)

	must(t, r.sandbox.SetFault(fault))
	rows, calls := r.rows(), r.sandbox.CallCount(sandbox.RouteSession)
	resident := n.resident()
	var statuses map[int]int
	var skipped int
	var flooded measured
	began := time.Now()
	highest := n.peak(func() {
		flooded = during(t.Context(), func() {
			// The end of the flood hangs up on what Axra has left hanging.
			ctx, cancel := context.WithTimeout(t.Context(), length+time.Second)
			defer cancel()
			statuses, skipped = flood(ctx, n, paid, perSecond, length)
		}, readers...)
	})
	made := r.sandbox.CallCount(sandbox.RouteSession) - calls
	allowed := perMinute + int(time.Since(began).Minutes()*float64(perMinute)) + 1

	t.Logf("%d navigations a second for %s: answers %v (0: still waiting), %d not sent since 512 were waiting", perSecond, length, statuses, skipped)
	t.Logf("calls to create sessions %d, allowed %d; resident memory %s, at most %s (+%s)", made, allowed,
		megabytes(resident), megabytes(highest), megabytes(highest-resident))
	t.Logf("paid visitors idle: %s", idle)
	t.Logf("paid visitors in a flood of a free page: %s; p99 is %.1f times idle", free, free.slower(idle))
	t.Logf("paid visitors in the flood: %s; p99 is %.1f times idle", flooded, flooded.slower(idle))
	idle.mustNotFail(t, "idle")
	flooded.mustNotFail(t, "in the flood")
	if made > allowed {
		t.Errorf("%d calls to create sessions, %d allowed", made, allowed)
	}
	if made == 0 || statuses[http.StatusServiceUnavailable]+statuses[http.StatusTooManyRequests] == 0 {
		t.Error("the flood did not come through: this proves nothing")
	}
	if grown := highest - resident; grown > maxGrowth && !raced {
		t.Errorf("memory grew by %s", megabytes(grown))
	}
	mustBeUntouched(t, rows, r.rows())
}

// C4: checkouts that nobody pays leave nothing in the ledger, and memory level
// once the bounded caches are full.
func TestC4AbandonedCheckouts(t *testing.T) {
	half := inForm(200, 50_000)
	r := newRig(t, sqlite)
	n := r.add("A", options{axra: unlimited}).start()
	r.buyer(n)
	rows := r.rows()
	abandon := func(count int) {
		const batch = 200
		for range count / batch {
			visitors := make([]*visitor, batch)
			for i := range visitors {
				visitors[i] = newVisitor()
				visitors[i].from = randomAddress()
			}
			r.begin(n, visitors...)
			must(t, each(t.Context(), 4, batch/10, func(ctx context.Context, i int) error {
				return r.giveUp(ctx, n, visitors[10*i:10*i+4])
			}))
		}
	}
	began := time.Now()
	abandon(half)
	heapBefore, residentBefore := n.heap(), n.resident()
	abandon(half)
	heapAfter, residentAfter := n.heap(), n.resident()
	goroutines, _ := n.goroutines()
	t.Logf("%d checkouts abandoned in %s; after each half: heap %s, %s; resident %s, %s; %d goroutines", 2*half,
		time.Since(began).Round(time.Second), megabytes(heapBefore), megabytes(heapAfter),
		megabytes(residentBefore), megabytes(residentAfter), goroutines)
	mustBeUntouched(t, rows, r.rows())
	if grown := heapAfter - heapBefore; grown > 8<<20 {
		t.Errorf("the heap has grown by %s", megabytes(grown))
	}
}

// giveUp ends checkouts in each way that is no payment: cancelled, come back from
// unpaid, refused by the bank, forged.
func (r *rig) giveUp(ctx context.Context, n *node, v []*visitor) error {
	for i, query := range []string{"?axra_cancelled=1", "?axra_session=" + v[1].session.ID} {
		if a, err := v[i].open(ctx, n, paid+query); err != nil || a.opened() {
			return fmt.Errorf("%s: %s %w", query, a, err)
		}
	}
	if status, err := deliver(ctx, n, event("payment.failed", v[2].session), secret); err != nil || status != http.StatusOK {
		return fmt.Errorf("payment.failed: %d %w", status, err)
	}
	if status, err := deliver(ctx, n, completed(v[3].session), "bs_test_forged"); err != nil || status != http.StatusUnauthorized {
		return fmt.Errorf("forged: %d %w", status, err)
	}
	return nil
}
