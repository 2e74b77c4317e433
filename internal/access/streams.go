package access

import (
	"context"
	"sync"
	"time"
)

// streams are the open WebSockets and event streams of purchases. Other requests end on their own.
type streams struct {
	mu   sync.Mutex
	open map[string]map[*stream]struct{} // by purchase id
}

type stream struct{ changed chan struct{} }

// Stream returns a context for a long request, which is cancelled when the token no longer opens its resource. Call
// release when the request has ended.
func (c *Cache) Stream(ctx context.Context, t *Token, bounds Bounds) (streaming context.Context, release func()) {
	streaming, cancel := context.WithCancel(ctx)
	s := &stream{changed: make(chan struct{}, 1)}
	c.streams.add(t.Purchase, s)
	go func() {
		defer cancel()
		// Judge before waiting: a change between the request's decision and now has woken no stream.
		for c.keys.Knows(t.Key) && c.Judge(streaming, t, c.now(), bounds) == Open {
			select {
			case <-streaming.Done():
				return
			case <-s.changed:
			case <-time.After(c.untilNextCheck(t)):
			}
		}
	}()
	return streaming, func() {
		cancel()
		c.streams.remove(t.Purchase, s)
	}
}

// untilNextCheck returns how long to wait for a change before judging a stream again: a second if its purchase could not
// be read, else until access ends, but at most a minute because the grace may run out.
func (c *Cache) untilNextCheck(t *Token) time.Duration {
	if !c.purchases.isCurrent(t.Purchase, t.holding.Load()) {
		return time.Second
	}
	end := t.Expires
	if ofAccess := t.End(); !ofAccess.IsZero() && ofAccess.Before(end) {
		end = ofAccess
	}
	return min(time.Minute, max(end.Sub(c.now()), time.Second))
}

func (s *streams) add(purchaseID string, added *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = make(map[string]map[*stream]struct{})
	}
	if s.open[purchaseID] == nil {
		s.open[purchaseID] = make(map[*stream]struct{})
	}
	s.open[purchaseID][added] = struct{}{}
}

func (s *streams) remove(purchaseID string, ended *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open[purchaseID], ended)
	if len(s.open[purchaseID]) == 0 {
		delete(s.open, purchaseID)
	}
}

func (s *streams) recheck(purchaseIDs []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range purchaseIDs {
		for each := range s.open[id] {
			each.wake()
		}
	}
}

func (s *streams) recheckAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ofPurchase := range s.open {
		for each := range ofPurchase {
			each.wake()
		}
	}
}

func (s *stream) wake() {
	select {
	case s.changed <- struct{}{}:
	default: // already awake
	}
}
