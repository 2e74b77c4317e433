package faults_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/sandbox"
)

// D1 to D3: while the ledger's file is gone, or its server stopped, known buyers are served for the time of grace, what
// was closed stays closed, webhooks come again and nothing is sold. Once it is back, all goes on.
func TestD3NodesWithoutALedger(t *testing.T) {
	onBoth(t, func(t *testing.T, on driver) {
		const recheck, grace = 2 * time.Second, 5 * time.Second
		r := newRigToHurt(t, on)
		nodes := r.startTwo(options{axra: fmt.Sprintf("recheck %s\n\t\tgrace %s", recheck, grace)})
		known, refunded, paying := r.buyer(nodes[0]), r.buyer(nodes[0]), newVisitor()
		r.begin(nodes[0], paying)
		r.mustDeliver(nodes[0], event("payment.refunded", refunded.session))
		for _, n := range nodes {
			r.mustRead(known, n)
			until(t, heardWithin, "closed after the refund", func() bool { return r.isShut(refunded, n) })
		}

		r.closeLedger()
		bringBack := r.takeAway()
		gone := time.Now()
		for _, n := range nodes {
			until(t, recheck+2*time.Second, "nothing is sold", func() bool { return isSafe(r.visit(newVisitor(), n)) })
		}
		calls := r.sandbox.CallCount(sandbox.RouteSession)
		for time.Since(gone) < grace-time.Second {
			for _, n := range nodes {
				r.mustRead(known, n)
				if !r.isShut(refunded, n) {
					t.Fatalf("node %s opens to a visitor whose payment was refunded", n.name)
				}
				if a := r.visit(newVisitor(), n); !isSafe(a) {
					t.Fatalf("node %s answers a stranger %s", n.name, a)
				}
				back := paid + "?axra_session=" + paying.session.ID
				if a, err := paying.browse(t.Context(), n, back); err != nil || !isSafe(a) {
					t.Fatalf("D2: node %s answers a visitor who comes back from the checkout %s %v", n.name, a, err)
				}
				if status, err := deliver(t.Context(), n, completed(paying.session), secret); err != nil || status < 500 {
					t.Fatalf("node %s answers a webhook %d %v", n.name, status, err)
				}
			}
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(time.Until(gone.Add(grace + time.Second)))
		for _, n := range nodes {
			if a := r.visit(known, n); !isSafe(a) {
				t.Errorf("after the time of grace node %s answers a buyer %s", n.name, a)
			}
		}
		if made := r.sandbox.CallCount(sandbox.RouteSession) - calls; made > 0 {
			t.Errorf("%d checkouts were created", made)
		}

		bringBack()
		for _, n := range nodes {
			until(t, 3*time.Second, "open to a known buyer again", func() bool { return r.visit(known, n).opened() })
			if !r.isShut(refunded, n) {
				t.Errorf("node %s opens to a visitor whose payment was refunded", n.name)
			}
		}
		r.mustDeliver(nodes[1], completed(paying.session))
		for _, n := range nodes {
			r.mustRead(paying, n)
		}
	})
}

// takeAway removes the file of the ledger, or stops its server.
func (r *rig) takeAway() (bringBack func()) {
	r.t.Helper()
	if r.server != nil {
		r.server.Stop()
		return func() { must(r.t, r.server.Start()) }
	}
	must(r.t, os.Rename(r.database, r.database+".away"))
	return func() { must(r.t, os.Rename(r.database+".away", r.database)) }
}

// D3: while the change feed was not read within recheck, nothing is sold, since the payment might not be stored. Here
// recheck is much shorter than the time between two polls, so most strangers come at such a moment.
func TestD3NothingIsSoldWhileTheFeedIsStale(t *testing.T) {
	r := newRig(t, sqlite)
	n := r.add("A", options{axra: unlimited + "\n\t\trecheck 200ms"}).start()
	var known *visitor
	until(t, 10*time.Second, "somebody buys", func() (ok bool) {
		var err error
		known, err = r.newBuyer(t.Context(), n)
		return err == nil
	})
	answers := make(map[bool]int) // by whether nothing is sold
	for began := time.Now(); time.Since(began) < 3*time.Second; time.Sleep(10 * time.Millisecond) {
		answers[isSafe(r.visit(newVisitor(), n))]++
		r.mustRead(known, n)
	}
	if answers[true] < 2*answers[false] || answers[false] == 0 {
		t.Errorf("of the strangers %d were sent to a checkout and %d were not", answers[false], answers[true])
	}
}

// visit navigates to the paid page.
func (r *rig) visit(v *visitor, n *node) answer {
	r.t.Helper()
	a, err := v.browse(r.t.Context(), n, paid)
	must(r.t, err)
	return a
}

// isShut reports whether the gate is closed. It fails the test if paid content leaks.
func (r *rig) isShut(v *visitor, n *node) bool {
	r.t.Helper()
	a := r.visit(v, n)
	if !a.opened() && strings.Contains(a.body, marker) {
		r.t.Fatalf("paid content in %s", a)
	}
	return !a.opened()
}

// isSafe reports whether an answer says that a payment is safe, and nothing is on sale.
func isSafe(a answer) bool {
	return a.status == http.StatusServiceUnavailable && strings.Contains(a.body, "Your payment is safe") && a.location == ""
}
