// Package node runs the ledger of this process: it opens the database with retries, follows the change feed, and holds
// the cache of purchases and the signing keys. A Node survives configuration reloads.
package node

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"

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

// Metrics counts failures.
type Metrics interface {
	CountLedgerError(operation string)
}

// Options are what a Node needs.
type Options struct {
	Location Location
	Now      func() time.Time
	Metrics  Metrics
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

	starting  sync.Once
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
		Path: o.Location.Path, URL: o.Location.URL, Now: o.Now, Logger: slog.New(slogHandler{n}),
		OnChange: func(purchaseIDs []string, _ bool) { n.Access.Drop(purchaseIDs) },
	})
	n.Access = access.New(access.Options{
		Ledger: n.Ledger, Keys: n.Keys, Now: o.Now, OnKeys: n.refreshKeys,
		OnError: func(err error) {
			n.options.Metrics.CountLedgerError(OperationRead)
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

// keysTimeout is how long requests wait for the keys just after a process has started.
const keysTimeout = 2 * time.Second

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

// KeysReady reports whether the signing keys are loaded. Just after the start it waits for them.
func (n *Node) KeysReady(ctx context.Context) bool {
	if n.Keys.Installation() != "" {
		return true
	}
	select {
	case <-n.Keys.Ready():
		return true
	case <-time.After(keysTimeout - n.options.Now().Sub(n.created)):
	case <-ctx.Done():
	}
	return false
}

// Installation returns the id of the installation. It waits for the keys, as KeysReady does.
func (n *Node) Installation(ctx context.Context) (string, error) {
	if !n.KeysReady(ctx) {
		return "", errors.New("the signing keys are not loaded yet")
	}
	return n.Keys.Installation(), nil
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

// slogHandler writes the ledger's log lines to the logger of the running configuration.
type slogHandler struct{ node *Node }

func (h slogHandler) current() slog.Handler {
	logger := h.node.logger.Load()
	return zapslog.NewHandler(logger.Core(), zapslog.WithName(logger.Name()), zapslog.AddStacktraceAt(slog.LevelError+1))
}

// Enabled implements slog.Handler.
func (h slogHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.current().Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h slogHandler) Handle(ctx context.Context, record slog.Record) error {
	return h.current().Handle(ctx, record)
}

// WithAttrs implements slog.Handler.
func (h slogHandler) WithAttrs(attrs []slog.Attr) slog.Handler { return h.current().WithAttrs(attrs) }

// WithGroup implements slog.Handler.
func (h slogHandler) WithGroup(name string) slog.Handler { return h.current().WithGroup(name) }
