package ledger

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-axra/paywall/terms"
)

// health knows whether the database can be trusted and written.
type health struct {
	options *Options
	probing atomic.Bool // a probe is under way

	mu        sync.Mutex
	polled    time.Time // start of the last poll that succeeded
	faulty    error     // the last poll or check failed: nothing is written, "not found" is not believed
	unwritten error     // the last write failed
	wentBack  Position  // to which the feed went back last

	use, writing notice
}

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
func (h *health) checked(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faulty = err
	h.use.tell(h.options, err)
}

// polledSince notes a poll that began at start and succeeded.
func (h *health) polledSince(start time.Time) {
	h.checked(nil)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.polled = start
	if h.unwritten == nil {
		h.writing.tell(h.options, nil) // what could not be said within a minute
	}
}

// wrote notes the outcome of a transaction.
func (h *health) wrote(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unwritten = err
	h.writing.tell(h.options, err)
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

// noticeEvery is how often a message is logged at most: a database may come and go every second.
const noticeEvery = time.Minute

// notice logs trouble and its end, each at most once a minute. A state that was not logged in time is logged later if it
// persists, so the last line always describes the present.
type notice struct {
	began, ended string // messages
	said         string // the kind of trouble that was logged last; empty: none
	at           map[string]time.Time
}

func (n *notice) tell(o *Options, err error) {
	kind := ""
	switch {
	case errors.Is(err, ErrForeign):
		kind = "foreign"
	case err != nil && n.said == "foreign":
		return
	case err != nil:
		kind = "trouble"
	}
	now := o.Now()
	if last, isKnown := n.at[kind]; kind == n.said || isKnown && now.Sub(last) < noticeEvery {
		return
	}
	if n.at == nil {
		n.at = make(map[string]time.Time)
	}
	n.said, n.at[kind] = kind, now
	if err == nil {
		o.Logger.Info(n.ended, "database", o.location())
		return
	}
	o.Logger.Error(n.began, "database", o.location(), "error", err)
}

// PolledAt is the start of the last successful Poll: the freshness of everything that a node remembers.
func (l *Ledger) PolledAt() time.Time {
	l.health.mu.Lock()
	defer l.health.mu.Unlock()
	return l.health.polled
}

// Err is why nothing may be sold: the database is not open, or the last poll or write failed.
func (l *Ledger) Err() error {
	if _, err := l.writable(); err != nil {
		return err
	}
	return l.health.lastWrite()
}

// probeTimeout bounds how long a trial waits in the queue.
const probeTimeout = 2 * time.Second

var errTrial = errors.New("only a trial")

// probe tries to store a payment after a write has failed, so that Err recovers. Other writes prove nothing: a ledger
// may be writable in part.
func (l *Ledger) probe() {
	if l.health.lastWrite() == nil || !l.health.probing.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer l.health.probing.Store(false)
		ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
		defer cancel()
		if err := l.queueUp(ctx, l.storeTrial); !errors.Is(err, errTrial) {
			return // noted by the writer
		}
		if l.queueUp(ctx, func(t *tx) { t.exec(`UPDATE feed SET seq = seq`) }) == nil {
			l.health.wrote(nil)
		}
	}()
}

func (l *Ledger) storeTrial(t *tx) {
	id := randomHex(16)
	p := Payment{
		SessionID: "trial_" + id, PaymentIDs: []string{id}, Source: FromOperator, PaidAt: l.options.Now(),
		Terms: terms.Terms{Installation: "trial", Site: "trial", Pass: "trial", Resource: terms.WholePass, Access: terms.Forever},
	}
	recorded := l.recordPayment(t, p)
	t.fail(l.addDevice(t, recorded.Purchase.ID, Device{ID: id}))
	l.recordEvent(t, Event{Kind: EventRefunded, PaymentIDs: p.PaymentIDs, OccurredAt: p.PaidAt})
	t.fail(errTrial)
}
