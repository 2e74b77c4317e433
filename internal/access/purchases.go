package access

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/caddy-axra/paywall/ledger"
)

const (
	// readTimeout bounds how long one request waits for the ledger.
	readTimeout = 2 * time.Second
	// maxReads bounds the reads at a time, so that a memory that was dropped is not refilled at once.
	maxReads = 8
	// changeCounters is how many counters tell which purchases changed. One change makes one in so
	// many purchases be read again.
	changeCounters = 1 << 14
)

// holding is a purchase as it was read for a token, and how much of the feed that reading has seen.
type holding struct {
	ledger.Holding      // without DeviceIDs
	hasDevice      bool // the token's device is one of those that use the purchase
	seen           version
}

// newHolding keeps of a reading what its token does not say already: a purchase may have a thousand devices, and a
// thousand tokens.
func newHolding(t *Token, read ledger.Holding, seen version) *holding {
	h := &holding{Holding: read, hasDevice: slices.Contains(read.DeviceIDs, t.Device), seen: seen}
	h.ID, h.DeviceIDs = t.Purchase, nil
	for _, text := range []struct{ read, known *string }{
		{&h.Site, &t.Site}, {&h.Product, &t.Pass}, {&h.Resource, &t.Resource},
	} {
		if *text.read == *text.known {
			*text.read = *text.known
		}
	}
	return h
}

// version says up to which changes a reading of a purchase is good.
type version struct{ all, one int64 }

// isBefore reports whether something has changed since v that the other version has seen.
func (v version) isBefore(other version) bool {
	return v != other && v.all <= other.all && v.one <= other.one
}

// purchases reads purchases, once for all who ask for one at the same time, and knows which of those that
// were read have changed since.
type purchases struct {
	ledger  Ledger
	reads   singleflight.Group
	slots   chan struct{}
	all     atomic.Int64 // how often everything was dropped
	changed [changeCounters]atomic.Int64
}

var changeSeed = maphash.MakeSeed()

func (p *purchases) counter(purchaseID string) *atomic.Int64 {
	return &p.changed[maphash.String(changeSeed, purchaseID)%changeCounters]
}

func (p *purchases) version(purchaseID string) version {
	return version{all: p.all.Load(), one: p.counter(purchaseID).Load()}
}

// drop makes purchases be read again.
func (p *purchases) drop(purchaseIDs []string) {
	for _, id := range purchaseIDs {
		p.counter(id).Add(1)
	}
}

func (p *purchases) dropAll() { p.all.Add(1) }

// isCurrent reports whether nothing about a purchase has changed since it was read.
func (p *purchases) isCurrent(purchaseID string, h *holding) bool {
	return h != nil && h.seen == p.version(purchaseID)
}

// read reads a purchase for a device, and says up to which changes that is good. Who asks waits for readTimeout
// at most; the reading goes on for others. Devices do not share a reading: the feed does not tell of a device
// that another node has added, and a reading for others may have begun before that.
func (p *purchases) read(ctx context.Context, purchaseID, device string) (ledger.Holding, version, error) {
	seen := p.version(purchaseID) // before the reading, or a change in the middle of it would be missed
	key := fmt.Sprintf("purchase %s %q %d", purchaseID, device, seen)
	found, err := p.once(ctx, key, func(ctx context.Context) (ledger.Holding, error) {
		return p.ledger.Holding(ctx, purchaseID)
	})
	return found, seen, err
}

// once calls read once for all who ask with the same key at the same time.
func (p *purchases) once(ctx context.Context, key string, read func(context.Context) (ledger.Holding, error)) (ledger.Holding, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	flight := p.reads.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.Background(), readTimeout) // it does not end with who began it
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
