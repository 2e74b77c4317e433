package events

import (
	"context"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-axra/paywall/internal/loglimit"
)

const name = "axra.paid"

// handler takes the number of each event.
type handler func(number string)

func (h handler) Handle(_ context.Context, e caddy.Event) error {
	h(e.Data["number"].(string))
	return nil
}

// newTestQueue returns a queue with one handler. All apps have started.
func newTestQueue(t *testing.T, handle handler) (*Queue, *observer.ObservedLogs) {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	app := new(caddyevents.App)
	if err := app.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	if err := app.On(name, handle); err != nil {
		t.Fatal(err)
	}
	if err := app.Start(); err != nil {
		t.Fatal(err)
	}
	core, logged := observer.New(zap.InfoLevel)
	return newQueue(ctx, app, zap.New(core), loglimit.New(time.Now)), logged
}

func (q *Queue) publishNumbers(count int) {
	for i := range count {
		q.Publish(name, map[string]any{"number": strconv.Itoa(i)})
	}
}

func TestEventsAreEmittedInOrderOnceAllAppsHaveStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		q, _ := newTestQueue(t, func(number string) {
			got = append(got, number)
			if number == "1" {
				panic("a bug in a handler")
			}
		})
		q.publishNumbers(3)
		synctest.Wait()
		if got != nil {
			t.Errorf("emitted %v before all handlers are subscribed", got)
		}
		if err := q.Handle(t.Context(), caddy.Event{}); err != nil {
			t.Fatal(err)
		}
		q.Publish("axra.refunded", nil) // to which nobody has subscribed
		q.Flush()
		if want := []string{"0", "1", "2"}; !slices.Equal(got, want) {
			t.Errorf("emitted %v, want %v", got, want)
		}
	})
}

func TestAHandlerThatHangsHoldsNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang, handled := make(chan struct{}), 0
		q, logged := newTestQueue(t, func(string) {
			handled++
			<-hang
		})
		q.Flush() // with nothing to wait for
		if err := q.Handle(t.Context(), caddy.Event{}); err != nil {
			t.Fatal(err)
		}
		q.Publish(name, map[string]any{"number": "first"})
		synctest.Wait()
		q.publishNumbers(2 * maxQueued)
		if q.length != maxQueued {
			t.Errorf("%d events are queued", q.length)
		}
		began := time.Now()
		q.Flush()
		if took := time.Since(began); took != flushTimeout {
			t.Errorf("the flush takes %s", took)
		}
		close(hang)
		synctest.Wait()
		if handled != maxQueued || q.length != 0 {
			t.Errorf("%d events were handled, %d are left", handled, q.length)
		}
		for _, message := range []string{"event handlers are too slow; events are dropped", "event handlers did not end in time"} {
			if n := logged.FilterMessage(message).Len(); n != 1 {
				t.Errorf("%q is logged %d times", message, n)
			}
		}
	})
}
