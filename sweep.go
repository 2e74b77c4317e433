package paywall

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/ledger"
)

// How long purchases are kept after their access has ended.
const (
	DefaultKeep = 540 * 24 * time.Hour
	minKeep     = 60 * 24 * time.Hour // events may still come, and disputes be opened
)

// sweepEvery is how often a node deletes what ended longer ago than keep.
const sweepEvery = 24 * time.Hour

// errSweeping means that a sweep or an import is under way.
var errSweeping = errors.New("a sweep or an import is under way: try again when it has ended")

func checkKeep(keep caddy.Duration) error {
	if keep > 0 && time.Duration(keep) < minKeep {
		return fmt.Errorf("keep %s is too short: events may still come, and disputes be opened: write `keep 540d`, at least `keep 60d`, or `keep forever`", time.Duration(keep))
	}
	return nil
}

// sweepRegularly deletes old purchases, first some minutes after the start, then once a day. Nodes that do so at
// the same time do no harm.
func (a *App) sweepRegularly(ctx context.Context) {
	if a.Keep < 0 {
		return
	}
	for wait := 10 * time.Minute; ; wait = sweepEvery {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait/2 + rand.N(wait)): //nolint:gosec // only spreads the nodes
		}
		if _, err := a.sweep(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, errSweeping) {
			a.logger.Error("the ledger could not be swept; it will be tried again", zap.Error(err))
		}
	}
}

// sweep deletes purchases whose access ended longer ago than keep.
func (a *App) sweep(ctx context.Context) (ledger.Swept, error) {
	if a.Keep < 0 {
		return ledger.Swept{}, errors.New("with `keep forever` nothing is swept")
	}
	if !a.store.sweeps.TryLock() {
		return ledger.Swept{}, errSweeping
	}
	defer a.store.sweeps.Unlock()
	swept, err := a.ledger.Sweep(ctx, now().Add(-time.Duration(a.Keep)))
	if swept.Purchases > 0 {
		a.logger.Info("ledger swept", zap.Int("purchases", swept.Purchases))
	}
	return swept, err
}
