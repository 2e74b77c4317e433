// Package accesstest gives tests an access cache with real keys, on a ledger in memory and a clock that stands still.
package accesstest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/token"
)

// Site is the origin of the tokens that Sell issues.
const Site = "https://example.com"

// Device is the device that uses the purchases of Sell.
const Device = "phone"

// Bounds are those of an ordinary configuration.
var Bounds = access.Bounds{Recheck: 5 * time.Second, Grace: 10 * time.Minute}

// Node is what one machine knows.
type Node struct {
	*Ledger
	Cache *access.Cache
	Keys  *token.Keyring

	t  testing.TB
	mu sync.Mutex
	at time.Time
}

// New returns a node that has read its ledger once.
func New(t testing.TB) *Node {
	t.Helper()
	n := &Node{t: t, Ledger: &Ledger{purchases: make(map[string]ledger.Holding)}, at: time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)}
	n.Keys = token.NewKeyring(n.Now)
	store := &keyStore{}
	if err := n.Keys.Ensure(t.Context(), store, token.HS256); err != nil {
		t.Fatal(err)
	}
	n.Cache = access.New(access.Options{
		Ledger: n.Ledger, Keys: n.Keys, Now: n.Now,
		OnKeys:  func(ctx context.Context) error { return n.Keys.Refresh(ctx, store) },
		OnError: func(error) {},
	})
	t.Cleanup(n.Cache.Close)
	n.Poll()
	return n
}

// Now is the time of the node.
func (n *Node) Now() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.at
}

// Pass lets time go by without a poll of the change feed.
func (n *Node) Pass(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.at = n.at.Add(d)
}

// Poll reads the change feed.
func (n *Node) Poll() {
	n.t.Helper()
	if err := n.Cache.Poll(context.Background()); err != nil {
		n.t.Fatal(err)
	}
}

// Sell stores an active purchase without expiry, as changed by edit, and returns its access token.
func (n *Node) Sell(product, resource string, edit ...func(*ledger.Holding)) (raw string) {
	n.t.Helper()
	h := ledger.Holding{DeviceIDs: []string{Device}}
	h.ID, h.Site, h.Product, h.Resource, h.Status = fmt.Sprintf("purchase %d", n.size()+1), Site, product, resource, ledger.Active
	for _, change := range edit {
		change(&h)
	}
	n.Set(h)
	raw, _, err := n.Keys.SignAccess(n.Access(h), token.HS256)
	if err != nil {
		n.t.Fatal(err)
	}
	return raw
}

// Access is what the access token of a purchase says.
func (n *Node) Access(h ledger.Holding) token.Access {
	return token.Access{
		Site: h.Site, Pass: h.Product, Resource: h.Resource, Purchase: h.ID, Device: Device, Downloads: h.DownloadLimit, Until: h.EndsAt,
	}
}

// Token verifies a token of the site.
func (n *Node) Token(raw string) *access.Token {
	n.t.Helper()
	known, err := n.Cache.Verify(raw, Site, n.Now())
	if err != nil {
		n.t.Fatal(err)
	}
	return known
}

// Refund refunds the purchase of a token, and tells the node.
func (n *Node) Refund(id string) {
	n.t.Helper()
	h, err := n.Holding(context.Background(), id)
	if err != nil {
		n.t.Fatal(err)
	}
	h.Status = ledger.Refunded
	n.Set(h)
	n.Cache.Drop([]string{id})
}

// Ledger is a ledger in memory, which fails on demand.
type Ledger struct {
	mu        sync.Mutex
	purchases map[string]ledger.Holding
	err       error
}

// Set stores a purchase.
func (l *Ledger) Set(h ledger.Holding) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.purchases[h.ID] = h
}

// Fail makes every reading of a purchase fail, unless the error is nil.
func (l *Ledger) Fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

func (l *Ledger) size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.purchases)
}

// Holding serves access.Ledger.
func (l *Ledger) Holding(_ context.Context, id string) (ledger.Holding, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h, ok := l.purchases[id]
	switch {
	case l.err != nil:
		return ledger.Holding{}, l.err
	case !ok:
		return ledger.Holding{}, ledger.ErrNotFound
	}
	return h, nil
}

// HoldingOfSession serves access.Ledger.
func (l *Ledger) HoldingOfSession(ctx context.Context, sessionID string) (ledger.Holding, error) {
	return l.Holding(ctx, ledger.PurchaseID(sessionID))
}

// Poll serves access.Ledger: it tells of no change.
func (l *Ledger) Poll(context.Context, ledger.Position) (ledger.Changes, error) {
	return ledger.Changes{}, nil
}

// keyStore is a token.Store in memory.
type keyStore struct{ set token.KeySet }

func (s *keyStore) Keys(context.Context) (token.KeySet, error) { return s.set, nil }

func (s *keyStore) ChangeKeys(_ context.Context, edit func(token.KeySet) ([]token.StoredKey, error)) (token.KeySet, error) {
	s.set.Installation = "installation"
	keys, err := edit(s.set)
	if err == nil && keys != nil {
		s.set.Keys = keys
	}
	return s.set, err
}
