package access

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/caddy-axra/paywall/ledger"
)

const (
	// readTimeout bounds how long a request waits for the ledger.
	readTimeout = 2 * time.Second
	// maxReads bounds concurrent reads, so that dropping all purchases does not flood the database.
	maxReads = 8
	// changeCounters is the number of counters that purchases share. A change of one purchase invalidates one in
	// 16,384 others.
	changeCounters = 1 << 14
)

// holding is a purchase as read for a token, and the version of that read.
type holding struct {
	ledger.Holding       // without DeviceIDs, of which a purchase may have a thousand
	hasDevice      bool  // the token's device uses the purchase
	seen           int64 // the purchase's version before the read, which may miss a later change; or neverRead
}

const neverRead = -1

// purchases reads purchases, shares concurrent reads, and knows which purchases have changed since.
type purchases struct {
	ledger  Ledger
	reads   singleflight.Group
	slots   chan struct{}
	changes [changeCounters]atomic.Int64
}

var seed = maphash.MakeSeed()

// version returns the counter of the changes of a purchase.
func (p *purchases) version(purchaseID string) *atomic.Int64 {
	return &p.changes[maphash.String(seed, purchaseID)%changeCounters]
}

// isCurrent reports whether the token's purchase has not changed since it was read.
func (t *Token) isCurrent(h *holding) bool { return h.seen == t.version.Load() }

// read reads a purchase for a device, and returns the version of the read. The caller waits for at most readTimeout; the
// read continues for other callers. Devices do not share reads: the feed does not report devices that other nodes add,
// so a read begun for another device may miss this one.
func (p *purchases) read(ctx context.Context, purchaseID, device string) (ledger.Holding, int64, error) {
	seen := p.version(purchaseID).Load() // before the read, which may miss a later change
	key := fmt.Sprintf("purchase %s %q %d", purchaseID, device, seen)
	found, err := p.once(ctx, key, func(ctx context.Context) (ledger.Holding, error) {
		return p.ledger.Holding(ctx, purchaseID)
	})
	return found, seen, err
}

// once calls read once for all concurrent callers with the same key.
func (p *purchases) once(ctx context.Context, key string, read func(context.Context) (ledger.Holding, error)) (ledger.Holding, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	flight := p.reads.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.Background(), readTimeout) // the read outlives its first caller
		defer cancel()
		select {
		case p.slots <- struct{}{}:
			defer func() { <-p.slots }()
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: too many readers wait: %w", ledger.ErrUnavailable, ctx.Err())
		}
		return read(ctx)
	})
	select {
	case landed := <-flight:
		found, _ := landed.Val.(ledger.Holding)
		return found, landed.Err
	case <-ctx.Done():
		return ledger.Holding{}, fmt.Errorf("%w: %w", ledger.ErrUnavailable, ctx.Err())
	}
}

var errLost = errors.New("a purchase that was sold is not in the ledger: was it restored from an older backup?")

// Poll reads the change feed once and drops the purchases that other nodes have changed. The ledger limits its time.
func (c *Cache) Poll(ctx context.Context) error {
	c.polling.Lock()
	defer c.polling.Unlock()
	began := c.options.Now()
	changes, err := c.purchases.ledger.Poll(ctx, c.position)
	if err != nil {
		return err
	}
	if changes.All {
		for i := range c.purchases.changes {
			c.purchases.changes[i].Add(1)
		}
	} else {
		c.Drop(changes.PurchaseIDs)
	}
	if changes.Keys || changes.All {
		if err := c.options.OnKeys(ctx); err != nil {
			return err // the next poll starts at the same position
		}
	}
	c.position = changes.Position
	c.lastPoll.Store(began.UnixNano())
	return nil
}

// Drop makes the next request read the purchases again. The node calls it for its own changes.
func (c *Cache) Drop(purchaseIDs []string) {
	for _, id := range purchaseIDs {
		c.purchases.version(id).Add(1)
	}
}

// IsFresh reports whether the feed was read within this time. Otherwise do not create a checkout: its payment could
// not be stored.
func (c *Cache) IsFresh(within time.Duration) bool { return c.Age() <= within }

// Age returns the time since the start of the last poll that succeeded; decades before the first.
func (c *Cache) Age() time.Duration { return c.options.Now().Sub(time.Unix(0, c.lastPoll.Load())) }
