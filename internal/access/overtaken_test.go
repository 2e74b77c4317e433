package access

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-axra/paywall/ledger"
)

// One slow reading that is overtaken by a good one must not shut a buyer out after the grace.
func TestAnOvertakenFailureIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newBubbleNode(t)
		known := n.verify(n.sell("1", "phone"))
		release := n.ledger.holdReads()
		var all sync.WaitGroup
		all.Go(func() { n.wantVerdict("the slow one", known, Open) })
		time.Sleep(time.Second)
		n.ledger.letReads()
		n.ledger.set("1", ledger.Active) // anything about the purchase changes
		n.mustPoll()
		n.wantVerdict("the fast one", known, Open)
		all.Wait() // the slow one gives up after 2 s
		release()
		n.pass(11 * time.Minute)
		n.wantVerdict("eleven minutes later, with a healthy ledger", known, Open)
	})
}
