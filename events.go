package paywall

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/loglimit"
)

const (
	maxQueuedEvents = 256
	flushTimeout    = 2 * time.Second // a handler that hangs must not hold up a reload for longer
)

// eventQueue emits events in their order, apart from the requests that cause them: Caddy runs event handlers
// synchronously, and one that hangs or panics must not keep a webhook from its answer. Its goroutine runs only while
// there are events.
type eventQueue struct {
	app    *caddyevents.App
	ctx    caddy.Context
	logger *zap.Logger
	limit  *loglimit.Limiter

	mu        sync.Mutex
	isStarted bool // all apps have started; before, handlers may not be subscribed
	queued    []queuedEvent
	done      chan struct{} // closed when the goroutine ends; nil if there is none
}

type queuedEvent struct {
	name string
	data map[string]any
}

// newEventQueue loads the events app, which Caddy's TLS app loads in any case.
func newEventQueue(ctx caddy.Context, limit *loglimit.Limiter) (*eventQueue, error) {
	module, err := ctx.App("events")
	if err != nil {
		return nil, err
	}
	app, ok := module.(*caddyevents.App)
	if !ok {
		return nil, fmt.Errorf("app events is a %T", module)
	}
	q := &eventQueue{app: app, ctx: ctx, logger: ctx.Logger(), limit: limit}
	q.ctx.Context = context.WithoutCancel(ctx.Context) // events of the last webhook are emitted after a reload
	return q, app.On("started", q)
}

// Handle is called by Caddy once all apps have started, and so all handlers are subscribed.
func (q *eventQueue) Handle(context.Context, caddy.Event) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.start()
	return nil
}

// start emits what is queued. The caller holds the lock.
func (q *eventQueue) start() {
	q.isStarted = true
	if q.done == nil && len(q.queued) > 0 {
		q.done = make(chan struct{})
		go q.run()
	}
}

// publish queues an event and returns at once.
func (q *eventQueue) publish(name string, data map[string]any) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.isStarted && !q.app.ShouldEmit(name) {
		return // no handler is subscribed, as on most sites
	}
	if len(q.queued) >= maxQueuedEvents {
		q.limit.Error(q.logger, "event handlers are too slow; events are dropped")
		return
	}
	q.queued = append(q.queued, queuedEvent{name, data})
	if q.isStarted {
		q.start()
	}
}

func (q *eventQueue) run() {
	for event, ok := q.next(); ok; event, ok = q.next() {
		q.emit(event)
	}
}

func (q *eventQueue) next() (event queuedEvent, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queued) == 0 {
		close(q.done)
		q.done = nil
		return queuedEvent{}, false
	}
	event = q.queued[0]
	q.queued = q.queued[1:]
	return event, true
}

func (q *eventQueue) emit(event queuedEvent) {
	defer func() {
		if p := recover(); p != nil {
			q.logger.Error("an event handler panicked", zap.String("event", event.name), zap.Any("panic", p))
		}
	}()
	q.app.Emit(q.ctx, event.name, event.data)
}

// flush waits until all queued events are emitted, for flushTimeout at most.
func (q *eventQueue) flush() {
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
		q.logger.Error("event handlers did not end in time; the events left are dropped", zap.Int("events", len(q.queued)))
		q.queued = nil
	}
}

// Interface guards
var _ caddyevents.Handler = (*eventQueue)(nil)
