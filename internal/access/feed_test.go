package access

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/token"
)

func TestAChangeIsReadAgain(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(n *node)
		reads  int64
	}{
		{"nothing changed", func(n *node) { n.mustPoll() }, 0},
		{"the feed names it", func(n *node) { n.ledger.tell("1"); n.mustPoll() }, 1},
		{"the feed says that everything may have changed", func(n *node) { n.ledger.all.Store(true); n.mustPoll() }, 1},
		{"this node changed it", func(n *node) { n.Drop([]string{"1"}) }, 1},
		{"this node changed it, and the feed names it", func(n *node) {
			n.Drop([]string{"1"})
			n.ledger.tell("1")
			n.mustPoll()
		}, 1},
		{"the keys changed", func(n *node) { n.ledger.tell(""); n.mustPoll() }, 0},
		{"the feed fails", func(n *node) { n.ledger.tell("1"); n.ledger.failPolls(errDown); _ = n.Poll(t.Context()) }, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			n, known := newSeller(t)
			n.judge(known)
			n.wantReads("before", 1)
			test.change(n)
			n.judge(known)
			n.wantReads("the next request", test.reads)
			n.judge(known)
			n.wantReads("the one after that", 0)
		})
	}
}

func TestAnUnrelatedChangeIsRarelyReadAgain(t *testing.T) {
	n, known := newSeller(t)
	n.judge(known)
	again := 0
	for i := range 1000 {
		n.Drop([]string{"other " + time.Duration(i).String()})
		n.judge(known)
		again += int(n.ledger.reads.Swap(0))
	}
	if again > 5 { // one in 16 is expected, of 16 such tests
		t.Errorf("read again for %d of 1000 changes of other purchases", again)
	}
}

func TestFreshnessCountsFromTheStartOfTheLastPollThatSucceeded(t *testing.T) {
	n := newNode(t)
	for _, step := range []struct {
		name string
		do   func()
		want bool
	}{
		{"just polled", func() {}, true},
		{"at the bound", func() { n.advance(bounds.Recheck) }, true},
		{"beyond it", func() { n.advance(time.Nanosecond) }, false},
		{"polled again", func() { n.mustPoll() }, true},
		{"a poll that fails", func() {
			n.ledger.failPolls(errDown)
			n.pass(bounds.Recheck + time.Second)
		}, false},
		{"keys that cannot be read", func() {
			n.ledger.failPolls(nil)
			n.ledger.tell("")
			n.keysErr = errDown
			if err := n.Poll(t.Context()); !errors.Is(err, errDown) {
				t.Error(err)
			}
		}, false},
		{"a poll that took longer than the bound", func() {
			n.keysErr = nil
			n.options.OnKeys = func(context.Context) error { n.advance(bounds.Recheck + 1); return nil }
			n.mustPoll()
		}, false},
	} {
		step.do()
		if got := n.IsFresh(bounds.Recheck); got != step.want {
			t.Errorf("%s: fresh %v, want %v", step.name, got, step.want)
		}
	}
}

func TestTheFeedStaysWhereTheKeysCouldNotBeRead(t *testing.T) {
	n := newNode(t)
	kid := n.keyring.List(token.HS256)[0].ID
	raw := n.sell("1", "phone")
	n.judge(n.verify(raw))
	if err := n.anotherNode().Remove(t.Context(), n.store, kid, token.HS256); err != nil {
		t.Fatal(err)
	}
	n.ledger.tell("")
	n.keysErr = errDown
	for range 3 {
		if err := n.Poll(t.Context()); !errors.Is(err, errDown) {
			t.Errorf("the keys cannot be read: %v", err)
		}
	}
	if _, err := n.Verify(raw, site, n.now()); err != nil {
		t.Errorf("a buyer whose key is not known to be removed: %v", err)
	}
	n.keysErr = nil
	n.mustPoll()
	if _, err := n.Verify(raw, site, n.now()); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("a removed key: %v, want %v", err, token.ErrInvalid)
	}
	n.mustPoll()
	var seqs []int64
	for _, position := range n.ledger.positions {
		seqs = append(seqs, position.Seq)
	}
	if want := []int64{0, 0, 0, 0, 0, 1}; !slices.Equal(seqs, want) {
		t.Errorf("asked from %v, want %v", seqs, want)
	}
}
