package ledger

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/caddy-axra/paywall/terms"
)

// health knows whether the database can be trusted and written.
type health struct {
	now     func() time.Time
	log     func(message string, err error)
	probing sync.Mutex // held during a probe

	mu     sync.Mutex
	known  condition
	said   string // the kind of trouble that was logged last; empty: none
	saidAt map[string]time.Time
}

// condition is what is known about a database.
type condition struct {
	faulty    error // the last poll or check failed: nothing is written, "not found" is not believed
	unwritten error // the last write failed
}

// noticeEvery is how often each kind of trouble, or its end, is logged at most: a database may come and go every second.
const noticeEvery = time.Minute

func (h *health) get() condition {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.known
}

// checked notes the outcome of a check, or why a poll failed.
func (h *health) checked(err error) { h.note(func(c *condition) { c.faulty = err }) }

// wrote notes the outcome of a transaction.
func (h *health) wrote(err error) { h.note(func(c *condition) { c.unwritten = err }) }

// note changes what is known, and logs a new kind of trouble or its end. What could not be logged within a minute is
// logged later if it persists, so the last line always describes the present.
func (h *health) note(change func(*condition)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(&h.known)
	err := cmp.Or(h.known.faulty, h.known.unwritten)
	kind := ""
	switch {
	case errors.Is(err, ErrForeign), err != nil && h.said == "foreign":
		kind = "foreign"
	case err != nil:
		kind = "trouble"
	}
	now := h.now()
	if last, isKnown := h.saidAt[kind]; kind == h.said || isKnown && now.Sub(last) < noticeEvery {
		return
	}
	h.said, h.saidAt[kind] = kind, now
	if err == nil {
		h.log("the ledger can be used again", nil)
	} else {
		h.log("the ledger cannot be used: nothing is sold until it recovers", err)
	}
}

// Err is why nothing may be sold: the database is not open, or the last poll or write failed.
func (l *Ledger) Err() error {
	_, err := l.writable()
	return cmp.Or(err, l.health.get().unwritten)
}

var errTrial = errors.New("only a trial")

// probe tries to store a payment after a write has failed, so that Err recovers. Other writes prove nothing: a ledger
// may be writable in part.
func (l *Ledger) probe() {
	if l.health.get().unwritten == nil || !l.health.probing.TryLock() {
		return
	}
	go func() {
		defer l.health.probing.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), busyTimeout)
		defer cancel()
		commit := func(t *tx) { t.exec(`UPDATE feed SET seq = seq`) }
		if errors.Is(l.transact(ctx, l.storeTrial), errTrial) && l.transact(ctx, commit) == nil {
			l.health.wrote(nil)
		}
	}()
}

// storeTrial stores what a sale stores, and rolls it back. The writer notes what fails.
func (l *Ledger) storeTrial(t *tx) {
	id := randomHex(16)
	p := Payment{
		SessionID: "trial_" + id, PaymentIDs: []string{id}, Source: FromOperator, PaidAt: l.options.Now(),
		Terms: terms.Terms{Installation: "trial", Site: "trial", Pass: "trial", Resource: terms.AllPaths, Access: terms.Forever},
	}
	recorded := l.recordPayment(t, p)
	t.fail(l.addDevice(t, recorded.Purchase.ID, Device{ID: id}))
	l.recordEvent(t, Event{Kind: EventRefunded, PaymentIDs: p.PaymentIDs, OccurredAt: p.PaidAt})
	t.fail(errTrial)
}
