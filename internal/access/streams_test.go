package access

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/token"
)

func TestAStreamEndsOnceItsTokenOpensNoMore(t *testing.T) {
	for _, test := range []struct {
		name   string
		steps  []step
		within time.Duration // 0: it goes on
		link   time.Duration // > 0: a private address of this life
	}{
		{"nothing happens", []step{pass(time.Hour)}, 0, 0},
		{"refunded here", []step{func(n *node, _ *Token) {
			n.ledger.edit("1", func(h *ledger.Holding) { h.Status = ledger.Refunded })
			n.Drop([]string{"1"})
		}}, 2 * time.Second, 0},
		{"refunded on another node", []step{refundedFar}, 2 * time.Second, 0},
		{"everything may have changed, this is refunded", []step{func(n *node, _ *Token) {
			n.ledger.edit("1", func(h *ledger.Holding) { h.Status = ledger.Refunded })
			n.ledger.all.Store(true)
		}}, 2 * time.Second, 0},
		{"everything may have changed", []step{func(n *node, _ *Token) { n.ledger.all.Store(true) }, pass(time.Hour)}, 0, 0},
		{"its device is removed", []step{deviceRemoved}, 2 * time.Second, 0},
		{"another device is added", []step{func(n *node, _ *Token) { n.sell("1", "tablet"); n.Drop([]string{"1"}) }, pass(time.Hour)}, 0, 0},
		{"another purchase is refunded", []step{func(n *node, _ *Token) {
			n.sell("2", "phone")
			n.ledger.set("2", ledger.Refunded)
		}, pass(time.Hour)}, 0, 0},
		{"access ends", []step{endsIn(30 * time.Second), pass(29 * time.Second)}, 2 * time.Second, 0},
		{"access ends later", []step{endsIn(30 * time.Minute), pass(30*time.Minute - time.Second)}, 2 * time.Second, 0},
		{"access is extended", []step{endsIn(30 * time.Second), request, endsIn(time.Hour), pass(30 * time.Minute)}, 0, 0},
		{"its key is removed", []step{func(n *node, known *Token) {
			if err := n.anotherNode().Remove(context.Background(), n.store, known.Key, token.HS256); err != nil {
				n.t.Fatal(err)
			}
			n.ledger.tell("")
		}}, 2 * time.Second, 0},
		{"another key is added", []step{func(n *node, _ *Token) {
			if _, err := n.anotherNode().Rotate(context.Background(), n.store, token.HS256); err != nil {
				n.t.Fatal(err)
			}
			n.ledger.tell("")
		}, pass(time.Hour)}, 0, 0},
		{"the feed fails", []step{feedFails, grace}, 0, 0},
		{"the feed fails for longer than grace", []step{feedFails, grace}, 2 * time.Minute, 0},
		{"the feed works again and tells of a refund", []step{feedFails, refundedFar, pass(time.Minute), func(n *node, _ *Token) {
			n.ledger.failPolls(nil)
		}}, 2 * time.Second, 0},
		{"refunded, and read at the third try", []step{readsFail, refundedFar, pass(3 * time.Second), readsWork}, 2 * time.Second, 0},
		{"changed, and not to be read for longer than grace", []step{readsFail, changed, grace}, 3 * time.Second, 0},
		{"a private address ends", []step{pass(29 * time.Second)}, 2 * time.Second, 30 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newBubbleNode(t)
				known := n.verify(n.sell("1", "phone"))
				if test.link > 0 {
					known, _ = n.verifyLink(n.linkOf("1", test.link), site)
				}
				n.wantDecision("the request", known, Open)
				stream, release := n.Stream(t.Context(), known, bounds)
				defer release()
				synctest.Wait()
				for _, step := range test.steps {
					step(n, known)
					synctest.Wait()
				}
				if test.within == 0 {
					if stream.Err() != nil {
						t.Error("it has ended")
					}
					return
				}
				if test.within > time.Second && stream.Err() != nil {
					t.Error("it has ended too early")
				}
				n.pass(test.within)
				synctest.Wait()
				if stream.Err() == nil {
					t.Errorf("it goes on after %v", test.within)
				}
			})
		})
	}
}

func TestAStreamIsJudgedOnceMoreWhenItBegins(t *testing.T) {
	inBubble(t, func(t *testing.T, n *node, known *Token) {
		n.wantDecision("the request", known, Open)
		n.ledger.edit("1", func(h *ledger.Holding) { h.Status = ledger.Refunded })
		n.Drop([]string{"1"})
		stream, release := n.Stream(t.Context(), known, bounds)
		defer release()
		synctest.Wait()
		if stream.Err() == nil {
			t.Error("a refund between the request and its stream goes unheard")
		}
	})
}
