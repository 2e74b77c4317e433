package access

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/ledger"
)

// step is something that happens to a node before its last request.
type step func(n *node, known *Token)

func request(n *node, known *Token) { n.judge(known) }
func feedFails(n *node, _ *Token)   { n.ledger.failPolls(errDown) }
func feedWorks(n *node, _ *Token)   { n.ledger.failPolls(nil); n.mustPoll() }
func keysFail(n *node, _ *Token)    { n.ledger.tell(""); n.keysErr = errDown }
func readsFail(n *node, _ *Token)   { n.ledger.failReads(errDown) }
func readsWork(n *node, _ *Token)   { n.ledger.failReads(nil) }
func changed(n *node, known *Token) { n.Drop([]string{known.Purchase}) }
func pass(d time.Duration) step     { return func(n *node, _ *Token) { n.pass(d) } }
func set(status ledger.Status) step {
	return func(n *node, known *Token) { n.ledger.set(known.Purchase, status); n.pass(time.Second) }
}
func refundedFar(n *node, known *Token) { n.ledger.set(known.Purchase, ledger.Refunded) }

func deviceRemoved(n *node, known *Token) {
	n.ledger.edit(known.Purchase, func(h *ledger.Holding) { h.DeviceIDs = []string{"another"} })
	n.Drop([]string{known.Purchase})
}

// lost deletes a purchase, as restoring an older backup does.
func lost(n *node, known *Token) {
	n.ledger.mu.Lock()
	delete(n.ledger.purchases, known.Purchase)
	n.ledger.mu.Unlock()
	n.Drop([]string{known.Purchase})
}

// endsIn changes the end of a purchase; its token says another one.
func endsIn(d time.Duration) step {
	return func(n *node, known *Token) {
		n.ledger.edit(known.Purchase, func(h *ledger.Holding) { h.EndsAt = n.now().Add(d) })
		n.Drop([]string{known.Purchase})
	}
}

const year = 365 * 24 * time.Hour

var (
	grace     = pass(bounds.Grace)
	pastGrace = pass(bounds.Grace + time.Second)
)

func TestDecisions(t *testing.T) {
	for _, test := range []struct {
		name  string
		steps []step
		want  Decision
	}{
		{"an active purchase", nil, Open},
		{"without expiry", []step{func(n *node, known *Token) {
			n.ledger.edit(known.Purchase, func(h *ledger.Holding) { h.EndsAt = time.Time{} })
		}}, Open},
		{"refunded", []step{set(ledger.Refunded)}, Closed},
		{"refunded after a request", []step{request, set(ledger.Refunded)}, Closed},
		{"in a dispute", []step{request, set(ledger.Disputed)}, Closed},
		{"revoked", []step{request, set(ledger.Revoked)}, Closed},
		{"revoked and restored", []step{request, set(ledger.Revoked), request, set(ledger.Active)}, Open},
		{"paid in another currency", []step{set(ledger.Mismatched)}, Closed},
		{"its device was removed", []step{request, deviceRemoved}, Closed},
		{"access has ended", []step{request, pass(time.Second), endsIn(0)}, None},
		{"access ends in a second", []step{request, endsIn(time.Second)}, Open},
		{"access ends while it is remembered", []step{endsIn(time.Second), request, pass(time.Second)}, None},
		{"the token has ended, its access was extended", []step{endsIn(2 * year), request, func(n *node, _ *Token) { n.advance(year); n.mustPoll() }}, None},

		{"the feed fails: never read", []step{feedFails, grace}, Open},
		{"the feed fails: never read, after grace", []step{feedFails, pastGrace}, Unknown},
		{"the feed fails: read before", []step{request, feedFails, grace}, Open},
		{"the feed fails: read before, after grace", []step{request, feedFails, pastGrace}, Unknown},
		{"the feed fails: known as closed", []step{request, set(ledger.Refunded), request, feedFails, grace}, Closed},
		{"the feed fails: known as closed, after grace", []step{request, set(ledger.Refunded), request, feedFails, pastGrace}, Closed},
		{"the feed fails: device removed before", []step{deviceRemoved, request, feedFails, pastGrace}, Closed},
		{"the feed fails: known to have changed", []step{request, feedFails, pass(bounds.Recheck + time.Second), changed}, Open},
		{"the feed fails: refunded elsewhere", []step{request, feedFails, refundedFar, grace}, Open},
		{"the feed works again: refunded elsewhere", []step{request, feedFails, refundedFar, pastGrace, feedWorks}, Closed},
		{"the feed works again", []step{request, feedFails, pastGrace, request, feedWorks}, Open},
		{"the feed fails: access has ended", []step{endsIn(time.Minute), request, feedFails, pass(time.Minute)}, None},
		{"the feed fails: access has ended, after grace", []step{endsIn(time.Minute), request, feedFails, pastGrace}, None},
		{"the feed fails: the token has ended", []step{request, feedFails, func(n *node, _ *Token) { n.advance(year) }}, None},
		{"the feed fails: never read, the token has ended", []step{feedFails, func(n *node, _ *Token) { n.advance(year) }}, None},

		{"the keys cannot be read", []step{request, keysFail, grace}, Open},
		{"the keys cannot be read, after grace", []step{request, keysFail, pastGrace}, Unknown},

		{"readings fail", []step{readsFail}, Open},
		{"readings fail, for grace", []step{readsFail, request, grace}, Open},
		{"readings fail, after grace", []step{readsFail, request, pastGrace}, Unknown},
		{"readings fail: read before", []step{request, readsFail, pastGrace}, Open},
		{"readings fail: changed, after grace", []step{request, readsFail, changed, request, pastGrace}, Unknown},
		{"readings fail: known as closed", []step{set(ledger.Refunded), request, readsFail, changed, request, pastGrace}, Closed},
		{"readings fail: access has ended", []step{endsIn(time.Minute), request, readsFail, changed, request, pastGrace}, None},
		{"readings work again", []step{readsFail, request, pastGrace, readsWork}, Open},
		{"readings fail again: grace starts anew", []step{readsFail, request, pastGrace, readsWork, request, readsFail, changed, request, grace}, Open},
		{"readings fail, then the feed too: the longer time counts", []step{
			readsFail, request, pass(bounds.Grace - time.Minute), request, feedFails, pass(2 * time.Minute),
		}, Unknown},

		{"lost data", []step{lost}, Open},
		{"lost data, for grace", []step{lost, request, grace}, Open},
		{"lost data, after grace", []step{lost, request, pastGrace}, Unknown},
		{"lost data: read before", []step{request, lost, request, grace}, Open},
		{"lost data: read before, after grace", []step{request, lost, request, pastGrace}, Unknown},
		{"lost data: known as closed", []step{set(ledger.Refunded), request, lost, request, pastGrace}, Closed},
	} {
		t.Run(test.name, func(t *testing.T) {
			n, known := newSeller(t)
			for _, step := range test.steps {
				step(n, known)
			}
			n.wantDecision("the last request", known, test.want)
		})
	}
}

func TestDecisionsAboutAPrivateAddress(t *testing.T) {
	for _, test := range []struct {
		name  string
		steps []step
		want  Decision
	}{
		{"an active purchase", nil, Open},
		{"it belongs to no device", []step{request, deviceRemoved}, Open},
		{"refunded", []step{request, set(ledger.Refunded)}, Closed},
		{"access has ended", []step{request, endsIn(0)}, None},
		{"the address has ended", []step{request, func(n *node, _ *Token) { n.advance(year); n.mustPoll() }}, None},
		{"readings fail: never read", []step{readsFail}, Unknown},
		{"readings fail: read before", []step{request, readsFail, changed}, Open},
		{"the feed fails: never read", []step{feedFails, pass(bounds.Recheck + time.Second)}, Unknown},
		{"the feed fails: read before", []step{request, feedFails, grace}, Open},
		{"the feed fails: read before, after grace", []step{request, feedFails, pastGrace}, Unknown},
		{"lost data", []step{lost}, Unknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNode(t)
			n.sell("1", "phone")
			known, err := n.verifyLink(n.linkOf("1", year), site)
			if err != nil {
				t.Fatal(err)
			}
			for _, step := range test.steps {
				step(n, known)
			}
			n.wantDecision("the last request", known, test.want)
		})
	}
}

func TestNothingIsKnownBeforeTheFirstPoll(t *testing.T) {
	n := newNode(t)
	raw := n.sell("1", "phone")
	n.Cache = New(Options{Ledger: n.ledger, Keys: n.keyring, Now: n.now, OnKeys: func(context.Context) error { return nil }})
	t.Cleanup(n.Close)
	n.wantDecision("before", n.verify(raw), Unknown)
	if n.IsFresh(bounds.Recheck) {
		t.Error("the feed is fresh before it was read")
	}
	n.mustPoll()
	n.wantDecision("after", n.verify(raw), Open)
}

func TestEachTokenHasItsOwnGrace(t *testing.T) {
	n := newNode(t)
	first, second := n.verify(n.sell("1", "phone")), n.verify(n.sell("2", "phone"))
	n.ledger.failReads(errDown)
	n.wantDecision("the first token", first, Open)
	n.pass(bounds.Grace / 2)
	n.wantDecision("the second token", second, Open)
	n.pass(bounds.Grace/2 + time.Second)
	n.wantDecision("the first token, after grace", first, Unknown)
	n.wantDecision("the second token, in grace", second, Open)
	n.pass(bounds.Grace / 2)
	n.wantDecision("the second token, after grace", second, Unknown)
}

func TestWhoHangsUpLeavesNoTrace(t *testing.T) {
	n, known := newSeller(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	release := n.ledger.holdReads()
	if got := n.Judge(ctx, known, n.now(), bounds); got != Unknown {
		t.Errorf("decision %s, want Unknown", names[got])
	}
	if since := known.failing.Load(); since != 0 {
		t.Error("the token counts as one that cannot be read")
	}
	release()
	if n.ledger.letReads(); len(n.errs) > 0 {
		t.Errorf("reported: %v", n.errs)
	}
	n.wantDecision("the next request", known, Open)
}

func TestErrorsAreReported(t *testing.T) {
	for _, test := range []struct {
		name string
		step step
		want error
	}{
		{"a reading fails", readsFail, ledger.ErrUnavailable},
		{"lost data is no purchase that was not found", lost, errLost},
	} {
		t.Run(test.name, func(t *testing.T) {
			n, known := newSeller(t)
			test.step(n, known)
			n.judge(known)
			if len(n.errs) != 1 || !errors.Is(n.errs[0], test.want) || errors.Is(n.errs[0], ledger.ErrNotFound) {
				t.Errorf("reported %v, want %v", n.errs, test.want)
			}
		})
	}
}

func TestATokenTellsWhatIsKnownOfItsPurchase(t *testing.T) {
	n, known := newSeller(t)
	opened := n.now().Add(24 * time.Hour)
	known.SetDownloadWindow(opened) // of a purchase that was not read
	if !known.End().Equal(known.Until) || known.DownloadLimit() != known.Downloads {
		t.Errorf("unread: end %v, %d downloads; the token says %v, %d", known.End(), known.DownloadLimit(), known.Until, known.Downloads)
	}
	end := n.now().Add(2 * year).UTC()
	n.ledger.edit("1", func(h *ledger.Holding) { h.EndsAt, h.DownloadLimit = end, 7 })
	n.judge(known)
	if !known.End().Equal(end) || known.DownloadLimit() != 7 {
		t.Errorf("read: end %v, %d downloads; want %v, 7", known.End(), known.DownloadLimit(), end)
	}
	known.SetDownloadWindow(opened)
	if !known.DownloadWindow().Equal(opened) || known.Status(n.now()) != ledger.Active {
		t.Errorf("window until %v, status %s", known.DownloadWindow(), known.Status(n.now()))
	}
	n.judge(known)
	n.wantReads("the window that was opened here", 1)
}
