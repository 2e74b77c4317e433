package access

import (
	"context"
	"time"
)

const pollEvery = time.Second

// Follow polls the change feed once a second until the context ends. onPoll is told how each poll ended.
func (c *Cache) Follow(ctx context.Context, onPoll func(error)) {
	for {
		err := c.Poll(ctx)
		if ctx.Err() != nil {
			return
		}
		onPoll(err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pollEvery):
		}
	}
}

// Poll asks the change feed once: what other nodes have changed is read again. The ledger bounds its time.
func (c *Cache) Poll(ctx context.Context) error {
	c.polling.Lock()
	defer c.polling.Unlock()
	began := c.now()
	changes, err := c.purchases.ledger.Poll(ctx, c.position)
	if err != nil {
		return err
	}
	if changes.All {
		c.purchases.dropAll()
	} else {
		c.purchases.drop(changes.PurchaseIDs)
	}
	if changes.Keys || changes.All {
		if err := c.onKeys(ctx); err != nil {
			return err // the position stays, so the next poll says so again
		}
	}
	c.position = changes.Position
	c.lastPoll.Store(began.UnixNano()) // before streams look: they read only while the feed is fresh
	if changes.Keys || changes.All {
		c.streams.recheckAll()
	} else {
		c.streams.recheck(changes.PurchaseIDs)
	}
	return nil
}

// Drop makes purchases be read again, and ends the streams of those that have closed. The node's own commits
// call it.
func (c *Cache) Drop(purchaseIDs []string) {
	c.purchases.drop(purchaseIDs)
	c.streams.recheck(purchaseIDs)
}

// IsFresh reports whether the feed, and the keys that it told of, were read within the time. Only then may a
// checkout be created: its payment could not be stored otherwise.
func (c *Cache) IsFresh(within time.Duration) bool {
	return c.now().Sub(time.Unix(0, c.lastPoll.Load())) <= within
}
