// Package events hands events to Caddy's events app.
package events

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
	maxQueued    = 256
	flushTimeout = 2 * time.Second // a handler that hangs must not hold up a reload for longer
)

// Queue emits events in order, but not in the goroutine of the request that caused them: Caddy runs event handlers
// synchronously, and one that hangs or panics must not delay the response to a webhook. The queue's goroutine runs only
// while there are events.
type Queue struct {
	app    *caddyevents.App
	ctx    caddy.Context
	logger *zap.Logger
	limit  *loglimit.Limiter

	mu        sync.Mutex
	isStarted bool // all apps have started; before, handlers may not be subscribed
	queued    []event
	done      chan struct{} // closed when the goroutine ends; nil if there is none
}

type event struct {
	name string
	data map[string]any
}

// New loads the events app, which Caddy's TLS app loads in any case.
func New(ctx caddy.Context, limit *loglimit.Limiter) (*Queue, error) {
	module, err := ctx.App("events")
	if err != nil {
		return nil, err
	}
	app, ok := module.(*caddyevents.App)
	if !ok {
		return nil, fmt.Errorf("app events is a %T", module)
	}
	q := &Queue{app: app, ctx: ctx, logger: ctx.Logger(), limit: limit}
	q.ctx.Context = context.WithoutCancel(ctx.Context) // events of the last webhook are emitted after a reload
	return q, app.On("started", q)
}

// Handle is called by Caddy once all apps have started, and so all handlers are subscribed.
func (q *Queue) Handle(context.Context, caddy.Event) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.start()
	return nil
}

// start emits what is queued. The caller holds the lock.
func (q *Queue) start() {
	q.isStarted = true
	if q.done == nil && len(q.queued) > 0 {
		q.done = make(chan struct{})
		go q.run()
	}
}

// Publish queues an event and returns at once.
func (q *Queue) Publish(name string, data map[string]any) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.isStarted && !q.app.ShouldEmit(name) {
		return // no handler is subscribed, as on most sites
	}
	if len(q.queued) >= maxQueued {
		q.limit.Error(q.logger, "event handlers are too slow; events are dropped")
		return
	}
	q.queued = append(q.queued, event{name, data})
	if q.isStarted {
		q.start()
	}
}

func (q *Queue) run() {
	for e, ok := q.next(); ok; e, ok = q.next() {
		q.emit(e)
	}
}

func (q *Queue) next() (first event, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queued) == 0 {
		close(q.done)
		q.done = nil
		return event{}, false
	}
	first = q.queued[0]
	q.queued = q.queued[1:]
	return first, true
}

func (q *Queue) emit(e event) {
	defer func() {
		if p := recover(); p != nil {
			q.logger.Error("an event handler panicked", zap.String("event", e.name), zap.Any("panic", p))
		}
	}()
	q.app.Emit(q.ctx, e.name, e.data)
}

// Flush waits until all queued events are emitted, for flushTimeout at most.
func (q *Queue) Flush() {
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
var _ caddyevents.Handler = (*Queue)(nil)
