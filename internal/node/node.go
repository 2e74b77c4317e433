// Package node runs the ledger of this process: it opens the database with retries, follows the change feed, and holds
// the cache of purchases and the signing keys. A Node survives configuration reloads.
package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/loglimit"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/token"
)

// Location is the address of the database: a file, or the URL of a PostgreSQL server.
type Location struct{ Path, URL string }

// Operations of the ledger that may fail.
const (
	OperationPoll  = "poll"  // of the change feed
	OperationRead  = "read"  // of a purchase
	OperationWrite = "write" // of a webhook
)

// Options are what a Node needs.
type Options struct {
	Location Location
	Now      func() time.Time
	OnError  func(operation string) // counts failures
}

// Node is the ledger with this process's cache of it. It is safe for concurrent use.
type Node struct {
	Ledger *ledger.Ledger
	Access *access.Cache
	Keys   *token.Keyring
	// Maintenance is locked during a sweep, an import or a restore.
	Maintenance sync.Mutex

	options Options
	created time.Time
	logger  atomic.Pointer[zap.Logger] // of the configuration that was started last
	limit   *loglimit.Limiter

	isStarted atomic.Bool
	stop      context.CancelFunc
	stopped   chan struct{}
}

// New returns a node whose database is not opened yet.
func New(o Options) *Node {
	n := &Node{
		Keys: token.NewKeyring(o.Now), options: o, created: o.Now(),
		limit: loglimit.New(o.Now), stopped: make(chan struct{}),
	}
	n.logger.Store(zap.NewNop())
	n.Ledger = ledger.New(ledger.Options{
		Path: o.Location.Path, URL: o.Location.URL, Now: o.Now, Log: n.logLedger,
		OnChange: func(purchaseIDs []string, _ bool) { n.Access.Drop(purchaseIDs) },
	})
	n.Access = access.New(access.Options{
		Ledger: n.Ledger, Keys: n.Keys, Now: o.Now, OnKeys: n.refreshKeys,
		OnError: func(err error) {
			n.options.OnError(OperationRead)
			n.logLimited("a purchase cannot be read from the ledger; known buyers are served during grace", err)
		},
	})
	return n
}

// Location returns the address of the database.
func (n *Node) Location() Location { return n.options.Location }

// CanSell returns nil if a payment could be recorded now. Otherwise nothing may be sold.
func (n *Node) CanSell(bounds access.Bounds) error {
	if err := n.Ledger.Err(); err != nil {
		return err
	}
	if !n.Access.IsFresh(bounds.Recheck) {
		return errors.New("the ledger's change feed has not been read recently")
	}
	return nil
}

// FeedAge returns the time since the change feed was last read; zero before Start.
func (n *Node) FeedAge() time.Duration {
	if !n.isStarted.Load() {
		return 0
	}
	return min(n.Access.Age(), n.options.Now().Sub(n.created)) // the database may never have been opened
}

// EnsureKeys makes sure that a signing key of the algorithm exists. It retries until the context ends.
func (n *Node) EnsureKeys(ctx context.Context, algorithm string) {
	for {
		err := n.Keys.Ensure(ctx, n.Ledger, algorithm)
		if err == nil || ctx.Err() != nil {
			return
		}
		n.logLimited("the signing keys cannot be read or created", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

// keysTimeout is how long requests wait for the keys just after a process has started.
const keysTimeout = 2 * time.Second

// Installation returns the id of the installation. Just after the start it waits for the keys.
func (n *Node) Installation(ctx context.Context) (string, error) {
	if n.Keys.Installation() == "" {
		select {
		case <-n.Keys.Ready():
		case <-time.After(keysTimeout - n.options.Now().Sub(n.created)):
			return "", errors.New("the signing keys are not loaded yet")
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	return n.Keys.Installation(), nil
}

// KeysReady reports whether the signing keys are loaded. It waits as Installation does.
func (n *Node) KeysReady(ctx context.Context) bool {
	_, err := n.Installation(ctx)
	return err == nil
}

// Reload reads the keys and the change feed again after the ledger was replaced.
func (n *Node) Reload(ctx context.Context) error {
	return errors.Join(n.Keys.Refresh(ctx, n.Ledger), n.Access.Poll(ctx))
}

// refreshKeys reads the keys after a change in the change feed.
func (n *Node) refreshKeys(ctx context.Context) error {
	if err := n.Keys.Refresh(ctx, n.Ledger); !errors.Is(err, token.ErrNoKeys) { // EnsureKeys is about to create them
		return err
	}
	return nil
}

// Destruct ends the background work and closes the database.
func (n *Node) Destruct() error {
	if n.stop != nil {
		n.stop()
		<-n.stopped
	}
	n.Access.Close()
	return n.Ledger.Close()
}

// logLimited logs an error, at most once a minute per message.
func (n *Node) logLimited(message string, err error) {
	n.limit.Error(n.logger.Load(), message, zap.Error(err))
}

// logLedger writes what the ledger says of its state to the logger of the running configuration.
func (n *Node) logLedger(message string, err error) {
	logger := n.logger.Load().With(zap.String("database", n.Ledger.Location()))
	if err == nil {
		logger.Info(message)
	} else {
		logger.Error(message, zap.Error(err))
	}
}

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
