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

	logged map[string]time.Time // when each kind of error was logged last
	// Whether the fault was logged, and that the last write failed. Only then its end is.
	faultyLogged, unwrittenLogged bool
}

// logPause is how long a message is not logged again. A database may come and go every second.
const logPause = time.Minute

// logError logs an error unless one of its kind was logged within the last minute.
func (h *health) logError(o Options, kind, message string, args ...any) (logged bool) {
	now := o.Now()
	if last, ok := h.logged[kind]; ok && now.Sub(last) < logPause {
		return false
	}
	if h.logged == nil {
		h.logged = make(map[string]time.Time)
	}
	h.logged[kind] = now
	o.Logger.Error(message, append([]any{"database", o.location()}, args...)...)
	return true
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
	kind := "faulty"
	if errors.Is(err, ErrForeign) {
		kind = "foreign"
	}
	if h.logError(o, kind, "the ledger cannot be used: nothing is sold until it is right again", "error", err) {
		h.faultyLogged = true
	}
}

// clear notes that the database is right.
func (h *health) clear(o Options) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.faultyLogged {
		o.Logger.Info("the ledger can be used again", "database", o.location())
	}
	h.faulty, h.faultyLogged = nil, false
}

// succeed notes a poll that began at start.
func (h *health) succeed(o Options, start time.Time) {
	h.clear(o)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.polled = start
}

// wrote notes the outcome of a transaction.
func (h *health) wrote(o Options, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unwritten = err
	switch {
	case err != nil:
		if h.logError(o, "unwritten", "the ledger cannot be written: nothing is sold until it can", "error", err) {
			h.unwrittenLogged = true
		}
	case h.unwrittenLogged:
		o.Logger.Info("the ledger can be written again", "database", o.location())
		h.unwrittenLogged = false
	}
}

// wentBack notes that the feed is not where it was.
func (h *health) wentBack(o Options, was, is int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.logError(o, "back", "the ledger went back to an older state: everything that was remembered is dropped", "was", was, "is", is)
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
