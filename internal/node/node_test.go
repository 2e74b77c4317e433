package node_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/node"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/money"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var bounds = access.Bounds{Recheck: 5 * time.Second, Grace: 10 * time.Minute}

// process is a node with a clock that a test sets forward, and what it counted.
type process struct {
	*node.Node
	t      *testing.T
	offset atomic.Int64
	mu     sync.Mutex
	errors map[string]int // by operation
}

func newProcess(t *testing.T, path string) *process {
	t.Helper()
	p := &process{t: t, errors: make(map[string]int)}
	p.Node = node.New(node.Options{
		Location: node.Location{Path: path}, OnError: p.countError,
		Now: func() time.Time { return time.Now().Add(time.Duration(p.offset.Load())) },
	})
	t.Cleanup(func() {
		if err := p.Destruct(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func (p *process) countError(operation string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.errors[operation]++
}

// open opens the ledger and loads its keys, as Start and EnsureKeys do.
func (p *process) open() *process {
	p.t.Helper()
	if _, err := p.Ledger.Open(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	p.EnsureKeys(p.t.Context(), token.HS256)
	if err := p.Access.Poll(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	return p
}

func (p *process) sell() {
	p.t.Helper()
	price, err := money.Parse("5.00", "usd")
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.Ledger.RecordPayment(p.t.Context(), ledger.Payment{
		SessionID: "cs_1", PaymentIDs: []string{"bpay_1"}, Source: ledger.FromAxra, Paid: price, PaidAt: time.Now(),
		Terms: terms.Terms{Installation: p.Keys.Installation(), Site: "https://example.com", Pass: "month", Resource: "*", Price: price, Access: terms.Forever},
	}); err != nil {
		p.t.Fatal(err)
	}
}

func pathIn(t *testing.T) string { return filepath.Join(t.TempDir(), "ledger.db") }

// D3: nothing is sold while the change feed was not read lately.
func TestD3NothingIsSoldWithoutAFreshFeed(t *testing.T) {
	t.Parallel()
	p := newProcess(t, pathIn(t))
	if p.CanSell(bounds) == nil {
		t.Error("a ledger that was never opened can sell")
	}
	p.open()
	if err := p.CanSell(bounds); err != nil {
		t.Errorf("a fresh ledger cannot sell: %v", err)
	}
	p.offset.Store(int64(bounds.Recheck + time.Second))
	if p.CanSell(bounds) == nil {
		t.Error("a stale feed can sell")
	}
	if err := p.Access.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.CanSell(bounds); err != nil {
		t.Errorf("after the next poll it cannot sell: %v", err)
	}
}

func TestStartOpensTheLedgerAndFollowsIt(t *testing.T) {
	t.Parallel()
	p := newProcess(t, pathIn(t))
	if p.IsStarted() || p.FeedAge() != 0 {
		t.Errorf("started %t, feed of %s before the start", p.IsStarted(), p.FeedAge())
	}
	core, logged := observer.New(zap.InfoLevel)
	p.Start(zap.New(core))
	p.Start(zap.New(core)) // of the next configuration
	if err := p.CanSell(bounds); err != nil {
		t.Error(err)
	}
	if lines := logged.FilterMessageSnippet("a new ledger was created").Len(); lines != 1 {
		t.Errorf("%d lines say that the ledger is new", lines)
	}
	if age := p.FeedAge(); !p.IsStarted() || age > time.Minute {
		t.Errorf("started %t, feed of %s", p.IsStarted(), age)
	}
}

func TestALedgerThatCannotBeOpenedDoesNotKeepCaddyFromStarting(t *testing.T) {
	t.Parallel()
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := newProcess(t, filepath.Join(blocked, "ledger.db"))
	core, logged := observer.New(zap.InfoLevel)
	p.Start(zap.New(core))
	if p.CanSell(bounds) == nil {
		t.Error("it can sell")
	}
	p.offset.Store(int64(time.Hour))
	if p.FeedAge() < time.Hour {
		t.Errorf("the feed is %s old", p.FeedAge())
	}
	if lines := logged.FilterMessageSnippet("cannot be opened").Len(); lines != 1 {
		t.Errorf("%d lines say so", lines)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Installation(ctx); err == nil {
		t.Error("it knows its installation")
	}
}

// K2: a reload does not leave the purchases for another ledger.
func TestK2AnotherLedgerDoesNotReplaceOneWithPurchases(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sells   bool
		prepare func(t *testing.T, running *process, path string)
		refused bool
	}{
		"purchases, and a new file":     {true, func(*testing.T, *process, string) {}, true},
		"purchases, and another ledger": {true, func(t *testing.T, _ *process, path string) { newProcess(t, path).open() }, true},
		"purchases, and a copy": {true, func(t *testing.T, running *process, path string) {
			var backup bytes.Buffer
			if err := running.Ledger.Export(t.Context(), &backup); err != nil {
				t.Fatal(err)
			}
			if _, err := newProcess(t, path).open().Ledger.Import(t.Context(), &backup); err != nil {
				t.Fatal(err)
			}
		}, false},
		"no purchases": {false, func(t *testing.T, _ *process, path string) { newProcess(t, path).open() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			running := newProcess(t, pathIn(t)).open()
			if c.sells {
				running.sell()
			}
			path := pathIn(t)
			c.prepare(t, running, path)
			err := newProcess(t, path).CheckReplaces(t.Context(), running.Node)
			if (err != nil) != c.refused {
				t.Errorf("refused %v, want %t", err, c.refused)
			}
			if err != nil && !strings.Contains(err.Error(), "stop Caddy to begin anew") {
				t.Errorf("no fix: %v", err)
			}
		})
	}
	t.Run("a running ledger that was never opened", func(t *testing.T) {
		t.Parallel()
		if err := newProcess(t, pathIn(t)).CheckReplaces(t.Context(), newProcess(t, pathIn(t)).Node); err != nil {
			t.Error(err)
		}
	})
}

// K4: two nodes have one set of keys, also after an operator has changed it.
func TestK4NodesShareTheirKeys(t *testing.T) {
	t.Parallel()
	path := pathIn(t)
	a, b := newProcess(t, path).open(), newProcess(t, path).open()
	installation, err := b.Installation(t.Context())
	if err != nil || installation == "" || installation != a.Keys.Installation() || !a.KeysReady(t.Context()) {
		t.Errorf("installations %q and %q, %v", installation, a.Keys.Installation(), err)
	}
	old := a.Keys.List(token.HS256)[0].ID
	added, err := a.Keys.Rotate(t.Context(), a.Ledger, token.HS256)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Keys.Remove(t.Context(), a.Ledger, old, token.HS256); err != nil {
		t.Fatal(err)
	}
	if err := a.Keys.Remove(t.Context(), a.Ledger, "none", token.HS256); !errors.Is(err, token.ErrUnknownKey) {
		t.Errorf("removing a key that there is not: %v", err)
	}
	if b.Keys.Knows(added) || !b.Keys.Knows(old) {
		t.Fatal("the other node knows already: this proves nothing")
	}
	if err := b.Access.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !b.Keys.Knows(added) || b.Keys.Knows(old) {
		t.Error("the other node does not read of the change in the feed")
	}
	if err := b.Reload(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAnEmptyLedgerHasNoKeys(t *testing.T) {
	t.Parallel()
	p := newProcess(t, pathIn(t))
	if _, err := p.Ledger.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	store := p.Ledger
	if _, err := store.Keys(t.Context()); !errors.Is(err, token.ErrNoKeys) {
		t.Errorf("%v", err)
	}
	if err := p.Access.Poll(t.Context()); err != nil {
		t.Errorf("the first poll, before the keys are made: %v", err)
	}
}

// The ledger's log lines go to the configuration that was started last.
func TestTheLedgerLogsToTheRunningConfiguration(t *testing.T) {
	t.Parallel()
	p := newProcess(t, pathIn(t))
	before, linesBefore := observer.New(zap.InfoLevel)
	after, linesAfter := observer.New(zap.InfoLevel)
	p.Start(zap.New(before))
	p.Start(zap.New(after))
	if err := os.Remove(p.Ledger.Path()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Ledger.Poll(t.Context(), ledger.Position{}); err == nil {
		t.Fatal("a ledger without its file can be read")
	}
	const message = "the ledger cannot be used: nothing is sold until it recovers"
	if linesBefore.FilterMessage(message).Len() != 0 || linesAfter.FilterMessage(message).Len() != 1 {
		t.Errorf("logged %v, then %v", linesBefore.All(), linesAfter.All())
	}
}
