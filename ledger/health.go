package ledger

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/caddy-axra/paywall/terms"
)

// health knows whether the database can be trusted and written.
type health struct {
	now     func() time.Time
	logger  *slog.Logger
	probing sync.Mutex // held during a probe

	mu        sync.Mutex
	polled    time.Time // start of the last poll that succeeded
	faulty    error     // the last poll or check failed: nothing is written, "not found" is not believed
	unwritten error     // the last write failed
	wentBack  Position  // to which the feed went back last
	said      state     // that was logged last
	saidAt    [3]time.Time
}

// state is what is logged about the ledger.
type state int

const (
	usable state = iota
	inTrouble
	isForeign
)

// noticeEvery is how often each state is logged at most: a database may come and go every second.
const noticeEvery = time.Minute

func (h *health) fault() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.faulty
}

func (h *health) lastWrite() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.unwritten
}

// checked notes the outcome of a check, or why a poll failed.
func (h *health) checked(err error) { h.note(func() { h.faulty = err }) }

// wrote notes the outcome of a transaction.
func (h *health) wrote(err error) { h.note(func() { h.unwritten = err }) }

// polledSince notes a poll that began at start and succeeded.
func (h *health) polledSince(start time.Time) { h.note(func() { h.faulty, h.polled = nil, start }) }

// note changes what is known, and logs a new state. One that could not be logged within a minute is logged later if it
// persists, so the last line always describes the present.
func (h *health) note(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
	err, now, is := cmp.Or(h.faulty, h.unwritten), h.now(), usable
	switch {
	case errors.Is(err, ErrForeign), err != nil && h.said == isForeign:
		is = isForeign
	case err != nil:
		is = inTrouble
	}
	if is == h.said || !h.saidAt[is].IsZero() && now.Sub(h.saidAt[is]) < noticeEvery {
		return
	}
	h.said, h.saidAt[is] = is, now
	if err == nil {
		h.logger.Info("the ledger can be used again")
	} else {
		h.logger.Error("the ledger cannot be used: nothing is sold until it recovers", "error", err)
	}
}

// noteStepBack notes where the feed went back to. A poll is repeated until its result is applied, so one step back is
// seen several times.
func (h *health) noteStepBack(p Position) (isNew bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	isNew = p != h.wentBack
	h.wentBack = p
	return isNew
}

// PolledAt is the start of the last successful Poll: the freshness of everything that a node remembers.
func (l *Ledger) PolledAt() time.Time {
	l.health.mu.Lock()
	defer l.health.mu.Unlock()
	return l.health.polled
}

// Err is why nothing may be sold: the database is not open, or the last poll or write failed.
func (l *Ledger) Err() error {
	_, err := l.writable()
	return cmp.Or(err, l.health.lastWrite())
}

// probeTimeout bounds how long a trial waits in the queue.
const probeTimeout = 2 * time.Second

var errTrial = errors.New("only a trial")

// probe tries to store a payment after a write has failed, so that Err recovers. Other writes prove nothing: a ledger
// may be writable in part.
func (l *Ledger) probe() {
	if l.health.lastWrite() == nil || !l.health.probing.TryLock() {
		return
	}
	go func() {
		defer l.health.probing.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
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
		Terms: terms.Terms{Resource: terms.WholePass, Access: terms.Forever},
	}
	recorded := l.recordPayment(t, p)
	t.fail(l.addDevice(t, recorded.Purchase.ID, Device{ID: id}))
	l.recordEvent(t, Event{Kind: EventRefunded, PaymentIDs: p.PaymentIDs, OccurredAt: p.PaidAt})
	t.fail(errTrial)
}
