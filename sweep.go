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
	defaultKeep = 540 * 24 * time.Hour
	minKeep     = 60 * 24 * time.Hour // late events and disputes are still possible
)

func checkKeep(keep caddy.Duration) error {
	if keep > 0 && time.Duration(keep) < minKeep {
		return fmt.Errorf("keep %s is too short: late events and disputes are still possible: "+
			"write `keep 540d`, at least `keep 60d`, or `keep forever`", time.Duration(keep))
	}
	return nil
}

// sweepRegularly deletes old purchases, a few minutes after the start and then once a day. Several nodes may sweep at
// the same time.
func (a *App) sweepRegularly(ctx context.Context) {
	if a.Keep < 0 {
		return
	}
	for wait := 10 * time.Minute; ; wait = 24 * time.Hour {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait/2 + rand.N(wait)): //nolint:gosec // only spreads the nodes
		}
		if _, err := a.operations().SweepLedger(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, admin.ErrMaintenance) {
			a.logger.Error("old purchases could not be swept; the next sweep will try again", zap.Error(err))
		}
	}
}
