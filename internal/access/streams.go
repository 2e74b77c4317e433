package access

import (
	"context"
	"time"
)

// judgeEvery is how often a stream is judged. Judging reads only memory, unless the purchase has changed.
const judgeEvery = 500 * time.Millisecond

// Stream returns a context for a WebSocket or an event stream, which is cancelled when the token no longer opens its
// resource. Call release when the request has ended. Other requests end on their own.
func (c *Cache) Stream(ctx context.Context, t *Token, bounds Bounds) (streaming context.Context, release func()) {
	streaming, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		for c.keys.Knows(t.Key) && c.Judge(streaming, t, c.now(), bounds) == Open {
			select {
			case <-streaming.Done():
				return
			case <-time.After(judgeEvery):
			}
		}
	}()
	return streaming, cancel
}
