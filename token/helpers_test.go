package token

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a time that only moves when a test says so.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock {
	return &clock{at: time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)}
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// memory is a Store in memory with faults on demand. It runs every edit twice, as a database may.
type memory struct {
	mu     sync.Mutex // guards set, writes and readErr
	set    KeySet
	writes int
	change chan struct{} // holds a value during a transaction

	readErr   error
	writeErr  error  // of beginning a transaction
	commitErr error  // of ending one; nothing is stored
	lost      error  // of ending one; the keys are stored
	onRead    func() // runs between a read and its answer
}

func newMemory(keys ...StoredKey) *memory {
	s := &memory{change: make(chan struct{}, 1)}
	if len(keys) > 0 {
		s.put(keys...)
	}
	return s
}

func (s *memory) Keys(context.Context) (KeySet, error) {
	s.mu.Lock()
	set, err := s.copied(), s.readErr
	s.mu.Unlock()
	if hook := s.onRead; hook != nil {
		hook()
	}
	switch {
	case err != nil:
		return KeySet{}, err
	case set.Installation == "" && len(set.Keys) == 0:
		return KeySet{}, ErrNoKeys
	}
	return set, nil
}

func (s *memory) ChangeKeys(ctx context.Context, edit func(KeySet) ([]StoredKey, error)) (KeySet, error) {
	if s.writeErr != nil {
		return KeySet{}, s.writeErr
	}
	select {
	case s.change <- struct{}{}:
	case <-ctx.Done():
		return KeySet{}, ctx.Err()
	}
	set, err := s.transaction(edit)
	<-s.change
	if err != nil {
		return KeySet{}, err
	}
	return set, s.lost
}

func (s *memory) transaction(edit func(KeySet) ([]StoredKey, error)) (KeySet, error) {
	s.mu.Lock()
	if s.set.Installation == "" && len(s.set.Keys) == 0 {
		s.set.Installation = rand.Text()
	}
	s.mu.Unlock()
	var edited []StoredKey
	var err error
	for range 2 {
		edited, err = edit(s.stored())
	}
	if err == nil {
		err = s.commitErr
	}
	if err != nil {
		return KeySet{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if edited != nil {
		s.writes++
		s.set.Keys = slices.Clone(edited)
		slices.SortFunc(s.set.Keys, func(a, b StoredKey) int { // as the ledger does
			return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
		})
	}
	return s.copied(), nil
}

// copied returns a copy of the set that shares no secret with it.
func (s *memory) copied() KeySet {
	set := KeySet{Installation: s.set.Installation, Keys: slices.Clone(s.set.Keys)}
	for i := range set.Keys {
		set.Keys[i].Secret = bytes.Clone(set.Keys[i].Secret)
	}
	return set
}

func (s *memory) stored() KeySet {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.copied()
}

// put stores keys in the order given.
func (s *memory) put(keys ...StoredKey) { s.putSet(KeySet{installation, keys}) }

func (s *memory) putSet(set KeySet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set = set
}

const installation = "0123456789abcdef"

// fixedKey is a key whose secret is 32 times one byte.
func fixedKey(kid, algorithm string, secret byte, signFrom time.Time) StoredKey {
	return StoredKey{
		ID: kid, Algorithm: algorithm, Secret: bytes.Repeat([]byte{secret}, 32), CreatedAt: signFrom, SignFrom: signFrom,
	}
}

// keyringOf returns a keyring that has loaded the keys.
func keyringOf(t testing.TB, c *clock, keys ...StoredKey) *Keyring {
	t.Helper()
	keyring := NewKeyring(c.now)
	if err := keyring.Refresh(t.Context(), newMemory(keys...)); err != nil {
		t.Fatal(err)
	}
	return keyring
}

// sample is an access that a test sells.
func sample(c *clock) Access {
	return Access{
		Site: site, Pass: "premium", Resource: "*", Purchase: "p1", Device: "d1", Downloads: 3,
		Until: c.now().Add(30 * 24 * time.Hour),
	}
}

const site = "https://example.com"

// craft puts a token together by hand.
func craft(header, claims string, sign func(message []byte) []byte) string {
	message := segment([]byte(header)) + "." + segment([]byte(claims))
	return message + "." + segment(sign([]byte(message)))
}

func segment(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

func hs256(secret []byte) func([]byte) []byte {
	return func(message []byte) []byte {
		mac := hmac.New(sha256.New, secret)
		mac.Write(message)
		return mac.Sum(nil)
	}
}

func eddsa(seed []byte) func([]byte) []byte {
	return func(message []byte) []byte { return ed25519.Sign(ed25519.NewKeyFromSeed(seed), message) }
}

func unsigned([]byte) []byte { return nil }
