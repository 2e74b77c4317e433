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

// Bounds of the memory of tokens. Twelve times as many are known by a digest as are kept whole.
const (
	maxTokens      = 12 * maxRecent
	maxTokenBytes  = 144 << 20
	tokenOverhead  = 700     // bytes that an entry takes beside its texts
	maxRecent      = 1 << 14 // tokens that are kept whole
	maxRecentBytes = 800     // longer tokens are known by their digest alone

	// promoteWithin is how soon a token has to come by again to be kept whole: the time in which a
	// browser loads a page and its parts.
	promoteWithin = 2 * time.Second
)

// Token is an access token, or the token of a private address, whose signature was verified.
type Token struct {
	token.Access
	Link string // the one address that it opens; empty for an access token

	digest   [sha256.Size]byte
	seenAt   atomic.Int64                     // Unix nanoseconds; when it last came by without being kept whole
	accepted atomic.Pointer[token.Generation] // of the keys among which the token's was last found
	holding  atomic.Pointer[holding]          // its purchase, as last read; nil: not read yet
	failing  atomic.Int64                     // Unix nanoseconds; since when its purchase cannot be read; 0: it can
}

// tokens remembers verified tokens in bounded memory.
type tokens struct {
	byEnd  cache.Cache[*Token] // by the end of the signature
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

// add remembers a verified token, and returns the one that is remembered.
func (t *tokens) add(raw string, verified *Token) *Token {
	verified.digest = digestOf(raw)
	known, _ := t.byEnd.SetIfAbsent(strings.Clone(endOf(raw)), verified)
	if known.digest == verified.digest && known.Site == verified.Site {
		return known
	}
	return verified
}

// digestOf names a token; nobody can make another one of the same digest.
func digestOf(raw string) [sha256.Size]byte {
	var buffer [1024]byte // most tokens fit, and need no memory for it
	return sha256.Sum256(append(buffer[:0], raw...))
}

// endOf is enough of a token to find it by: the end of its signature.
func endOf(raw string) string { return raw[max(0, len(raw)-43):] }

// recentTokens keeps tokens whole, since hashing one would take longer than all the rest of a paid
// request. Each has a few places, from which others push it out.
type recentTokens struct {
	places [maxRecent / ways][ways]atomic.Pointer[wholeToken]
	pushed atomic.Uint32
}

const ways = 4

type wholeToken struct {
	raw string
	*Token
}

var recentSeed = maphash.MakeSeed()

func (r *recentTokens) placesOf(raw string) *[ways]atomic.Pointer[wholeToken] {
	return &r.places[maphash.String(recentSeed, raw[max(0, len(raw)-16):])%(maxRecent/ways)]
}

func (r *recentTokens) find(raw string) *Token {
	places := r.placesOf(raw)
	for i := range places {
		if found := places[i].Load(); found != nil && found.raw == raw {
			return found.Token
		}
	}
	return nil
}

func (r *recentTokens) keep(raw string, verified *Token) {
	places, whole := r.placesOf(raw), &wholeToken{strings.Clone(raw), verified} // a header holds more than the token
	for i := range places {
		if places[i].CompareAndSwap(nil, whole) {
			return
		}
	}
	places[r.pushed.Add(1)%ways].Store(whole)
}
