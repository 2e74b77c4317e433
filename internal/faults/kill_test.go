package faults_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
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
	rounds, perRound := inForm(3, 50), inForm(40, 200)
	r := newRig(t)
	n := r.add("A", options{axra: unlimited})
	n.start()
	var figures struct{ sent, forged, acknowledged, storedUnheard, again, redeemed, opened, lost, temporary int }
	for range rounds {
		buyers := r.buyers(n, perRound)
		figures.sent += r.deliverAndKill(n, buyers)
		for _, b := range buyers {
			paid := r.isPaid(b.session)
			switch {
			case b.acknowledged && paid:
				figures.acknowledged++
			case b.acknowledged:
				figures.acknowledged++
				figures.lost++
				t.Errorf("%s was acknowledged, but is not in the ledger after the kill", b.session.ID)
			case paid && b.signed:
				figures.storedUnheard++
			case paid:
				t.Errorf("%s was never signed, but is in the ledger", b.session.ID)
			}
		}
		r.leaveTemporaryFiles()
		n.start()
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
	for _, file := range r.files() {
		if isTemporary(file) {
			figures.temporary++
		}
	}
	t.Logf("rounds %d, restarts %d; signed webhooks sent %d, acknowledged before the kill %d, stored without our hearing of it %d, "+
		"delivered again %d; forged webhooks %d, opened without payment %d; redeemed %d, LOST %d; temporary files left %d",
		rounds, n.starts-1, figures.sent, figures.acknowledged, figures.storedUnheard,
		figures.again, figures.forged, figures.opened, figures.redeemed, figures.lost, figures.temporary)
	if figures.acknowledged == 0 || figures.again == 0 {
		t.Error("no kill fell amid the webhooks: this proves nothing")
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

// deliverAndKill sends the webhooks, eight at a time, and kills the node at a
// random moment amid them. It returns how many signed ones were sent.
func (r *rig) deliverAndKill(n *node, buyers []*buyer) (sent int) {
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
		n.kill()
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
		status, err := deliver(ctx, n, completed(b.session), with)
		b.acknowledged = err == nil && status == http.StatusOK
		if b.acknowledged && !b.signed {
			r.t.Errorf("a forged webhook was acknowledged")
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

// leaveTemporaryFiles adds what Stores leave behind that were killed halfway:
// some digits for a name, half a record for content, beside a record.
func (r *rig) leaveTemporaryFiles() {
	r.t.Helper()
	for _, record := range r.files() {
		if strings.Contains(record, filepath.Join("ledger", "paid")) && !isTemporary(record) {
			content, err := os.ReadFile(record)
			must(r.t, err)
			writeFile(r.t, filepath.Join(filepath.Dir(record), "1234567890"), string(content[:len(content)/2]))
			return
		}
	}
}

func isTemporary(file string) bool {
	name := filepath.Base(file)
	return len(bytes.Trim([]byte(name), "0123456789")) == 0 && len(name) < 16
}

// K1 and D5: a node that is killed on its very first start, perhaps with the
// keyring's lock in its hands, does not keep the next one from serving.
func TestKillOnTheFirstStart(t *testing.T) {
	r := newRig(t)
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
}
