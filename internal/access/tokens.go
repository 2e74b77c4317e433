package access

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddy-axra/paywall/cache"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/token"
)

// Bounds of the remembered tokens, about 120,000 of them.
const (
	maxTokenBytes = 144 << 20
	tokenOverhead = 700 // bytes of an entry without its strings
	maxRecent     = 1 << 14
)

// Token is a verified access token, or the verified token of a private address.
type Token struct {
	token.Access
	Link string // the only address that it opens; empty for an access token

	raw      string
	accepted atomic.Pointer[token.Generation] // the last keyring generation that included the token's key
	holding  atomic.Pointer[holding]          // its purchase as last read; nil: never
	version  *atomic.Int64                    // of its purchase
	failing  atomic.Int64                     // Unix nanoseconds; since when reads of its purchase fail; 0: they succeed
}

// tokens remembers verified tokens in bounded memory, by endOf.
type tokens struct {
	cache.Cache[*Token]
	// recent spares the decision about a returning token the bookkeeping of the cache, a seventh of its time.
	recent [maxRecent]atomic.Pointer[Token]
}

func newTokens() *tokens {
	return &tokens{Cache: cache.Weighted(maxTokenBytes, func(t *Token) uint32 {
		return uint32(tokenOverhead + len(t.raw) + len(t.Purchase) + len(t.Pass) + len(t.Resource) + len(t.Link)) //nolint:gosec // at most token.MaxSize each
	})}
}

// find returns the verified token, or nil. Comparing whole tokens is faster than hashing them.
func (t *tokens) find(raw string) *Token {
	recent := &t.recent[maphash.String(seed, raw[max(0, len(raw)-16):])%maxRecent]
	if known := recent.Load(); known != nil && known.raw == raw {
		return known
	}
	known, ok := t.GetIfPresent(endOf(raw))
	if !ok || known.raw != raw {
		return nil
	}
	recent.Store(known)
	return known
}

// add remembers a verified token, and returns the remembered one.
func (t *tokens) add(raw string, verified *Token) *Token {
	verified.raw = strings.Clone(raw) // raw may be a substring of a larger header
	known, _ := t.SetIfAbsent(endOf(verified.raw), verified)
	if known.raw == raw && known.Site == verified.Site {
		return known
	}
	return verified
}

// endOf returns the end of the signature, by which a token is looked up.
func endOf(raw string) string { return raw[max(0, len(raw)-43):] }

// Holding returns the purchase of a token as last read, without its devices; false if it never was.
func (t *Token) Holding() (ledger.Holding, bool) {
	if h := t.holding.Load(); h != nil {
		return h.Holding, true
	}
	return ledger.Holding{}, false
}

// Status returns the status of the token's purchase as last read; empty if it was never read.
func (t *Token) Status(at time.Time) ledger.Status {
	if h := t.holding.Load(); h != nil {
		return h.StatusAt(at)
	}
	return ""
}

// End returns when access ends; zero: no expiry. It may have changed since the token was signed.
func (t *Token) End() time.Time {
	if h := t.holding.Load(); h != nil {
		return h.EndsAt
	}
	return t.Until
}

// DownloadLimit returns how many downloads the purchase allows; 0: not limited.
func (t *Token) DownloadLimit() int {
	if h := t.holding.Load(); h != nil {
		return h.DownloadLimit
	}
	return t.Downloads
}

// SetDownloadWindow remembers a download window that this node has opened.
func (t *Token) SetDownloadWindow(endsAt time.Time) {
	if h := t.holding.Load(); h != nil {
		updated := *h
		updated.DownloadWindowEndsAt = endsAt
		t.holding.CompareAndSwap(h, &updated)
	}
}

// EndsAfter reports whether the token outlasts one of another purchase of the same resource.
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
