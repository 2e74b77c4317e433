package faults_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// K4: nodes that start at the same moment without a ledger agree on one ledger and one key.
func TestK4NodesAgreeOnOneKey(t *testing.T) {
	onBoth(t, func(t *testing.T, on driver) {
		for range inForm(2, 20) {
			agreeOnOneKey(t, on)
		}
	})
}

func agreeOnOneKey(t *testing.T, on driver) {
	t.Helper()
	r := newRig(t, on)
	nodes := []*node{r.add("A", options{axra: unlimited}), r.add("B", options{axra: unlimited})}
	for _, n := range nodes {
		n.prepare()
	}
	for _, n := range nodes {
		n.load()
	}
	for _, n := range nodes {
		n.expect("ready")
	}
	began := time.Now()
	// Each node is asked at once, before it can have heard of the other by chance.
	for i, n := range nodes {
		v := newVisitor()
		until(t, 30*time.Second, "a node has its keys", func() bool {
			a, err := v.open(t.Context(), n, paid)
			must(t, err)
			return a.status == http.StatusSeeOther
		})
		r.begin(n, v) // goes to the same checkout again
		r.mustDeliver(n, completed(v.session))
		r.mustRead(v, n)
		r.mustRead(v, nodes[1-i])
	}
	if keys, installations := r.number(`SELECT COUNT(*) FROM keys`), r.number(`SELECT COUNT(*) FROM installation`); keys != 1 || installations != 1 {
		t.Errorf("%d keys of %d installations, want 1 of 1", keys, installations)
	}
	t.Logf("both nodes read each other's tokens within %s", time.Since(began).Round(time.Millisecond))
	for _, n := range nodes {
		n.kill()
	}
}

// twoNodes starts two nodes on one ledger.
func twoNodes(t *testing.T, on driver, o options) (*rig, []*node) {
	t.Helper()
	r := newRig(t, on)
	return r, r.startTwo(o)
}

func (r *rig) startTwo(o options) []*node {
	r.t.Helper()
	o.axra = unlimited + "\n\t\t" + o.axra
	return []*node{r.add("A", o).start(), r.add("B", o).start()}
}

// K3: the webhook comes to one node, the visitor returns to the other.
func TestK3NodesShareThePayment(t *testing.T) {
	onBoth(t, func(t *testing.T, on driver) {
		r, nodes := twoNodes(t, on, options{})
		for i := range inForm(8, 80) {
			started, heard, returned := nodes[i&1], nodes[i>>1&1], nodes[i>>2&1]
			v := newVisitor()
			r.begin(started, v)
			back := paid + "?axra_session=" + v.session.ID
			if a, err := v.open(t.Context(), returned, back); err != nil || !strings.Contains(a.body, v.session.ID) || a.opened() {
				t.Fatalf("before the webhook: %s %v", a, err)
			}
			r.mustDeliver(heard, completed(v.session))
			a, err := v.open(t.Context(), returned, back)
			if err != nil || a.status != http.StatusSeeOther || a.location != paid {
				t.Fatalf("begun at %s, webhook at %s, return at %s: %s %v", started.name, heard.name, returned.name, a, err)
			}
			for _, n := range nodes {
				if a, err := v.open(t.Context(), n, paid); err != nil || !a.opened() {
					t.Fatalf("node %s does not accept the token of node %s: %s %v", n.name, returned.name, a, err)
				}
			}
		}
	})
}

// heardWithin is how soon a node must know what another one has stored.
const heardWithin = 2 * time.Second

// T7 and FD6: a refund or a dispute closes the node that hears of it at once and the other within two seconds,
// and ends the purchase's streams there. A dispute that is won opens both again.
func TestT7FD6NodesCloseAfterARefund(t *testing.T) {
	onBoth(t, func(t *testing.T, on driver) {
		r := newRig(t, on)
		o := options{axra: unlimited, site: r.serveStreams()}
		nodes := []*node{r.add("A", o).start(), r.add("B", o).start()}
		bystander := r.openStreams(nodes[1], r.buyer(nodes[0]))
		tries := inForm(6, 50)
		var mu sync.Mutex
		var slowest closing
		began := time.Now()
		must(t, each(t.Context(), inForm(3, 5), tries, func(ctx context.Context, i int) error {
			took, err := r.closeElsewhere(ctx, nodes[i&1], nodes[1-i&1], []string{"payment.refunded", "payment.disputed"}[i>>1&1], i>>2&1 == 1)
			mu.Lock()
			defer mu.Unlock()
			slowest.gate, slowest.streams = max(slowest.gate, took.gate), max(slowest.streams, took.streams)
			return err
		}))
		t.Logf("%d tries in %s: the other node closed its gate after %s at most, and ended streams after %s", tries,
			time.Since(began).Round(time.Second), slowest.gate.Round(time.Millisecond), slowest.streams.Round(time.Millisecond))
		for _, s := range bystander {
			if at, ended := s.ended(0); ended {
				t.Errorf("%s of another purchase ended at %s", s.name, at)
			}
		}
	})
}

// closing says how long after a refund something closed on a node that did not receive it.
type closing struct{ gate, streams time.Duration }

// closeElsewhere lets one node hear of a refund and watches the other one. A visitor who is away asks only when
// the time is up.
func (r *rig) closeElsewhere(ctx context.Context, heard, other *node, name string, isAway bool) (took closing, err error) {
	v, err := r.newBuyer(ctx, heard)
	if err != nil {
		return took, err
	}
	// The refund comes at any time between two polls of the other node.
	for before := time.Now().Add(rand.N(1250 * time.Millisecond)); time.Now().Before(before); time.Sleep(10 * time.Millisecond) {
		if open, err := v.reads(ctx, other); err != nil || !open {
			return took, fmt.Errorf("node %s does not open to a visitor who has paid (%w)", other.name, err)
		}
	}
	open, err := r.streamsOf(ctx, other, v)
	if err != nil {
		return took, err
	}
	if status, err := deliver(ctx, heard, event(name, v.session), secret); err != nil || status != http.StatusOK {
		return took, fmt.Errorf("%s is answered %d %w", name, status, err)
	}
	delivered := time.Now()
	if open, err := v.reads(ctx, heard); err != nil || open {
		return took, fmt.Errorf("%s: the node that heard of it is open (%w)", name, err)
	}
	if isAway {
		time.Sleep(heardWithin)
	}
	for {
		asked := time.Since(delivered)
		open, err := v.reads(ctx, other)
		if err != nil {
			return took, err
		}
		if !open {
			if !isAway {
				took.gate = time.Since(delivered)
			}
			break
		}
		if asked > heardWithin {
			return took, fmt.Errorf("%s: the other node is open to a request %s later", name, asked)
		}
		time.Sleep(10 * time.Millisecond)
	}
	for _, s := range open {
		at, ended := s.ended(time.Until(delivered.Add(heardWithin)))
		if !ended {
			return took, fmt.Errorf("FD6: %s: %s is open after %s", name, s.name, time.Since(delivered))
		}
		took.streams = max(took.streams, at.Sub(delivered))
	}
	if name != "payment.disputed" {
		return took, nil
	}
	if status, err := deliver(ctx, other, event("payment.dispute_won", v.session), secret); err != nil || status != http.StatusOK {
		return took, fmt.Errorf("payment.dispute_won is answered %d %w", status, err)
	}
	for _, n := range []*node{other, heard} {
		if err := v.mustOpenWithin(ctx, n, heardWithin); err != nil {
			return took, fmt.Errorf("after the dispute is won: %w", err)
		}
	}
	return took, nil
}

// mustOpenWithin asks until the node opens.
func (v *visitor) mustOpenWithin(ctx context.Context, n *node, limit time.Duration) error {
	for deadline := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		asked := time.Now()
		if open, err := v.reads(ctx, n); err != nil || open {
			return err
		}
		if asked.After(deadline) {
			return fmt.Errorf("node %s is closed after %s", n.name, limit)
		}
	}
}

// FD6: a stream that was opened before a reload ends with its purchase, too.
func TestFD6StreamsEndAfterAReload(t *testing.T) {
	onBoth(t, func(t *testing.T, on driver) {
		r := newRig(t, on)
		o := options{axra: unlimited, site: r.serveStreams()}
		n := r.add("A", o).start()
		v := r.buyer(n)
		open := r.openStreams(n, v)
		o.price = "6.00 usd"
		r.load(n, o)
		events := open[0] // Caddy itself ends WebSockets at a reload
		if at, ended := events.ended(100 * time.Millisecond); ended {
			t.Fatalf("%s ended with the reload at %s", events.name, at)
		}
		r.mustDeliver(n, event("payment.refunded", v.session))
		if _, ended := events.ended(heardWithin); !ended {
			t.Errorf("%s is open after a refund", events.name)
		}
	})
}
