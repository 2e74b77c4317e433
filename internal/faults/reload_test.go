package faults_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// reloadPause is less than anybody reloads in, but lets each server live for some
// requests: Caddy resets a connection that is still in the queue of the socket that
// it closes, and a client may meet that twice where reloads follow each other in
// milliseconds.
const reloadPause = 30 * time.Millisecond

// Bounds of what reloads may leave behind. Caddy itself leaves nothing for each
// reload either; the slack is for runtimes, timers and pools.
const (
	reloadGoroutines = 10
	reloadHeap       = 8 << 20
)

// K2: reloads with other configurations under load. No paid visitor notices, a
// payment that was under way is completed, goroutines and memory stay level.
func TestK2ReloadUnderLoad(t *testing.T) {
	warm, all := inForm(10, 20), inForm(30, 100)
	r := newRig(t, sqlite)
	n := r.add("A", options{axra: unlimited}).start()
	readers := []*reader{r.unpaidProgram(n, 5*time.Millisecond), r.unpaidProgram(n, 5*time.Millisecond)}
	for range 4 {
		readers = append(readers, r.paidReader(n, r.buyer(n), 2*time.Millisecond))
	}
	paying := newVisitor()
	r.begin(n, paying)

	reload := func(from, to int) measured {
		return during(t.Context(), func() {
			for i := from; i < to; i++ {
				r.reload(n, i)
				time.Sleep(reloadPause)
				if i == all/2 {
					r.mustDeliver(n, completed(paying.session))
				}
			}
		}, readers...)
	}
	// What Caddy's reload itself costs visitors shows on the free page.
	free := r.freeReader(n, 2*time.Millisecond)
	readers = append(readers, free)
	first := reload(0, warm)
	goroutinesBefore, profileBefore := n.goroutines()
	heapBefore, residentBefore := n.heap(), n.resident()
	began := time.Now()
	second := reload(warm, all)
	took := time.Since(began)
	goroutinesAfter, profileAfter := n.goroutines()
	heapAfter, residentAfter := n.heap(), n.resident()

	t.Logf("during reloads 1 to %d: %s", warm, first)
	t.Logf("during reloads %d to %d: %s; one reload takes %s", warm+1, all, second, (took/time.Duration(all-warm) - reloadPause).Round(time.Millisecond))
	t.Logf("after %d and %d reloads: goroutines %d, %d; heap %s, %s; resident %s, %s", warm, all, goroutinesBefore, goroutinesAfter,
		megabytes(heapBefore), megabytes(heapAfter), megabytes(residentBefore), megabytes(residentAfter))
	t.Logf("of these on the page without a gate: %s", gather(free))
	first.mustNotFail(t, "the first reloads")
	second.mustNotFail(t, "the further reloads")
	if grown := goroutinesAfter - goroutinesBefore; grown > reloadGoroutines {
		t.Errorf("%d goroutines more; before:\n%.5000s\nafter:\n%.5000s", grown, profileBefore, profileAfter)
	}
	if grown := heapAfter - heapBefore; grown > reloadHeap {
		t.Errorf("the heap has grown by %s", megabytes(grown))
	}
	// Begun at a price that no longer stands, paid amid the reloads: honoured.
	r.mustRead(paying, n)
}

// reload gives the node another price and another description.
func (r *rig) reload(n *node, i int) {
	r.t.Helper()
	r.load(n, options{
		axra: unlimited, price: fmt.Sprintf("%d.00 usd", 5+i%2), description: fmt.Sprintf("Reload %d", i),
	})
}

// load gives the node another configuration.
func (r *rig) load(n *node, o options) {
	r.t.Helper()
	header := http.Header{"Content-Type": {"text/caddyfile"}}
	if a, err := n.administer(http.MethodPost, "/load", header, []byte(r.caddyfile(n, o))); err != nil || a.status != http.StatusOK {
		r.t.Fatalf("a reload is answered %s %v", a, err)
	}
}
