// Package access decides whether the purchase behind an access token is still good. It keeps verified tokens and their
// purchases in bounded memory, and follows the ledger's change feed to learn which purchases to read again. While the
// feed is fresh, a paid request reads only memory.
package access

import (
	"context"
	"errors"
	"slices"
	"strings"
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

// Bounds of the remembered tokens, about 120,000 of them.
const (
	maxTokenBytes = 144 << 20
	tokenOverhead = 700 // bytes of an entry without its strings
)

// Token is a verified access token, or the verified token of a private address.
type Token struct {
	token.Access
	Link string // the only address that it opens; empty for an access token

	raw     string
	holding atomic.Pointer[holding] // its purchase as last read; nil: never
	version *atomic.Int64           // of its purchase
	failing atomic.Int64            // Unix nanoseconds; since when reads of its purchase fail; 0: they succeed
}

func newTokens() *otter.Cache[string, any] {
	return otter.Must(&otter.Options[string, any]{MaximumWeight: maxTokenBytes, Weigher: func(_ string, value any) uint32 {
		t := value.(*Token) //nolint:forcetypeassert // the only type
		texts := len(t.raw) + len(t.Purchase) + len(t.Pass) + len(t.Resource) + len(t.Link)
		return uint32(tokenOverhead + texts) //nolint:gosec // at most token.MaxSize each
	}})
}

// find returns a remembered token if its key is still known. Comparing whole tokens is faster than hashing them.
func (c *Cache) find(raw string) *Token {
	found, _ := c.tokens.GetIfPresent(endOf(raw))
	known, ok := found.(*Token)
	if !ok || known.raw != raw {
		return nil
	}
	if !c.options.Keys.Knows(known.Key) {
		return nil
	}
	return known
}

// remember keeps a verified token, and returns the remembered one.
func (c *Cache) remember(raw string, verified token.Access, link string) *Token {
	raw = strings.Clone(raw) // it may be a substring of a larger header
	added := &Token{Access: verified, Link: link, raw: raw, version: c.purchases.version(verified.Purchase)}
	found, _ := c.tokens.SetIfAbsent(endOf(raw), added)
	if known := found.(*Token); known.raw == raw && known.Site == verified.Site { //nolint:forcetypeassert // the only type
		return known
	}
	return added
}

// endOf returns the end of the signature, by which a token is looked up.
func endOf(raw string) string { return raw[max(0, len(raw)-43):] }

// known returns the token's purchase as last read; before the first read, what the token says of it.
func (t *Token) known() *holding {
	h := t.holding.Load()
	if h == nil {
		h = &holding{seen: neverRead}
		h.EndsAt, h.DownloadLimit = t.Until, t.Downloads
	}
	return h
}

// Status returns the status of the token's purchase as last read; empty if it was never read.
func (t *Token) Status(at time.Time) ledger.Status { return t.known().StatusAt(at) }

// End returns when access ends; zero: no expiry. It may have changed since the token was signed.
func (t *Token) End() time.Time { return t.known().EndsAt }

// DownloadLimit returns how many downloads the purchase allows; 0: not limited.
func (t *Token) DownloadLimit() int { return t.known().DownloadLimit }

// DownloadWindow returns the end of the download window that was opened last.
func (t *Token) DownloadWindow() time.Time { return t.known().DownloadWindowEndsAt }

// SetDownloadWindow remembers a download window that this node has opened.
func (t *Token) SetDownloadWindow(endsAt time.Time) {
	if known := t.holding.Load(); known != nil {
		updated := *known
		updated.DownloadWindowEndsAt = endsAt
		t.holding.CompareAndSwap(known, &updated)
	}
}

// EndsAfter reports whether the token ends later than one of another purchase of the same resource.
func (t *Token) EndsAfter(other token.Access) bool {
	if t.Purchase == other.Purchase || t.Resource != other.Resource || t.DownloadLimit() > 0 {
		return false
	}
	end := t.End()
	return !other.Until.IsZero() && (end.IsZero() || end.After(other.Until))
}

// EndsEarly reports whether a token ends before its access does.
func (t *Token) EndsEarly() bool {
	end := t.End()
	return end.IsZero() || t.Expires.Before(end)
}

// Renewal returns the successor of a token that ends before its access does, once it is due.
func (t *Token) Renewal(at time.Time) (renewed token.Access, isDue bool) {
	renewed = t.Access
	end := t.End().Truncate(time.Second) // tokens store seconds
	if !renewed.Until.IsZero() && (end.IsZero() || end.After(renewed.Until)) {
		renewed.Until = end
		return renewed, true
	}
	return renewed, renewed.Stale(at)
}
