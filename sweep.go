package paywall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/ledger"
)

const (
	// sweepEvery: a sweep reads every record, and what it finds has ended long ago.
	sweepEvery = 7 * 24 * time.Hour
	// sweepCheck is how often a node looks whether a sweep is due.
	sweepCheck = time.Hour
	// sweptKey holds when the last sweep was, of whichever node.
	sweptKey = "axra/swept.json"
)

// sweptRecord says when the ledger was swept last.
type sweptRecord struct {
	Version int       `json:"v"`
	At      time.Time `json:"at"`
}

func checkKeep(keep caddy.Duration) error {
	if keep > 0 && time.Duration(keep) < ledger.MinKeep {
		return fmt.Errorf("keep %s is too short: events may still come, and disputes be opened: write `keep 540d`, at least `keep 60d`, or `keep forever`", time.Duration(keep))
	}
	return nil
}

// keepSwept sweeps the ledger now and then. Nodes that share it take turns by chance:
// who begins says so, and two that begin at once do no harm.
func (a *App) keepSwept(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(sweepCheck/2 + rand.N(sweepCheck)): //nolint:gosec // only spreads the nodes
		}
		if err := a.sweepIfDue(ctx); err != nil && ctx.Err() == nil {
			a.logger.Error("the ledger could not be swept; it will be tried again", zap.Error(err))
		}
	}
}

func (a *App) sweepIfDue(ctx context.Context) error {
	if a.Keep < 0 {
		return nil
	}
	raw, err := a.storage.Load(ctx, sweptKey)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading when the ledger was swept last: %w", err)
	}
	var last sweptRecord
	_ = json.Unmarshal(raw, &last) // garbled: a sweep too many
	if now().Sub(last.At) < sweepEvery {
		return nil
	}
	raw, err = json.Marshal(sweptRecord{Version: 1, At: now().UTC().Truncate(time.Second)})
	if err != nil {
		return err
	}
	if err := a.storage.Store(ctx, sweptKey, raw); err != nil {
		return fmt.Errorf("noting that the ledger is being swept: %w", err)
	}
	_, err = a.sweep(ctx)
	return err
}

// sweep deletes what has ended long ago.
func (a *App) sweep(ctx context.Context) (ledger.Swept, error) {
	if a.Keep < 0 {
		return ledger.Swept{}, errors.New("with `keep forever` nothing is swept")
	}
	swept, err := a.archive.Sweep(ctx, now(), time.Duration(a.Keep))
	if swept.Deleted > 0 {
		a.logger.Info("ledger swept", zap.Int("purchases", swept.Purchases), zap.Int("records", swept.Deleted), zap.Int("kept", swept.Kept))
	}
	return swept, err
}
