package token

import (
	"hash/maphash"
	"sync/atomic"
)

// forgedTokens is a bounded memory of tokens whose signature does not fit, so that who
// sends one again and again costs one check. A later one takes the place of another. A
// good token would be refused for a forged one with a chance of 1 in 2^64: the hash is
// keyed, so nobody can aim at that.
type forgedTokens struct {
	seed maphash.Seed
	sums [1 << 13]atomic.Uint64
}

func newForgedTokens() *forgedTokens { return &forgedTokens{seed: maphash.MakeSeed()} }

func (f *forgedTokens) place(raw string) (sum uint64, at *atomic.Uint64) {
	sum = maphash.String(f.seed, raw)
	return sum, &f.sums[sum%uint64(len(f.sums))]
}

func (f *forgedTokens) has(raw string) bool {
	sum, at := f.place(raw)
	return at.Load() == sum
}

func (f *forgedTokens) add(raw string) {
	sum, at := f.place(raw)
	at.Store(sum)
}
