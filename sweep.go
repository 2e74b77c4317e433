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
	// sweepAgain is how long a sweep is left to whoever began it.
	sweepAgain = time.Hour
	// sweepCheck is how often a node looks whether a sweep is due, and sweepFirst when it
	// does so first.
	sweepCheck = time.Hour
	sweepFirst = 5 * time.Minute
	// sweptKey holds when the ledger was swept last, by whichever node.
	sweptKey = "axra/swept.json"
)

// errKeeping: only one of them at a time.
var errKeeping = errors.New("a sweep or an import is under way: try again when it has ended")

// sweptRecord says when the ledger was swept last.
type sweptRecord struct {
	Version int       `json:"v"`
	Started time.Time `json:"started"`
	Done    time.Time `json:"done,omitzero"` // the last one that came to its end
	// Keep is the shortest time, in seconds, for which records were ever kept: what is
	// older may have been swept.
	Keep int64 `json:"keep,omitempty"`
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
	for wait := sweepFirst; ; wait = sweepCheck {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait/2 + rand.N(wait)): //nolint:gosec // only spreads the nodes
		}
		if err := a.sweepIfDue(ctx); err != nil && ctx.Err() == nil {
			a.logger.Error("the ledger could not be swept; it will be tried again", zap.Error(err))
		}
	}
}

// sweepIfDue sweeps where the last sweep was long ago. One that did not come to its end
// is begun again by any node.
func (a *App) sweepIfDue(ctx context.Context) error {
	if a.Keep < 0 {
		return nil
	}
	last, err := a.lastSweep(ctx)
	if err != nil {
		return err
	}
	if at := now(); at.Sub(last.Done) < sweepEvery || at.Sub(last.Started) < sweepAgain {
		return nil
	}
	if _, err = a.sweep(ctx); errors.Is(err, errKeeping) {
		return nil
	}
	return err
}

// lastSweep reads when the ledger was swept last.
func (a *App) lastSweep(ctx context.Context) (sweptRecord, error) {
	ctx, cancel := context.WithTimeout(ctx, ledger.DefaultTimeout)
	defer cancel()
	raw, err := a.storage.Load(ctx, sweptKey)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return sweptRecord{}, fmt.Errorf("reading when the ledger was swept last: %w", err)
	}
	var last sweptRecord
	_ = json.Unmarshal(raw, &last) // garbled: a sweep too many
	return last, nil
}

func (a *App) noteSweep(ctx context.Context, record sweptRecord) error {
	record.Version = 1
	raw, err := json.Marshal(record)
	if err != nil {
		return err
	}
	if err := a.storage.Store(ctx, sweptKey, raw); err != nil {
		return fmt.Errorf("noting that the ledger is swept: %w", err)
	}
	return nil
}

// sweep deletes what has ended long ago. What it may delete is noted first.
func (a *App) sweep(ctx context.Context) (ledger.Swept, error) {
	if a.Keep < 0 {
		return ledger.Swept{}, errors.New("with `keep forever` nothing is swept")
	}
	if !a.shared.keeping.TryLock() {
		return ledger.Swept{}, errKeeping
	}
	defer a.shared.keeping.Unlock()
	record, err := a.lastSweep(ctx)
	if err != nil {
		return ledger.Swept{}, err
	}
	record.Started = now().UTC().Truncate(time.Second)
	if keep := int64(time.Duration(a.Keep) / time.Second); record.Keep == 0 || keep < record.Keep {
		record.Keep = keep
	}
	if err := a.noteSweep(ctx, record); err != nil {
		return ledger.Swept{}, err
	}
	swept, err := a.archive.Sweep(ctx, now(), time.Duration(a.Keep))
	if swept.Deleted > 0 {
		a.logger.Info("ledger swept", zap.Int("purchases", swept.Purchases), zap.Int("records", swept.Deleted), zap.Int("kept", swept.Kept))
	}
	if err != nil {
		return swept, err
	}
	record.Done = now().UTC().Truncate(time.Second)
	return swept, a.noteSweep(ctx, record)
}

// holdSweeps keeps all nodes from sweeping for a while, this one until it is released.
func (a *App) holdSweeps(ctx context.Context) (release func(), err error) {
	if !a.shared.keeping.TryLock() {
		return nil, errKeeping
	}
	record, err := a.lastSweep(ctx)
	if err == nil {
		record.Started = now().UTC().Truncate(time.Second)
		err = a.noteSweep(ctx, record)
	}
	if err != nil {
		a.shared.keeping.Unlock()
		return nil, err
	}
	return a.shared.keeping.Unlock, nil
}

// noSalesBefore: a time before there was this plugin is a clock that is wrong.
var noSalesBefore = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// maySweep reports whether what an event of a time was about may have been swept.
func (a *App) maySweep(ctx context.Context, stated time.Time) (bool, error) {
	age := now().Sub(stated)
	if age <= ledger.MinKeep || stated.Before(noSalesBefore) {
		return false, nil
	}
	last, err := a.lastSweep(ctx)
	return last.Keep > 0 && age > time.Duration(last.Keep)*time.Second, err
}
