package access

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const site = "https://example.com"

var bounds = Bounds{Recheck: 5 * time.Second, Grace: 10 * time.Minute}

// node is a Cache with a real keyring, a fake ledger and a clock that moves only when a test says so.
type node struct {
	*Cache
	t       testing.TB
	now     func() time.Time
	advance func(time.Duration)
	ledger  *fakeLedger
	store   *keyStore
	keyring *token.Keyring
	keysErr error   // of OnKeys
	errs    []error // that OnError was told
	errsMu  sync.Mutex
}

// newNode returns a node that has polled once.
func newNode(t testing.TB) *node {
	at := new(atomic.Int64)
	at.Store(time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC).UnixNano())
	n := newNodeAt(t, func() time.Time { return time.Unix(0, at.Load()) }, func(d time.Duration) { at.Add(int64(d)) })
	n.mustPoll()
	return n
}

// newBubbleNode is newNode in a bubble of synctest, whose clock it uses.
func newBubbleNode(t testing.TB) *node {
	n := newNodeAt(t, time.Now, time.Sleep)
	n.mustPoll()
	return n
}

// newSeller returns a node that has polled once, and the token of a purchase that it has sold to a phone.
func newSeller(t testing.TB) (*node, *Token) {
	n := newNode(t)
	return n, n.verify(n.sell("1", "phone"))
}

// inBubble runs a test of a seller in a bubble of synctest.
func inBubble(t *testing.T, test func(t *testing.T, n *node, known *Token)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := newBubbleNode(t)
		test(t, n, n.verify(n.sell("1", "phone")))
	})
}

func newNodeAt(t testing.TB, now func() time.Time, advance func(time.Duration)) *node {
	t.Helper()
	n := &node{t: t, now: now, advance: advance, ledger: newFakeLedger(), store: &keyStore{}, keyring: token.NewKeyring(now)}
	if err := n.keyring.Ensure(t.Context(), n.store, token.HS256); err != nil {
		t.Fatal(err)
	}
	n.Cache = New(Options{
		Ledger: n.ledger, Keys: n.keyring, Now: now,
		OnKeys: func(ctx context.Context) error {
			if n.keysErr != nil {
				return n.keysErr
			}
			return n.keyring.Refresh(ctx, n.store)
		},
		OnError: func(err error) {
			n.errsMu.Lock()
			defer n.errsMu.Unlock()
			n.errs = append(n.errs, err)
		},
	})
	t.Cleanup(n.Close)
	return n
}

func (n *node) mustPoll() {
	n.t.Helper()
	if err := n.Poll(context.Background()); err != nil {
		n.t.Fatal(err)
	}
}

// pass lets time pass, with a poll a second as Follow has it.
func (n *node) pass(d time.Duration) {
	for ; d > 0; d -= time.Second {
		n.advance(min(d, time.Second))
		_ = n.Poll(context.Background())
	}
}

// sell stores an active purchase of a year for a device, and returns its access token.
func (n *node) sell(id, device string) (raw string) {
	n.t.Helper()
	end := n.now().Add(365 * 24 * time.Hour)
	n.ledger.edit(id, func(h *ledger.Holding) {
		h.Status, h.EndsAt, h.DeviceIDs = ledger.Active, end, append(h.DeviceIDs, device)
	})
	return n.sign(token.Access{
		Site: site, Pass: "premium", Resource: "*", Purchase: id, Device: device, Downloads: 2, Until: end,
	}, token.HS256)
}

func (n *node) sign(granted token.Access, algorithm string) string {
	n.t.Helper()
	raw, _, err := n.keyring.SignAccess(granted, algorithm)
	if err != nil {
		n.t.Fatal(err)
	}
	return raw
}

// linkOf is the token of a private address of a purchase.
func (n *node) linkOf(id string, life time.Duration) (raw string) {
	n.t.Helper()
	raw, err := n.keyring.Sign(token.Link, jwt.RegisteredClaims{
		ID: id, Subject: site + "/feed", ExpiresAt: jwt.NewNumericDate(n.now().Add(life)),
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return raw
}

func (n *node) verify(raw string) *Token {
	n.t.Helper()
	known, err := n.Verify(raw, site, n.now())
	if err != nil {
		n.t.Fatal(err)
	}
	return known
}

func (n *node) verifyLink(raw, site string) (*Token, error) {
	return n.VerifyLink(raw, site, func() (token.Access, string, error) {
		var claims jwt.RegisteredClaims
		kid, err := n.keyring.Verify(token.Link, raw, &claims)
		if err != nil {
			return token.Access{}, "", err
		}
		return token.Access{
			Site: site, Pass: "premium", Resource: "*", Purchase: claims.ID, Key: kid, Expires: claims.ExpiresAt.Time,
		}, claims.Subject, nil
	})
}

// judge is a request.
func (n *node) judge(known *Token) Decision {
	return n.Judge(context.Background(), known, n.now(), bounds)
}

// wantDecision makes a request.
func (n *node) wantDecision(what string, known *Token, want Decision) {
	n.t.Helper()
	if got := n.judge(known); got != want {
		n.t.Errorf("%s: decision %s, want %s", what, names[got], names[want])
	}
}

// wantReads checks how many readings there were since the last check.
func (n *node) wantReads(what string, want int64) {
	n.t.Helper()
	if got := n.ledger.reads.Swap(0); got != want {
		n.t.Errorf("%s: %d readings, want %d", what, got, want)
	}
}

var names = map[Decision]string{None: "None", Open: "Open", Closed: "Closed", Unknown: "Unknown"}

// fakeLedger is a Ledger in memory that counts, fails and waits on demand.
type fakeLedger struct {
	mu        sync.Mutex // guards the fields up to the next line
	purchases map[string]ledger.Holding
	feed      []string // purchase ids, "" where the keys changed
	readErr   error
	pollErr   error
	positions []ledger.Position // that were asked from

	all     atomic.Bool   // the next poll says that everything may have changed
	hold    chan struct{} // if set, readings wait until it is closed, with what they have found
	reads   atomic.Int64
	polls   atomic.Int64
	running atomic.Int64
	most    atomic.Int64 // readings that ran at a time
}

func newFakeLedger() *fakeLedger { return &fakeLedger{purchases: make(map[string]ledger.Holding)} }

var errDown = fmt.Errorf("%w: the disk is gone", ledger.ErrUnavailable)

// edit changes a purchase, and tells nobody.
func (l *fakeLedger) edit(id string, change func(*ledger.Holding)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.purchases[id]
	h.ID = id
	change(&h)
	l.purchases[id] = h
}

// tell adds a change to the feed.
func (l *fakeLedger) tell(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.feed = append(l.feed, id)
}

// set changes the status of a purchase as another node does.
func (l *fakeLedger) set(id string, status ledger.Status) {
	l.edit(id, func(h *ledger.Holding) { h.Status = status })
	l.tell(id)
}

func (l *fakeLedger) failReads(err error) { l.mu.Lock(); defer l.mu.Unlock(); l.readErr = err }
func (l *fakeLedger) failPolls(err error) { l.mu.Lock(); defer l.mu.Unlock(); l.pollErr = err }

func (l *fakeLedger) Holding(_ context.Context, id string) (ledger.Holding, error) {
	l.reads.Add(1)
	running := l.running.Add(1)
	defer l.running.Add(-1)
	for most := l.most.Load(); running > most && !l.most.CompareAndSwap(most, running); most = l.most.Load() {
	}
	l.mu.Lock()
	found, ok := l.purchases[id]
	err, hold := l.readErr, l.hold
	l.mu.Unlock()
	if hold != nil {
		<-hold
	}
	switch {
	case err != nil:
		return ledger.Holding{}, err
	case !ok:
		return ledger.Holding{}, ledger.ErrNotFound
	}
	return found, nil
}

func (l *fakeLedger) HoldingOfSession(ctx context.Context, sessionID string) (ledger.Holding, error) {
	return l.Holding(ctx, "of "+sessionID)
}

func (l *fakeLedger) Poll(ctx context.Context, since ledger.Position) (ledger.Changes, error) {
	l.polls.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.positions = append(l.positions, since)
	if err := errors.Join(l.pollErr, ctx.Err()); err != nil {
		return ledger.Changes{}, err
	}
	changes := ledger.Changes{Position: ledger.Position{Seq: int64(len(l.feed)), Nonce: "n"}}
	if l.all.Swap(false) {
		changes.All = true
		return changes, nil
	}
	for _, id := range l.feed[since.Seq:] {
		if id == "" {
			changes.Keys = true
		} else {
			changes.PurchaseIDs = append(changes.PurchaseIDs, id)
		}
	}
	return changes, nil
}

// holdReads makes readings wait until release is called.
func (l *fakeLedger) holdReads() (release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	hold := make(chan struct{})
	l.hold = hold
	return sync.OnceFunc(func() { close(hold) })
}

// letReads makes readings that begin from now on wait no more.
func (l *fakeLedger) letReads() { l.mu.Lock(); defer l.mu.Unlock(); l.hold = nil }

// keyStore is a token.Store in memory.
type keyStore struct {
	mu  sync.Mutex
	set token.KeySet
}

func (s *keyStore) Keys(context.Context) (token.KeySet, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.set.Keys) == 0 {
		return token.KeySet{}, token.ErrNoKeys
	}
	return s.set, nil
}

func (s *keyStore) ChangeKeys(_ context.Context, edit func(token.KeySet) ([]token.StoredKey, error)) (token.KeySet, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set.Installation = "installation"
	keys, err := edit(s.set)
	if err == nil && keys != nil {
		s.set.Keys = keys
	}
	return s.set, err
}

// anotherNode is the keyring of another node of the same installation.
func (n *node) anotherNode() *token.Keyring {
	n.t.Helper()
	other := token.NewKeyring(n.now)
	if err := other.Refresh(n.t.Context(), n.store); err != nil {
		n.t.Fatal(err)
	}
	return other
}
