// Package node is the ledger as this process uses it: opened with retries, its change feed followed, and its
// purchases and signing keys remembered. A Node outlives reloads of the configuration.
package node

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/loglimit"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/token"
)

// Location is where the database is: a file, or a URL of PostgreSQL.
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

// Node is the ledger with what this process remembers of it. It is safe for concurrent use.
type Node struct {
	Ledger *ledger.Ledger
	Access *access.Cache
	Keys   *token.Keyring
	// Maintenance is held by a sweep, an import or a restore.
	Maintenance sync.Mutex

	location Location
	now      func() time.Time
	created  time.Time
	metrics  Metrics
	logger   atomic.Pointer[zap.Logger] // of the configuration that was started last
	limit    *loglimit.Limiter

	starting  sync.Once
	isStarted atomic.Bool
	isBroken  atomic.Bool // the database could not be opened
	stop      context.CancelFunc
	stopped   chan struct{}
}

// New returns a node whose database is not opened yet.
func New(o Options) *Node {
	n := &Node{
		Keys: token.NewKeyring(o.Now), location: o.Location, now: o.Now, created: o.Now(), metrics: o.Metrics,
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
			n.metrics.CountLedgerError(OperationRead)
			n.logLimited("the ledger cannot tell whether a purchase is still good; known buyers are served for the time of grace", err)
		},
	})
	return n
}

// Location is where the database is.
func (n *Node) Location() Location { return n.location }

// CanSell returns nil if a payment could be recorded now. Otherwise nothing may be sold.
func (n *Node) CanSell(bounds access.Bounds) error {
	if err := n.Ledger.Err(); err != nil {
		return err
	}
	if !n.Access.IsFresh(bounds.Recheck) {
		return errStaleFeed
	}
	return nil
}

var errStaleFeed = errors.New("the change feed of the ledger was not read lately")

// FeedAge is the time since the change feed was last read; zero before Start.
func (n *Node) FeedAge() time.Duration {
	if !n.isStarted.Load() {
		return 0
	}
	polled := n.Ledger.PolledAt()
	if polled.IsZero() {
		polled = n.created // the database could never be opened
	}
	return n.now().Sub(polled)
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
