package paywall

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/caddy-axra/paywall/ledger"
)

// grants reads the ledger for visitors: once for all who ask about the same session at
// the same time, whether they come back from the checkout, wait for the payment or show a
// token. It belongs to one configuration, since a reload may bring another storage.
type grants struct {
	ledger  *ledger.Ledger
	heard   *heard
	failing *trouble
	flights singleflight.Group
}

// reading is what the ledger said about a session.
type reading struct {
	grant    ledger.Grant
	number   int64     // in the order in which readings began; a clock may go back
	asked    time.Time // when it began
	outcomes int64     // heard.outcomes at that time
}

// of returns what Ledger.Grant says about the session. Who asks ends with their own
// context; the reading goes on for the others.
func (g *grants) of(ctx context.Context, session string) (ledger.Grant, error) {
	select {
	case landed := <-g.ask(session):
		said, _ := landed.Val.(reading)
		return said.grant, landed.Err
	case <-ctx.Done():
		return ledger.Grant{}, fmt.Errorf("waiting for the ledger: %w", ctx.Err())
	}
}

// ask joins the reading that is under way, unless this node has heard more about the
// session since it began. The result is a reading, also with an error.
func (g *grants) ask(session string) <-chan singleflight.Result {
	return g.flights.DoChan(session+g.heard.edition(session), func() (any, error) {
		said := reading{number: g.heard.readings.Add(1), asked: now(), outcomes: g.heard.outcomes.Load()}
		var err error
		said.grant, err = safely(func() (ledger.Grant, error) { return g.ledger.Grant(context.Background(), session) })
		if err == nil || errors.Is(err, ledger.ErrNotPaid) {
			g.failing.end()
		}
		return said, err
	})
}

// safely makes an error of a panic, for which singleflight would end the process.
func safely(read func() (ledger.Grant, error)) (grant ledger.Grant, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("reading the ledger panicked: %v", p)
		}
	}()
	return read()
}

// heard counts what this node has heard from Axra and from its operator. It outlives a
// reload: what the last webhook of the old configuration stored is read by the new one.
type heard struct {
	// outcomes counts news of the ledger: refunds, disputes, extensions, decisions. What
	// was found out before one came is found out anew.
	outcomes atomic.Int64
	// news are the outcomes at the last of each shard.
	news [ledger.Shards]atomic.Int64
	// payments are counted apart by a hash of the session, so that those of others do
	// not part who wait for the same.
	payments [64]atomic.Int64
	readings atomic.Int64 // that have begun
}

// outcome notes that this node has stored news. What is read from now on has them.
func (h *heard) outcome(shards ...ledger.Shard) {
	count := h.outcomes.Add(1)
	for _, shard := range shards {
		for last := h.news[shard].Load(); last < count && !h.news[shard].CompareAndSwap(last, count); {
			last = h.news[shard].Load()
		}
	}
}

// more reports whether this node has heard something that may concern a token, since the
// ledger last answered.
func (h *heard) more(v *verified) bool {
	known := int64(0) // where the ledger has never answered
	if said := v.standing.Load(); said != nil {
		if known = said.outcomes; !said.untroubled {
			return known != h.outcomes.Load() // it may hang on other sessions
		}
	}
	return known < h.news[v.shards[0]].Load() || known < h.news[v.shards[1]].Load()
}

var heardSeed = maphash.MakeSeed()

func (h *heard) paymentsOf(session string) *atomic.Int64 {
	return &h.payments[maphash.String(heardSeed, session)%uint64(len(h.payments))]
}

// payment notes that a payment of the session was stored, or part of it.
func (h *heard) payment(session string) { h.paymentsOf(session).Add(1) }

// edition changes whenever more is heard about a session.
func (h *heard) edition(session string) string {
	edition := make([]byte, 0, 48)
	edition = strconv.AppendInt(append(edition, '#'), h.paymentsOf(session).Load(), 10)
	return string(strconv.AppendInt(append(edition, '.'), h.outcomes.Load(), 10))
}
