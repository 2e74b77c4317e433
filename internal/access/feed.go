package access

import (
	"context"
	"time"
)

const pollEvery = time.Second

// Follow polls the change feed once a second until the context ends. It calls onPoll after each poll.
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

// Poll reads the change feed once and drops the purchases that other nodes have changed. The ledger limits its time.
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
			return err // the next poll starts at the same position
		}
	}
	c.position = changes.Position
	c.lastPoll.Store(began.UnixNano())
	return nil
}

// Drop makes the next request read the purchases again. The node calls it for its own changes.
func (c *Cache) Drop(purchaseIDs []string) { c.purchases.drop(purchaseIDs) }

// IsFresh reports whether the feed was read within this time. Otherwise do not create a checkout: its payment could
// not be stored.
func (c *Cache) IsFresh(within time.Duration) bool {
	return c.now().Sub(time.Unix(0, c.lastPoll.Load())) <= within
}
