// Package events hands events to Caddy's events app.
package events

import (
	"context"
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
// synchronously, and one that hangs or panics must not delay the response to a webhook.
type Queue struct {
	app     *caddyevents.App
	ctx     caddy.Context
	logger  *zap.Logger
	limit   *loglimit.Limiter
	started chan struct{} // closed once all apps have started; before, handlers may not be subscribed

	mu     sync.Mutex
	last   chan struct{} // closed when the last event in the queue has been emitted
	length int
}

// New loads the events app, which Caddy's TLS app loads in any case.
func New(ctx caddy.Context, limit *loglimit.Limiter) (*Queue, error) {
	module, err := ctx.App("events")
	if err != nil {
		return nil, err
	}
	q := newQueue(ctx, module.(*caddyevents.App), ctx.Logger(), limit) //nolint:forcetypeassert // Caddy's own app
	return q, q.app.On("started", q)
}

func newQueue(ctx caddy.Context, app *caddyevents.App, logger *zap.Logger, limit *loglimit.Limiter) *Queue {
	ctx.Context = context.WithoutCancel(ctx.Context) // events of the last webhook are emitted after a reload
	started := make(chan struct{})
	return &Queue{app: app, ctx: ctx, logger: logger, limit: limit, started: started, last: started}
}

// Handle is called by Caddy once all apps have started, and so all handlers are subscribed.
func (q *Queue) Handle(context.Context, caddy.Event) error {
	close(q.started)
	return nil
}

// Publish queues an event and returns at once.
func (q *Queue) Publish(name string, data map[string]any) {
	select {
	case <-q.started:
		if !q.app.ShouldEmit(name) {
			return // no handler is subscribed, as on most sites
		}
	default:
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.length >= maxQueued {
		q.limit.Error(q.logger, "event handlers are too slow; events are dropped")
		return
	}
	before, done := q.last, make(chan struct{})
	q.last = done
	q.length++
	go func() {
		defer close(done)
		<-before
		q.emit(name, data)
		q.mu.Lock()
		defer q.mu.Unlock()
		q.length--
	}()
}

func (q *Queue) emit(name string, data map[string]any) {
	defer func() {
		if p := recover(); p != nil {
			q.logger.Error("an event handler panicked", zap.String("event", name), zap.Any("panic", p))
		}
	}()
	q.app.Emit(q.ctx, name, data)
}

// Flush waits until all queued events are emitted, for flushTimeout at most.
func (q *Queue) Flush() {
	q.mu.Lock()
	last, length := q.last, q.length
	q.mu.Unlock()
	if length == 0 {
		return
	}
	select {
	case <-last:
	case <-time.After(flushTimeout):
		q.logger.Error("event handlers did not end in time", zap.Int("events", length))
	}
}

// Interface guards
var _ caddyevents.Handler = (*Queue)(nil)
