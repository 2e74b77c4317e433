// Package access decides whether the purchase behind an access token is still good. It keeps verified tokens and their
// purchases in bounded memory, and follows the ledger's change feed to learn which purchases to read again. While the
// feed is fresh, a paid request reads only memory.
package access

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/token"
)

// Ledger is the part of ledger.Ledger that access needs.
type Ledger interface {
	Holding(ctx context.Context, purchaseID string) (ledger.Holding, error)
	HoldingOfSession(ctx context.Context, sessionID string) (ledger.Holding, error)
	Poll(ctx context.Context, since ledger.Position) (ledger.Changes, error)
}

// Keys are the signing keys that this node knows.
type Keys interface {
	VerifyAccess(raw, site string) (token.Access, error)
	Knows(kid string) bool
}

// Decision says whether a token opens its resource.
type Decision int

// The decisions.
const (
	None    Decision = iota // no valid token
	Open                    // it opens its resource
	Closed                  // it was valid, but its purchase is refunded, disputed or revoked, or its device was removed
	Unknown                 // the ledger has been unreadable for longer than the grace
)

// Bounds limits how long ago the last successful poll of the feed may be.
type Bounds struct {
	Recheck time.Duration // after it nothing is sold
	Grace   time.Duration // after it known buyers are no longer served
}

// Options are what a Cache needs.
type Options struct {
	Ledger Ledger
	Keys   Keys
	Now    func() time.Time
	// OnKeys reloads the signing keys, which may have changed.
	OnKeys func(context.Context) error
	// OnError is called for every token whose purchase cannot be read.
	OnError func(error)
}

// Cache remembers tokens and purchases. It survives a reload, and is safe for concurrent use.
type Cache struct {
	options   Options
	tokens    *otter.Cache[string, any] // of *Token, by endOf
	purchases purchases

	polling  sync.Mutex
	position ledger.Position
	lastPoll atomic.Int64 // Unix nanoseconds; start of the last poll that succeeded, keys included
}

// New returns an empty cache. It knows nothing before the first Poll.
func New(o Options) *Cache {
	return &Cache{options: o, tokens: newTokens(), purchases: purchases{ledger: o.Ledger, slots: make(chan struct{}, maxReads)}}
}

// Close stops the cache's background work.
func (c *Cache) Close() { c.tokens.StopAllGoroutines() }

// Size returns how many tokens are remembered.
func (c *Cache) Size() int {
	c.tokens.CleanUp() // applies the bounds
	return c.tokens.EstimatedSize()
}

// Verify returns the token of a site. It checks the signature only if the token is not remembered. With
// token.ErrLapsed it returns a token that ended with its access but can still be exchanged.
func (c *Cache) Verify(raw, site string, at time.Time) (*Token, error) {
	known := c.find(raw)
	switch {
	case known == nil:
		verified, err := c.options.Keys.VerifyAccess(raw, site)
		if err != nil && !errors.Is(err, token.ErrLapsed) {
			return nil, err
		}
		return c.remember(raw, verified, ""), err
	case known.Site != site || known.Link != "":
		return nil, token.ErrInvalid
	case at.Before(known.Expires):
		return known, nil
	case known.HasLapsed(at):
		return known, token.ErrLapsed
	}
	return nil, token.ErrInvalid
}

// VerifyLink returns the token of a private address of a site, verified by verify unless it is remembered.
func (c *Cache) VerifyLink(raw, site string, verify func() (token.Access, string, error)) (*Token, error) {
	known := c.find(raw)
	switch {
	case known != nil && (known.Link == "" || !c.options.Now().Before(known.Expires)):
		return nil, token.ErrInvalid
	case known != nil && known.Site == site:
		return known, nil
	} // The token may have been used at another site first: only verify knows which site it is for.
	access, link, err := verify()
	if err != nil {
		return nil, err
	}
	return c.remember(raw, access, link), nil
}

// Judge says whether a token opens its resource now.
func (c *Cache) Judge(ctx context.Context, t *Token, at time.Time, bounds Bounds) Decision {
	if !at.Before(t.Expires) {
		return None
	}
	age := at.Sub(time.Unix(0, c.lastPoll.Load()))
	h := t.known()
	if !t.isCurrent(h) && age <= bounds.Recheck {
		read, seen, err := c.purchases.read(ctx, t.Purchase, t.Device)
		switch {
		case err == nil:
			h = t.keep(read, seen)
			t.failing.Store(0)
		case ctx.Err() != nil:
			return Unknown // the client may still read the response
		default:
			if errors.Is(err, ledger.ErrNotFound) {
				err = errLost // a verified token without a purchase means lost data, not "not paid"
			}
			t.failing.CompareAndSwap(0, at.UnixNano())
			c.options.OnError(err)
		}
	}
	if decision := t.decision(h, at); decision != Open {
		return decision
	}
	if since := t.failing.Load(); since != 0 && !t.isCurrent(t.known()) {
		age = max(age, at.Sub(time.Unix(0, since)))
	}
	if age > bounds.Grace || h.seen == neverRead && t.Link != "" { // a private address can outlive its access
		return Unknown
	}
	return Open
}

// decision judges a token by its purchase as last read. A purchase that was never read does not count against it.
func (t *Token) decision(h *holding, at time.Time) Decision {
	status := h.StatusAt(at)
	switch {
	case h.seen == neverRead:
		return Open
	case status == ledger.Expired:
		return None
	case status != ledger.Active, t.Link == "" && !h.hasDevice:
		return Closed
	}
	return Open
}

// keep remembers the purchase as read, unless a later read finished first, and returns the remembered one.
func (t *Token) keep(read ledger.Holding, seen int64) *holding {
	found := &holding{Holding: read, hasDevice: slices.Contains(read.DeviceIDs, t.Device), seen: seen}
	found.ID, found.DeviceIDs = t.Purchase, nil
	known := t.holding.Load()
	if known != nil && known.seen >= seen {
		return known
	}
	t.holding.CompareAndSwap(known, found) // if another read was faster but older, the next request reads again
	return found
}

// OfSession reads the purchase of a checkout session. Concurrent callers share one read.
func (c *Cache) OfSession(ctx context.Context, sessionID string) (ledger.Holding, error) {
	return c.purchases.once(ctx, "session "+sessionID, func(ctx context.Context) (ledger.Holding, error) {
		return c.purchases.ledger.HoldingOfSession(ctx, sessionID)
	})
}

// Of reads a purchase. Concurrent callers share one read.
func (c *Cache) Of(ctx context.Context, purchaseID string) (ledger.Holding, error) {
	h, _, err := c.purchases.read(ctx, purchaseID, "")
	return h, err
}

// judgeEvery is how often a stream is judged. Judging reads only memory, unless the purchase has changed.
const judgeEvery = 500 * time.Millisecond

// Stream returns a context for a WebSocket or an event stream, which is cancelled when the token no longer opens its
// resource. Call release when the request has ended. Other requests end on their own.
func (c *Cache) Stream(ctx context.Context, t *Token, bounds Bounds) (streaming context.Context, release func()) {
	streaming, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		for c.options.Keys.Knows(t.Key) && c.Judge(streaming, t, c.options.Now(), bounds) == Open {
			select {
			case <-streaming.Done():
				return
			case <-time.After(judgeEvery):
			}
		}
	}()
	return streaming, cancel
}
