package access

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/token"
)

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
