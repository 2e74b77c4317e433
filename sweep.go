package paywall

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/admin"
)

// How long purchases are kept after their access has ended.
const (
	DefaultKeep = 540 * 24 * time.Hour
	minKeep     = 60 * 24 * time.Hour // events may still come, and disputes be opened
)

const sweepInterval = 24 * time.Hour

func checkKeep(keep caddy.Duration) error {
	if keep > 0 && time.Duration(keep) < minKeep {
		return fmt.Errorf("keep %s is too short: events may still come, and disputes be opened: "+
			"write `keep 540d`, at least `keep 60d`, or `keep forever`", time.Duration(keep))
	}
	return nil
}

// sweepRegularly deletes old purchases, first some minutes after the start, then once a day. Several nodes may do so
// at once.
func (a *App) sweepRegularly(ctx context.Context) {
	if a.Keep < 0 {
		return
	}
	for wait := 10 * time.Minute; ; wait = sweepInterval {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait/2 + rand.N(wait)): //nolint:gosec // only spreads the nodes
		}
		if _, err := a.operations().SweepLedger(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, admin.ErrMaintenance) {
			a.logger.Error("the ledger could not be swept; it will be tried again", zap.Error(err))
		}
	}
}
