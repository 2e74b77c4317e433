package ledger

import (
	"errors"
	"sync"
	"time"
)

// health says whether the database can be trusted and written.
type health struct {
	mu        sync.Mutex
	polled    time.Time // start of the last poll that succeeded
	faulty    error     // the last poll or check failed: nothing is written, "not found" is not believed
	unwritten error     // the last write failed
	probing   bool      // a probe is under way
	wentBack  Position  // to which the feed went back last

	use, writing notice
}

func newHealth() health {
	return health{
		use: notice{
			began: "the ledger cannot be used: nothing is sold until it is right again",
			ended: "the ledger can be used again",
		},
		writing: notice{
			began: "the ledger cannot be written: nothing is sold until it can",
			ended: "the ledger can be written again",
		},
	}
}

func (h *health) fault() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.faulty
}

// fail notes that a poll or a check failed.
func (h *health) fail(o Options, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faulty = err
	state := inTrouble
	if errors.Is(err, ErrForeign) {
		state = isForeign
	}
	h.use.tell(o, state, err)
}

// noteStepBack notes where the feed went back to. access repeats a poll until its result is applied, so one step back is
// seen several times.
func (h *health) noteStepBack(p Position) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	isNew := p != h.wentBack
	h.wentBack = p
	return isNew
}

// clear notes that the database is right.
func (h *health) clear(o Options) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faulty = nil
	h.use.tell(o, noTrouble, nil)
}

// succeed notes a poll that began at start.
func (h *health) succeed(o Options, start time.Time) {
	h.clear(o)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.polled = start
	if h.unwritten == nil {
		h.writing.tell(o, noTrouble, nil)
	}
}

// wrote notes the outcome of a transaction.
func (h *health) wrote(o Options, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unwritten = err
	state := noTrouble
	if err != nil {
		state = inTrouble
	}
	h.writing.tell(o, state, err)
}

// startProbe reports whether a write has failed and no probe is under way.
func (h *health) startProbe() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.unwritten == nil || h.probing {
		return false
	}
	h.probing = true
	return true
}

func (h *health) endProbe() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probing = false
}

// PolledAt is the start of the last successful Poll. Everything that was remembered is as fresh as that.
func (l *Ledger) PolledAt() time.Time {
	l.health.mu.Lock()
	defer l.health.mu.Unlock()
	return l.health.polled
}

// Err is nil, or why nothing may be sold: the database is not open, the last poll failed, or the last write.
func (l *Ledger) Err() error {
	if _, err := l.database(); err != nil {
		return err
	}
	l.health.mu.Lock()
	defer l.health.mu.Unlock()
	if l.health.faulty != nil {
		return l.health.faulty
	}
	return l.health.unwritten
}
