package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/ledger"
)

const (
	startTimeout = 2 * time.Second // how long Caddy's start waits for the database
	openTimeout  = 5 * time.Second
	pollEvery    = time.Second
)

// Start opens the database and follows its change feed, once for all configurations; the logger is used from now on.
// A database that cannot be opened in time does not keep Caddy from starting: each poll tries again.
func (n *Node) Start(logger *zap.Logger) {
	n.logger.Store(logger)
	if n.isStarted.Swap(true) {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.stop = cancel
	tried := make(chan struct{})
	go func() {
		defer close(n.stopped)
		n.poll(ctx)
		close(tried)
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(pollEvery):
				n.poll(ctx)
			}
		}
	}()
	select {
	case <-tried:
	case <-time.After(startTimeout):
	}
}

// poll opens or creates the database if it is not open yet, and reads its change feed.
func (n *Node) poll(ctx context.Context) {
	opening, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	created, err := n.Ledger.Open(opening)
	if created {
		n.logger.Load().Warn("a new ledger was created: it holds no purchases yet", zap.String("database", n.Ledger.Location()))
	}
	failure := "the ledger cannot be opened; nothing is sold, and Axra is asked to send webhooks again"
	if err == nil {
		failure = "the ledger cannot be read; nothing is sold, and known buyers are served during grace"
		err = n.Access.Poll(ctx)
	}
	if err != nil && ctx.Err() == nil {
		n.options.OnError(OperationPoll)
		n.logLimited(failure, err)
	}
}

// CheckReplaces returns an error if the node must not replace the running one: its database belongs to another
// installation, and buyers of the running one would lose access. It creates nothing.
func (n *Node) CheckReplaces(ctx context.Context, running *Node) error {
	installation := running.Keys.Installation()
	if installation == "" {
		return nil // the running ledger was never opened, so it has no buyers
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	purchases, listErr := running.Ledger.List(ctx, ledger.Filter{Limit: 1})
	if len(purchases) == 0 && listErr == nil { // one that cannot be read may hold purchases
		return nil
	}
	found, err := n.findInstallation(ctx)
	if err != nil || found != installation {
		return errors.Join(fmt.Errorf("axra: database %s is not a copy of %s, which is in use and holds purchases: "+
			"stop Caddy to begin anew, or move them with `caddy axra export` and `import`",
			n.Ledger.Location(), running.Ledger.Location()), listErr, err)
	}
	return nil
}

// findInstallation reads the installation's id from the database; empty if it holds no ledger. It creates none.
func (n *Node) findInstallation(ctx context.Context) (string, error) {
	if n.options.Location.URL != "" {
		state, err := ledger.CheckServer(ctx, n.options.Location.URL)
		return state.Installation, err
	}
	if _, err := os.Stat(n.options.Location.Path); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if _, err := n.Ledger.Open(ctx); err != nil {
		return "", err
	}
	set, err := n.Ledger.Keys(ctx)
	if errors.Is(err, ledger.ErrNotFound) {
		return "", nil
	}
	return set.Installation, err
}

// IsStarted reports whether Start was called.
func (n *Node) IsStarted() bool { return n.isStarted.Load() }
