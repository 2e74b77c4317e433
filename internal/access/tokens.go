package access

import (
	"crypto/sha256"
	"hash/maphash"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddy-axra/paywall/cache"
	"github.com/caddy-axra/paywall/token"
)

// Bounds of the remembered tokens. Twelve times as many are kept by their digest as in full.
const (
	maxTokens      = 12 * maxRecent
	maxTokenBytes  = 144 << 20
	tokenOverhead  = 700     // bytes of an entry without its strings
	maxRecent      = 1 << 14 // tokens that are kept in full
	maxRecentBytes = 800     // longer tokens are kept by their digest only

	// Tokens seen twice within promoteWithin are kept in full. A browser loads a page with its images in that time.
	promoteWithin = 2 * time.Second
)

// Token is a verified access token, or the verified token of a private address.
type Token struct {
	token.Access
	Link string // the only address that it opens; empty for an access token

	digest   [sha256.Size]byte
	seenAt   atomic.Int64                     // Unix nanoseconds; when it was last found by its digest
	accepted atomic.Pointer[token.Generation] // the last keyring generation that included the token's key
	holding  atomic.Pointer[holding]          // its purchase as last read; nil: never
	failing  atomic.Int64                     // Unix nanoseconds; since when reads of its purchase fail; 0: they succeed
}

// tokens remembers verified tokens in bounded memory.
type tokens struct {
	byEnd  cache.Cache[*Token] // by endOf
	recent recentTokens
}

func newTokens() *tokens {
	return &tokens{byEnd: cache.Weighted(maxTokenBytes, func(t *Token) uint32 {
		weight := tokenOverhead + len(t.Purchase) + len(t.Pass) + len(t.Resource) + len(t.Link)
		return uint32(max(weight, maxTokenBytes/maxTokens)) //nolint:gosec // at most token.MaxSize and the overhead
	})}
}

// find returns the verified token, or nil.
func (t *tokens) find(raw string, at time.Time) *Token {
	if known := t.recent.find(raw); known != nil {
		return known
	}
	known, ok := t.byEnd.GetIfPresent(endOf(raw))
	if !ok || known.digest != digestOf(raw) {
		return nil
	}
	since := at.UnixNano() - known.seenAt.Swap(at.UnixNano())
	if since >= 0 && since <= int64(promoteWithin) && len(raw) <= maxRecentBytes {
		t.recent.keep(raw, known)
	}
	return known
}

// add remembers a verified token, and returns the remembered one.
func (t *tokens) add(raw string, verified *Token) *Token {
	verified.digest = digestOf(raw)
	known, _ := t.byEnd.SetIfAbsent(strings.Clone(endOf(raw)), verified)
	if known.digest == verified.digest && known.Site == verified.Site {
		return known
	}
	return verified
}

func digestOf(raw string) [sha256.Size]byte {
	var buffer [1024]byte // avoids an allocation for most tokens
	return sha256.Sum256(append(buffer[:0], raw...))
}

// endOf returns the end of the signature, by which a token is looked up. The digest identifies it.
func endOf(raw string) string { return raw[max(0, len(raw)-43):] }

// recentTokens keeps tokens in full: comparing one is faster than hashing it, and hashing takes longer than the rest of
// the decision. A token may be in any entry of its bucket.
type recentTokens struct {
	buckets [maxRecent / ways]bucket
	evicted atomic.Uint32
}

type bucket [ways]atomic.Pointer[fullToken]

const ways = 4

type fullToken struct {
	raw string
	*Token
}

var recentSeed = maphash.MakeSeed()

func (r *recentTokens) bucketOf(raw string) *bucket {
	return &r.buckets[maphash.String(recentSeed, raw[max(0, len(raw)-16):])%(maxRecent/ways)]
}

func (r *recentTokens) find(raw string) *Token {
	bucket := r.bucketOf(raw)
	for i := range bucket {
		if found := bucket[i].Load(); found != nil && found.raw == raw {
			return found.Token
		}
	}
	return nil
}

func (r *recentTokens) keep(raw string, verified *Token) {
	bucket, full := r.bucketOf(raw), &fullToken{strings.Clone(raw), verified} // raw may be a substring of a larger header
	for i := range bucket {
		if bucket[i].CompareAndSwap(nil, full) {
			return
		}
	}
	bucket[r.evicted.Add(1)%ways].Store(full)
}
