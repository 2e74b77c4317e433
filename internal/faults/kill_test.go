package faults_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// buyer is a visitor of the kill test.
type buyer struct {
	*visitor
	signed       bool // its webhook is Axra's; the others' are forged or never sent
	sent         bool
	acknowledged bool
}

// K1: a node is killed while webhooks arrive. What it has acknowledged is paid,
// what it has not is delivered again, and what was never signed opens nothing.
func TestK1KillLosesNoAcknowledgedPayment(t *testing.T) {
	onBoth(t, func(t *testing.T, on driver) {
		r := newRig(t, on)
		r.killAndCount(inForm(3, 50), r.add("A", options{axra: unlimited}).start())
	})
}

// K1: the same beside a second node on the ledger, which goes on.
func TestK1KillBesideAnotherNode(t *testing.T) {
	onBoth(t, func(t *testing.T, on driver) {
		r, nodes := twoNodes(t, on, options{})
		r.killAndCount(inForm(2, 20), nodes...)
	})
}

// killed counts what became of the webhooks of a kill test.
type killed struct{ sent, forged, acknowledged, storedUnheard, again, redeemed, opened, lost int }

// killAndCount delivers webhooks to all nodes and kills the first one, again and again.
func (r *rig) killAndCount(rounds int, nodes ...*node) {
	t, n, perRound := r.t, nodes[0], inForm(40, 200)
	t.Helper()
	var figures killed
	for range rounds {
		buyers := r.buyers(n, perRound)
		r.closeLedger() // so that the next start repairs the file
		figures.sent += r.deliverAndKill(buyers, nodes...)
		n.start()
		r.compareWithLedger(buyers, &figures)
		redeem := func(acknowledged bool) {
			for _, b := range buyers {
				if !b.signed || b.acknowledged != acknowledged {
					continue
				}
				if open, err := b.reads(t.Context(), n); err != nil || !open {
					figures.lost++
					t.Errorf("%s was acknowledged, but does not open the gate (%v)", b.session.ID, err)
					continue
				}
				figures.redeemed++
			}
		}
		redeem(true)
		for _, b := range buyers {
			if b.signed && !b.acknowledged {
				r.mustDeliver(n, completed(b.session))
				figures.again++
			}
		}
		redeem(false)
		for _, b := range buyers {
			if b.signed {
				continue
			}
			if b.sent {
				figures.forged++
			}
			if a, err := b.browse(t.Context(), n, paid); err != nil || a.status == http.StatusOK || strings.Contains(a.body, marker) {
				figures.opened++
				t.Errorf("%s was never signed, but opens the gate: %s %v", b.session.ID, a, err)
			}
		}
	}
	r.mustBeSound()
	t.Logf("rounds %d, restarts %d; signed webhooks sent %d, acknowledged before the kill %d, stored without our hearing of it %d, "+
		"delivered again %d; forged webhooks %d, opened without payment %d; redeemed %d, LOST %d",
		rounds, n.starts-1, figures.sent, figures.acknowledged, figures.storedUnheard,
		figures.again, figures.forged, figures.opened, figures.redeemed, figures.lost)
	if figures.acknowledged == 0 || figures.again == 0 {
		t.Error("no kill fell amid the webhooks: this proves nothing")
	}
}

// compareWithLedger looks for every payment after a kill.
func (r *rig) compareWithLedger(buyers []*buyer, figures *killed) {
	for _, b := range buyers {
		paid := r.isPaid(b.session)
		switch {
		case b.acknowledged && paid:
			figures.acknowledged++
		case b.acknowledged:
			figures.acknowledged++
			figures.lost++
			r.t.Errorf("%s was acknowledged, but is not in the ledger after the kill", b.session.ID)
		case paid && b.signed:
			figures.storedUnheard++
		case paid:
			r.t.Errorf("%s was never signed, but is in the ledger", b.session.ID)
		}
	}
}

// buyers begin their checkouts; every tenth will never be signed for.
func (r *rig) buyers(n *node, count int) []*buyer {
	r.t.Helper()
	buyers, visitors := make([]*buyer, count), make([]*visitor, count)
	for i := range buyers {
		visitors[i] = newVisitor()
		buyers[i] = &buyer{visitor: visitors[i], signed: i%10 != 0, sent: i%20 != 0}
	}
	r.begin(n, visitors...)
	rand.Shuffle(count, func(i, j int) { buyers[i], buyers[j] = buyers[j], buyers[i] })
	return buyers
}

// deliverAndKill sends the webhooks to the nodes by turns, eight at a time, and kills the
// first node at a random moment amid them. It returns how many signed ones were sent.
func (r *rig) deliverAndKill(buyers []*buyer, nodes ...*node) (sent int) {
	r.t.Helper()
	var answers atomic.Int64
	when := int64(len(buyers)/10 + rand.IntN(len(buyers)*8/10))
	moment := make(chan struct{})
	reached := sync.OnceFunc(func() { close(moment) })
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		<-moment
		time.Sleep(rand.N(4 * time.Millisecond))
		nodes[0].kill()
	}()
	_ = each(r.t.Context(), 8, len(buyers), func(ctx context.Context, i int) error {
		b := buyers[i]
		if !b.sent {
			return nil
		}
		with := secret
		if !b.signed {
			with = "bs_test_forged"
		}
		n := nodes[i%len(nodes)]
		status, err := deliver(ctx, n, completed(b.session), with)
		b.acknowledged = err == nil && status == http.StatusOK
		if b.acknowledged && !b.signed {
			r.t.Errorf("a forged webhook was acknowledged")
		}
		if n != nodes[0] && b.signed && !b.acknowledged {
			r.t.Errorf("the node that was not killed answers %d %v", status, err)
		}
		if err == nil && answers.Add(1) >= when {
			reached()
		}
		return nil
	})
	reached()
	<-killed
	for _, b := range buyers {
		if b.signed && b.sent {
			sent++
		}
	}
	return sent
}

// K1 and D5: a node that is killed on its very first start, perhaps while it creates the
// ledger or its keys, does not keep the next one from serving.
func TestKillOnTheFirstStart(t *testing.T) {
	onBoth(t, func(t *testing.T, on driver) {
		r := newRig(t, on)
		n := r.add("A", options{axra: unlimited})
		for range inForm(2, 20) {
			n.prepare()
			n.load()
			time.Sleep(rand.N(150 * time.Millisecond))
			n.kill()
		}
		began := time.Now()
		n.start()
		v := newVisitor()
		until(t, time.Minute, "a visitor is sent to a checkout", func() bool {
			a, err := v.open(t.Context(), n, paid)
			must(t, err)
			return a.status == http.StatusSeeOther
		})
		t.Logf("%d kills at the start; the gate works %s after the last", n.starts-1, time.Since(began).Round(time.Millisecond))
		r.begin(n, v)
		r.mustDeliver(n, completed(v.session))
		r.mustRead(v, n)
		// A restart reads the same keys.
		n.kill()
		n.start()
		r.mustRead(v, n)
	})
}
