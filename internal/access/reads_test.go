package access

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-axra/paywall/ledger"
)

func TestOneReadingServesAllWhoWait(t *testing.T) {
	for name, ask := range map[string]func(n *node, known *Token) error{
		"requests with one token": func(n *node, known *Token) error {
			if got := n.judge(known); got != Open {
				return errors.New(names[got])
			}
			return nil
		},
		"receipts":      func(n *node, known *Token) error { _, err := n.Of(context.Background(), known.Purchase); return err },
		"waiting pages": func(n *node, _ *Token) error { _, err := n.OfSession(context.Background(), "cs_1"); return err },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *node, known *Token) {
				n.sell("of cs_1", "phone")
				release := n.ledger.holdReads()
				var all sync.WaitGroup
				for range 64 {
					all.Go(func() {
						if err := ask(n, known); err != nil {
							t.Error(err)
						}
					})
				}
				synctest.Wait()
				release()
				all.Wait()
				n.wantReads("64 at once", 1)
			})
		})
	}
}

func TestAtMostEightReadingsRunAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newBubbleNode(t)
		known := make([]*Token, 1000)
		for i := range known {
			known[i] = n.verify(n.sell(strconv.Itoa(i), "phone"))
			n.judge(known[i])
		}
		n.wantReads("before", 1000)
		n.ledger.all.Store(true)
		n.mustPoll()
		n.ledger.most.Store(0)
		release := n.ledger.holdReads()
		var all sync.WaitGroup
		for _, each := range known {
			all.Go(func() { n.wantDecision("after everything was dropped", each, Open) })
		}
		synctest.Wait()
		if got := n.ledger.running.Load(); got != maxReads {
			t.Errorf("%d readings run, want %d", got, maxReads)
		}
		release()
		all.Wait()
		n.wantReads("after everything was dropped", 1000)
		if got := n.ledger.most.Load(); got > maxReads {
			t.Errorf("%d readings ran at a time, at most %d should", got, maxReads)
		}
	})
}

func TestNobodyWaitsLongForTheLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newBubbleNode(t)
		known := make([]*Token, 2*maxReads)
		for i := range known {
			known[i] = n.verify(n.sell(strconv.Itoa(i), "phone"))
		}
		release := n.ledger.holdReads()
		var all sync.WaitGroup
		began := n.now()
		for _, each := range known {
			all.Go(func() { n.wantDecision("a known buyer", each, Open) })
		}
		all.Wait()
		if waited := n.now().Sub(began); waited != readTimeout {
			t.Errorf("waited %v, want %v", waited, readTimeout)
		}
		if len(n.errs) != len(known) {
			t.Errorf("%d errors are reported, want %d", len(n.errs), len(known))
		}
		if _, err := n.Of(t.Context(), "of nobody who waits"); !errors.Is(err, ledger.ErrUnavailable) || errors.Is(err, ledger.ErrNotFound) {
			t.Errorf("a receipt: %v, want %v", err, ledger.ErrUnavailable)
		}
		synctest.Wait()
		n.ledger.reads.Store(0)
		release()
		synctest.Wait()
		n.wantReads("who has given up", 0)
	})
}

func TestAReadingOutlivesWhoBeganIt(t *testing.T) {
	inBubble(t, func(t *testing.T, n *node, known *Token) {
		release := n.ledger.holdReads()
		ctx, hangUp := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { n.Judge(ctx, known, n.now(), bounds) })
		synctest.Wait()
		all.Go(func() { n.wantDecision("who waits with them", known, Open) })
		synctest.Wait()
		hangUp()
		synctest.Wait()
		release()
		all.Wait()
		n.wantReads("both", 1)
	})
}

// A change that arrives while a reading is under way may not be in what it finds.
func TestAStaleReadingIsNotKept(t *testing.T) {
	for name, drop := range map[string]func(n *node){
		"dropped here":       func(n *node) { n.Drop([]string{"1"}) },
		"told by the feed":   func(n *node) { n.ledger.tell("1"); n.mustPoll() },
		"everything dropped": func(n *node) { n.ledger.all.Store(true); n.mustPoll() },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *node, known *Token) {
				release := n.ledger.holdReads()
				var slow sync.WaitGroup
				slow.Go(func() { n.wantDecision("who asked before the refund", known, Open) })
				synctest.Wait()
				n.ledger.edit("1", func(h *ledger.Holding) { h.Status = ledger.Refunded })
				drop(n)
				release()
				slow.Wait()
				n.ledger.letReads()
				n.wantDecision("who asks after it", known, Closed)
				n.wantReads("both", 2)
			})
		})
	}
}

func TestWhoAsksAfterAChangeDoesNotWaitForAReadingFromBeforeIt(t *testing.T) {
	inBubble(t, func(t *testing.T, n *node, known *Token) {
		release := n.ledger.holdReads()
		var slow sync.WaitGroup
		slow.Go(func() { n.judge(known) })
		synctest.Wait()
		n.ledger.letReads()
		n.ledger.edit("1", func(h *ledger.Holding) { h.Status = ledger.Refunded })
		n.Drop([]string{"1"})
		n.wantDecision("who asks after the refund", known, Closed)
		release() // what the slow reading finds does not replace what is newer
		slow.Wait()
		n.wantDecision("after the slow reading", known, Closed)
		n.wantReads("all", 2)
		n.ledger.failPolls(errDown)
		n.pass(bounds.Recheck + time.Second)
		n.wantDecision("the feed fails", known, Closed)
	})
}

// The feed does not tell of a device that another node has added.
func TestANewDeviceDoesNotShareAReadingThatBeganBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newBubbleNode(t)
		phone := n.verify(n.sell("1", "phone"))
		release := n.ledger.holdReads()
		var slow sync.WaitGroup
		slow.Go(func() { n.wantDecision("the phone", phone, Open) })
		synctest.Wait()
		n.ledger.letReads()
		tablet := n.verify(n.sell("1", "tablet"))
		slow.Go(func() { n.wantDecision("the tablet", tablet, Open) })
		synctest.Wait()
		release()
		slow.Wait()
	})
}

// One slow reading that is overtaken by a good one must not shut a buyer out after the grace.
func TestAnOvertakenFailureIsForgotten(t *testing.T) {
	inBubble(t, func(t *testing.T, n *node, known *Token) {
		release := n.ledger.holdReads()
		var all sync.WaitGroup
		all.Go(func() { n.wantDecision("the slow one", known, Open) })
		time.Sleep(time.Second)
		n.ledger.letReads()
		n.ledger.set("1", ledger.Active) // anything about the purchase changes
		n.mustPoll()
		n.wantDecision("the fast one", known, Open)
		all.Wait() // the slow one gives up after 2 s
		release()
		n.pass(11 * time.Minute)
		n.wantDecision("eleven minutes later, with a healthy ledger", known, Open)
	})
}
