package token

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
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

// memory is a Storage in memory with faults on demand.
type memory struct {
	mu      sync.Mutex
	records map[string][]byte
	stores  int
	lock    chan struct{}
	locks   int

	loadErr  error
	storeErr error
	lockErr  error
	garble   bool             // Store keeps other bytes than it was given
	onLock   func(s *memory)  // runs once the lock is taken
	onLoad   func(key string) // runs between a look at the records and its answer
}

func newMemory() *memory {
	return &memory{records: make(map[string][]byte), lock: make(chan struct{}, 1)}
}

func (s *memory) Load(_ context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	err := s.loadErr
	value, ok := s.records[key]
	s.mu.Unlock()
	if s.onLoad != nil {
		s.onLoad(key)
	}
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("%s: %w", key, fs.ErrNotExist)
	}
	return bytes.Clone(value), nil
}

func (s *memory) Store(_ context.Context, key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.storeErr != nil {
		return s.storeErr
	}
	s.stores++
	value = bytes.Clone(value)
	if s.garble {
		value[len(value)/2] ^= 1
	}
	s.records[key] = value
	return nil
}

func (s *memory) Lock(ctx context.Context, _ string) error {
	if s.lockErr != nil {
		return s.lockErr
	}
	select {
	case s.lock <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	s.locks++
	s.mu.Unlock()
	if s.onLock != nil {
		s.onLock(s)
	}
	return nil
}

func (s *memory) Unlock(context.Context, string) error {
	<-s.lock
	return nil
}

func (s *memory) held() bool { return len(s.lock) > 0 }

func (s *memory) raw() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.records[keyringKey])
}

func (s *memory) put(raw string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[keyringKey] = []byte(raw)
}

// fixedKey is a key whose secret is 32 times one byte.
func fixedKey(kid, algorithm string, secret byte, signFrom time.Time) keyRecord {
	return keyRecord{
		ID: kid, Algorithm: algorithm, Secret: bytes.Repeat([]byte{secret}, 32), Created: signFrom, SignFrom: signFrom,
	}
}

func encodeKeyring(t testing.TB, installation string, keys ...keyRecord) string {
	t.Helper()
	raw, err := json.Marshal(keyringRecord{Version: keyringVersion, Installation: installation, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// keyringOf returns a keyring that has loaded the keys.
func keyringOf(t testing.TB, c *clock, keys ...keyRecord) *Keyring {
	t.Helper()
	storage := newMemory()
	storage.put(encodeKeyring(t, "0123456789abcdef", keys...))
	keyring := NewKeyring(c.now)
	if err := keyring.Refresh(t.Context(), storage); err != nil {
		t.Fatal(err)
	}
	return keyring
}

// sample is an access that a test sells.
func sample(c *clock) Access {
	return Access{
		Site: site, Pass: "premium", Resource: "*", Session: "cs_1", Payment: "bpay_1",
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
