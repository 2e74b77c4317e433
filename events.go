package paywall

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/webhook"
)

// Events of Caddy's events app. They tell of what is stored already, and decide nothing.
const (
	eventPaid     = "axra.paid"
	eventRefunded = "axra.refunded"
	eventDisputed = "axra.disputed"
	eventRejected = "axra.rejected"
)

// Reasons of eventRejected.
const (
	rejectedRevoked   = "revoked"   // it extends what the operator has revoked
	rejectedAmount    = "amount"    // too little, another currency, or no amount
	rejectedMetadata  = "metadata"  // which cannot be read
	rejectedSignature = "signature" // which does not fit
	rejectedUnsigned  = "unsigned"  // the signature's header is missing
)

const (
	maxAnnouncements = 256             // that wait to be handled
	flushTimeout     = 2 * time.Second // for which the end of a configuration waits for them
)

// announcer emits events in their order, apart from the requests that cause them:
// Caddy runs event handlers synchronously, and one that hangs or panics must not
// keep a webhook from its answer. Its goroutine lasts only while there are events.
type announcer struct {
	events *caddyevents.App
	ctx    caddy.Context
	logger *zap.Logger
	full   func() // complains

	mu      sync.Mutex
	started bool // all apps have; before, not all handlers are subscribed
	queue   []announcement
	done    chan struct{} // closed when the goroutine ends; nil where there is none
}

type announcement struct {
	name string
	data map[string]any
}

// provisionEvents takes the events app, which Caddy's TLS app loads in any case.
func (a *App) provisionEvents(ctx caddy.Context) error {
	module, err := ctx.App("events")
	if err != nil {
		return fmt.Errorf("axra: %w", err)
	}
	events, ok := module.(*caddyevents.App)
	if !ok {
		return fmt.Errorf("axra: app events is a %T", module)
	}
	a.announcer = &announcer{events: events, ctx: ctx, logger: a.logger, full: func() {
		a.complain(a.logger, "event handlers are too slow; events are dropped")
	}}
	// What the last webhook of an old configuration stored is told of all the same.
	a.announcer.ctx.Context = context.WithoutCancel(ctx.Context)
	// Apps start in any order, so handlers are known to be subscribed only afterwards.
	return events.On("started", a.announcer)
}

// Handle is told by Caddy that all apps have started.
func (q *announcer) Handle(context.Context, caddy.Event) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.start()
	return nil
}

// start lets events be handled. It is called with the lock.
func (q *announcer) start() {
	q.started = true
	if q.done == nil && len(q.queue) > 0 {
		q.done = make(chan struct{})
		go q.run()
	}
}

// emit queues an event and returns at once.
func (q *announcer) emit(name string, data map[string]any) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.started && !q.events.ShouldEmit(name) {
		return // nobody listens, as on most sites
	}
	if len(q.queue) >= maxAnnouncements {
		q.full()
		return
	}
	q.queue = append(q.queue, announcement{name, data})
	if q.started {
		q.start()
	}
}

func (q *announcer) run() {
	for next, ok := q.next(); ok; next, ok = q.next() {
		q.announce(next)
	}
}

func (q *announcer) next() (announcement, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) == 0 {
		close(q.done)
		q.done = nil
		return announcement{}, false
	}
	first := q.queue[0]
	q.queue = q.queue[1:]
	return first, true
}

func (q *announcer) announce(a announcement) {
	defer func() {
		if p := recover(); p != nil {
			q.logger.Error("an event handler panicked", zap.String("event", a.name), zap.Any("panic", p))
		}
	}()
	q.events.Emit(q.ctx, a.name, a.data)
}

// flush waits for what is queued, for flushTimeout at most: a handler that hangs must
// not hold up a reload.
func (q *announcer) flush() {
	if q == nil {
		return
	}
	q.mu.Lock()
	q.start()
	done := q.done
	q.mu.Unlock()
	if done == nil {
		return
	}
	select {
	case <-done:
	case <-time.After(flushTimeout):
		q.mu.Lock()
		defer q.mu.Unlock()
		q.logger.Error("event handlers did not end in time; the events left are dropped", zap.Int("events", len(q.queue)))
		q.queue = nil
	}
}

// announcedID is Axra's id of a session or a payment. It is whole for event handlers,
// in placeholders for one, and short in JSON, since Caddy logs the data of events.
type announcedID string

// String is the id.
func (id announcedID) String() string { return string(id) }

// MarshalJSON is the id as it may be logged.
func (id announcedID) MarshalJSON() ([]byte, error) { return json.Marshal(webhook.ShortID(string(id))) }

// announced is what an event says. All keys are always there, so that no placeholder
// stays unreplaced. The ids are no plain strings: a handler written in Go that asserts
// `.(string)` gets nothing; it calls String, by way of fmt.Stringer.
func announced(about ledger.Payment) map[string]any {
	purchaseID := ""
	if about.SessionID != "" {
		purchaseID = ledger.PurchaseID(about.SessionID)
	}
	data := map[string]any{
		"purchase": purchaseID, "session": announcedID(about.SessionID), "payment": announcedID(firstOf(about.PaymentIDs)),
		"pass": about.Terms.Pass, "resource": about.Terms.Resource, "site": about.Terms.Site,
		"amount": "", "currency": about.Paid.Currency, "until": "", "outcome": "", "reason": "",
	}
	if about.Paid.Currency != "" {
		data["amount"] = about.Paid.Digits()
	}
	return data
}

// announcePaid counts and announces a payment that has been stored. Its refund may have
// come first.
func (a *App) announcePaid(purchase ledger.Purchase, payment ledger.Payment) {
	countPaid(payment)
	switch purchase.Status {
	case ledger.Refunded:
		countOutcome(ledger.EventRefunded, payment)
	case ledger.Disputed:
		countOutcome(ledger.EventDisputed, payment)
	}
	data := announced(payment)
	data["purchase"] = purchase.ID // which it may extend
	if !purchase.EndsAt.IsZero() {
		data["until"] = purchase.EndsAt.UTC().Format(time.RFC3339)
	}
	a.announcer.emit(eventPaid, data)
}

// announceEvent counts and announces a refund or a step of a dispute that has been
// stored. What was sold may not be known yet.
func (a *App) announceEvent(kind ledger.EventKind, event webhook.Event, recorded ledger.Recorded) {
	about := recorded.Payment
	if about.SessionID == "" {
		about = ledger.Payment{SessionID: event.Session}
	} else {
		countOutcome(kind, about)
	}
	if len(event.PaymentIDs) > 0 {
		about.PaymentIDs = event.PaymentIDs
	}
	data := announced(about)
	if recorded.Purchase.ID != "" {
		data["purchase"] = recorded.Purchase.ID
	}
	if outcome, ok := disputeOutcomes[kind]; ok {
		data["outcome"] = outcome
		a.announcer.emit(eventDisputed, data)
		return
	}
	a.announcer.emit(eventRefunded, data)
}

// announceRejected tells of money that opens nothing, or of a webhook that was refused.
func (a *App) announceRejected(about ledger.Payment, reason string) {
	data := announced(about)
	data["reason"] = reason
	a.announcer.emit(eventRejected, data)
}

// Interface guards
var _ caddyevents.Handler = (*announcer)(nil)
