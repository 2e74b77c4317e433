package token

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func ensured(t *testing.T, c *clock, storage Storage, algorithms ...string) *Keyring {
	t.Helper()
	keyring := NewKeyring(c.now)
	for _, algorithm := range algorithms {
		if err := keyring.Ensure(t.Context(), storage, algorithm); err != nil {
			t.Fatal(err)
		}
	}
	return keyring
}

func signed(t *testing.T, keyring *Keyring, a Access, algorithm string) string {
	t.Helper()
	raw, _, err := keyring.SignAccess(a, algorithm)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// kidAndAlgorithm reads a token's header without checking anything.
func kidAndAlgorithm(t *testing.T, raw string) (kid, algorithm string) {
	t.Helper()
	parsed, _, err := jwt.NewParser().ParseUnverified(raw, jwt.MapClaims{})
	if err != nil {
		t.Fatal(err)
	}
	kid, _ = parsed.Header["kid"].(string)
	return kid, parsed.Method.Alg()
}

func TestSignedIsVerified(t *testing.T) {
	for _, algorithm := range []string{HS256, EdDSA} {
		t.Run(algorithm, func(t *testing.T) {
			c := newClock()
			keyring := ensured(t, c, newMemory(), algorithm)
			c.advance(700 * time.Millisecond) // no whole second: only those travel
			raw, given, err := keyring.SignAccess(sample(c), algorithm)
			if err != nil {
				t.Fatal(err)
			}
			if _, used := kidAndAlgorithm(t, raw); used != algorithm {
				t.Errorf("signed with %s", used)
			}
			got, err := keyring.VerifyAccess(raw, site)
			if err != nil {
				t.Fatal(err)
			}
			if got.Pass != given.Pass || got.Resource != given.Resource || got.Session != given.Session ||
				got.Payment != given.Payment || got.Site != given.Site {
				t.Errorf("got %+v, want %+v", got, given)
			}
			if !got.Issued.Equal(given.Issued) || !got.Until.Equal(given.Until.Truncate(time.Second)) ||
				!got.Expires.Equal(given.Expires.Truncate(time.Second)) || !got.Expires.Equal(got.Until) {
				t.Errorf("times %+v, want %+v", got, given)
			}
			c.advance(30*24*time.Hour - 2*time.Second)
			if _, err := keyring.VerifyAccess(raw, site); err != nil {
				t.Errorf("before its end: %v", err)
			}
			c.advance(2 * time.Second)
			if _, err := keyring.VerifyAccess(raw, site); !errors.Is(err, ErrInvalid) {
				t.Errorf("T3 after its end: %v", err)
			}
		})
	}
}

func TestForeverIsRenewedInTime(t *testing.T) {
	c := newClock()
	keyring := ensured(t, c, newMemory(), HS256)
	sold := sample(c)
	sold.Until = time.Time{}
	start := c.now()
	raw := signed(t, keyring, sold, HS256)
	for visit := range 20 {
		c.advance(150 * 24 * time.Hour)
		access, err := keyring.VerifyAccess(raw, site)
		if err != nil {
			t.Fatalf("visit %d: a visitor who paid for ever is turned away: %v", visit, err)
		}
		if !access.Until.IsZero() {
			t.Fatalf("for ever ends at %s", access.Until)
		}
		if access.Stale(c.now()) {
			raw = signed(t, keyring, access, HS256)
		}
	}
	if years := c.now().Sub(start) / (365 * 24 * time.Hour); years < 8 {
		t.Fatalf("only %d years", years)
	}
	c.advance(longest)
	if _, err := keyring.VerifyAccess(raw, site); !errors.Is(err, ErrInvalid) {
		t.Errorf("a token that was not renewed for 400 days: %v", err)
	}
}

func TestATokenNeverOutlivesItsAccessOr400Days(t *testing.T) {
	c := newClock()
	keyring := ensured(t, c, newMemory(), HS256)
	for _, test := range []struct {
		name  string
		until time.Duration // 0: for ever
		want  time.Duration
	}{
		{"a day", 24 * time.Hour, 24 * time.Hour},
		{"400 days", longest, longest},
		{"ten years", 10 * 365 * 24 * time.Hour, longest},
		{"for ever", 0, longest},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := sample(c)
			a.Until = time.Time{}
			if test.until != 0 {
				a.Until = c.now().Add(test.until)
			}
			_, given, err := keyring.SignAccess(a, HS256)
			if err != nil {
				t.Fatal(err)
			}
			if got := given.Expires.Sub(c.now()); got != test.want {
				t.Errorf("the token lives for %s, want %s", got, test.want)
			}
		})
	}
}

func TestStale(t *testing.T) {
	now := newClock().now()
	day := 24 * time.Hour
	for _, test := range []struct {
		name           string
		until, expires time.Duration // until 0: for ever
		want           bool
	}{
		{"ends with its access", 10 * day, 10 * day, false},
		{"ends with its access, in a moment", time.Second, time.Second, false},
		{"for ever, new", 0, longest, false},
		{"for ever, half its life left", 0, longest / 2, false},
		{"for ever, less than half left", 0, longest/2 - time.Second, true},
		{"longer than the token, new", 3650 * day, longest, false},
		{"longer than the token, old", 3650 * day, day, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := Access{Expires: now.Add(test.expires)}
			if test.until != 0 {
				a.Until = now.Add(test.until)
			}
			if got := a.Stale(now); got != test.want {
				t.Errorf("stale: %t, want %t", got, test.want)
			}
		})
	}
}

func TestEnsureIsIdempotentAndTakesNoLockForAnExistingKey(t *testing.T) {
	c, storage := newClock(), newMemory()
	first := ensured(t, c, storage, HS256)
	raw := signed(t, first, sample(c), HS256)
	stored := storage.raw()

	storage.lock <- struct{}{} // D5: a lock that nobody gives back
	defer func() { <-storage.lock }()
	restarted := ensured(t, c, storage, HS256, HS256)
	if err := restarted.Refresh(t.Context(), storage); err != nil {
		t.Errorf("D5: Refresh waits for a lock: %v", err)
	}
	if _, err := restarted.VerifyAccess(raw, site); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	if storage.raw() != stored || storage.stores != 1 {
		t.Errorf("stored %d times", storage.stores)
	}
	if first.Installation() == "" || first.Installation() != restarted.Installation() {
		t.Errorf("installations %q and %q", first.Installation(), restarted.Installation())
	}
	select {
	case <-restarted.Ready():
	default:
		t.Error("not ready")
	}
}

func TestK4NodesThatStartAtOnceMakeOneKey(t *testing.T) {
	const nodes = 8
	c, storage := newClock(), newMemory()
	// Every node has seen the empty storage before the first one stores.
	var seen sync.WaitGroup
	seen.Add(nodes)
	var mu sync.Mutex
	loads := 0
	storage.onLoad = func(string) {
		mu.Lock()
		loads++
		early := loads <= nodes
		mu.Unlock()
		if early {
			seen.Done()
			seen.Wait()
		}
	}
	keyrings := make([]*Keyring, nodes)
	var done sync.WaitGroup
	for i := range nodes {
		keyrings[i] = NewKeyring(c.now)
		done.Go(func() {
			if err := keyrings[i].Ensure(t.Context(), storage, HS256); err != nil {
				t.Error(err)
			}
		})
	}
	done.Wait()
	if storage.stores != 1 {
		t.Errorf("%d keyrings were stored, want 1", storage.stores)
	}
	if storage.held() {
		t.Error("the lock is still held")
	}
	for i, signer := range keyrings {
		raw := signed(t, signer, sample(c), HS256)
		for j, verifier := range keyrings {
			if _, err := verifier.VerifyAccess(raw, site); err != nil {
				t.Errorf("node %d does not accept a token of node %d: %v", j, i, err)
			}
		}
	}
}

func TestRotation(t *testing.T) {
	c := newClock()
	storage := newMemory()
	oldKey := fixedKey("old", HS256, 1, c.now().Add(-time.Hour))
	newKey := fixedKey("new", HS256, 2, c.now().Add(activation))
	storage.put(encodeKeyring(t, "i", oldKey))
	nodeA, nodeB := ensured(t, c, storage, HS256), ensured(t, c, storage, HS256)
	ofOld := signed(t, nodeA, sample(c), HS256)

	storage.put(encodeKeyring(t, "i", oldKey, newKey))
	if err := nodeA.Refresh(t.Context(), storage); err != nil {
		t.Fatal(err)
	}
	t.Run("the new key does not sign before its time", func(t *testing.T) {
		raw := signed(t, nodeA, sample(c), HS256)
		if kid, _ := kidAndAlgorithm(t, raw); kid != "old" {
			t.Errorf("signed with %q", kid)
		}
		if _, err := nodeB.VerifyAccess(raw, site); err != nil {
			t.Errorf("a node that has not heard of the new key: %v", err)
		}
	})
	c.advance(activation)
	if err := nodeB.Refresh(t.Context(), storage); err != nil {
		t.Fatal(err)
	}
	ofNew := signed(t, nodeA, sample(c), HS256)
	t.Run("then it signs", func(t *testing.T) {
		if kid, _ := kidAndAlgorithm(t, ofNew); kid != "new" {
			t.Errorf("signed with %q", kid)
		}
	})
	t.Run("and both are accepted everywhere", func(t *testing.T) {
		for _, node := range []*Keyring{nodeA, nodeB} {
			for _, raw := range []string{ofOld, ofNew} {
				if _, err := node.VerifyAccess(raw, site); err != nil {
					t.Error(err)
				}
			}
		}
	})
	t.Run("until the old one is taken away", func(t *testing.T) {
		storage.put(encodeKeyring(t, "i", newKey))
		if err := nodeB.Refresh(t.Context(), storage); err != nil {
			t.Fatal(err)
		}
		if _, err := nodeB.VerifyAccess(ofOld, site); !errors.Is(err, ErrInvalid) {
			t.Errorf("T2 of a key that is gone: %v", err)
		}
		if _, err := nodeB.VerifyAccess(ofNew, site); err != nil {
			t.Error(err)
		}
	})
}

func TestSigner(t *testing.T) {
	c := newClock()
	past, future := c.now().Add(-time.Hour), c.now().Add(time.Hour)
	for _, test := range []struct {
		name      string
		keys      []keyRecord
		algorithm string
		want      string
	}{
		{"the only key", []keyRecord{fixedKey("a", HS256, 1, past)}, HS256, "a"},
		{"the only key, before its time", []keyRecord{fixedKey("a", HS256, 1, future)}, HS256, "a"},
		{"the newest of several", []keyRecord{fixedKey("a", HS256, 1, past), fixedKey("b", HS256, 2, past), fixedKey("c", HS256, 3, past)}, HS256, "c"},
		{"the newest that may", []keyRecord{fixedKey("a", HS256, 1, past), fixedKey("b", HS256, 2, past), fixedKey("c", HS256, 3, future)}, HS256, "b"},
		{"that of the algorithm", []keyRecord{fixedKey("a", EdDSA, 1, past), fixedKey("b", HS256, 2, past)}, EdDSA, "a"},
		{"that of the algorithm, added later", []keyRecord{fixedKey("a", HS256, 1, past), fixedKey("b", EdDSA, 2, past)}, EdDSA, "b"},
		{"another algorithm while that one waits", []keyRecord{fixedKey("a", HS256, 1, past), fixedKey("b", EdDSA, 2, future)}, EdDSA, "a"},
		{"another algorithm for lack of one", []keyRecord{fixedKey("a", HS256, 1, past)}, EdDSA, "a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			keyring := keyringOf(t, c, test.keys...)
			raw := signed(t, keyring, sample(c), test.algorithm)
			if kid, _ := kidAndAlgorithm(t, raw); kid != test.want {
				t.Errorf("signed with %q, want %q", kid, test.want)
			}
			if _, err := keyring.VerifyAccess(raw, site); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAChangeOfAlgorithmLocksNobodyOut(t *testing.T) {
	c, storage := newClock(), newMemory()
	nodeA, nodeB := ensured(t, c, storage, HS256), ensured(t, c, storage, HS256)
	before := signed(t, nodeA, sample(c), HS256)
	if err := nodeA.Ensure(t.Context(), storage, EdDSA); err != nil {
		t.Fatal(err)
	}
	during := signed(t, nodeA, sample(c), EdDSA)
	for _, raw := range []string{before, during} {
		if _, err := nodeB.VerifyAccess(raw, site); err != nil {
			t.Errorf("a node that has not heard of the new key: %v", err)
		}
	}
	c.advance(activation)
	after := signed(t, nodeA, sample(c), EdDSA)
	if _, algorithm := kidAndAlgorithm(t, after); algorithm != EdDSA {
		t.Errorf("signs with %s", algorithm)
	}
	if err := nodeB.Refresh(t.Context(), storage); err != nil {
		t.Fatal(err)
	}
	for _, raw := range []string{before, during, after} {
		if _, err := nodeB.VerifyAccess(raw, site); err != nil {
			t.Error(err)
		}
	}
}

func TestAGarbledKeyringIsNeverOverwrittenAndMemoryStaysInUse(t *testing.T) {
	c := newClock()
	good := fixedKey("aaaa", HS256, 'S', c.now())
	encoded := encodeKeyring(t, "i", good)
	short := good
	short.Secret = short.Secret[:31]
	none := good
	none.ID = ""
	unknown := good
	unknown.Algorithm = "none"
	for _, test := range []struct{ name, raw string }{
		{"empty", ""},
		{"spaces", "  \n"},
		{"zeros", strings.Repeat("\x00", 300)},
		{"truncated", encoded[:len(encoded)-1]},
		{"half", encoded[:len(encoded)/2]},
		{"trailing data", encoded + "x"},
		{"HTML", "<html>not found</html>"},
		{"null", "null"},
		{"a list", "[]"},
		{"an empty object", "{}"},
		{"no version", strings.Replace(encoded, `"v":1,`, "", 1)},
		{"a version of the future", strings.Replace(encoded, `"v":1,`, `"v":2,`, 1)},
		{"no installation", encodeKeyring(t, "", good)},
		{"no keys", encodeKeyring(t, "i")},
		{"a short secret", encodeKeyring(t, "i", good, short)},
		{"a key without id", encodeKeyring(t, "i", good, none)},
		{"a key of an unknown algorithm", encodeKeyring(t, "i", good, unknown)},
	} {
		t.Run(test.name, func(t *testing.T) {
			storage := newMemory()
			storage.put(encoded)
			keyring := ensured(t, c, storage, HS256)
			raw := signed(t, keyring, sample(c), HS256)
			storage.put(test.raw)

			fresh := NewKeyring(c.now)
			for name, err := range map[string]error{
				"Ensure":                      keyring.Ensure(t.Context(), storage, HS256),
				"Ensure of another algorithm": keyring.Ensure(t.Context(), storage, EdDSA),
				"Refresh":                     keyring.Refresh(t.Context(), storage),
				"Ensure of a new node":        fresh.Ensure(t.Context(), storage, HS256),
			} {
				if !errors.Is(err, ErrGarbledKeys) {
					t.Errorf("%s: %v, want %v", name, err, ErrGarbledKeys)
				} else if strings.Contains(err.Error(), "U1NT") || strings.Contains(err.Error(), "SSS") {
					t.Errorf("%s quotes a secret: %v", name, err)
				}
			}
			if storage.raw() != test.raw || storage.stores != 0 {
				t.Error("the stored keyring was overwritten")
			}
			if storage.held() {
				t.Error("the lock is still held")
			}
			if _, err := keyring.VerifyAccess(raw, site); err != nil {
				t.Errorf("a paid visitor is locked out: %v", err)
			}
			if keyring.Installation() != "i" {
				t.Errorf("installation %q", keyring.Installation())
			}
			signed(t, keyring, sample(c), HS256)
			if fresh.Installation() != "" {
				t.Error("a garbled keyring was used")
			}
		})
	}
}

func TestAKeyringThatIsGarbledWhileWeWaitForTheLockIsNotOverwritten(t *testing.T) {
	c := newClock()
	short := fixedKey("aaaa", HS256, 1, c.now())
	short.Secret = short.Secret[:31]
	for name, garbled := range map[string]string{
		"truncated": "{", "a short secret": encodeKeyring(t, "i", short),
	} {
		t.Run(name, func(t *testing.T) {
			storage := newMemory()
			storage.onLock = func(s *memory) { s.put(garbled) }
			keyring := NewKeyring(c.now)
			if err := keyring.Ensure(t.Context(), storage, EdDSA); !errors.Is(err, ErrGarbledKeys) {
				t.Errorf("got %v, want %v", err, ErrGarbledKeys)
			}
			if storage.raw() != garbled {
				t.Error("the stored keyring was overwritten")
			}
			if storage.held() {
				t.Error("the lock is still held")
			}
		})
	}
}

func TestEnsureWhenStorageIsInTrouble(t *testing.T) {
	trouble := errors.New("disk on fire")
	for _, test := range []struct {
		name  string
		fault func(*memory)
		want  error
	}{
		{"Load fails: no second keyring is made", func(s *memory) { s.loadErr = trouble }, trouble},
		{"D1 Store fails", func(s *memory) { s.storeErr = trouble }, trouble},
		{"D5 Lock fails", func(s *memory) { s.lockErr = trouble }, trouble},
		{"Store garbles", func(s *memory) { s.garble = true }, ErrGarbledKeys},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, storage := newClock(), newMemory()
			test.fault(storage)
			keyring := NewKeyring(c.now)
			if err := keyring.Ensure(t.Context(), storage, HS256); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			select {
			case <-keyring.Ready():
				t.Error("ready with keys that nobody else will ever have")
			default:
			}
			if storage.held() {
				t.Error("the lock is still held")
			}
			if test.name == "Load fails: no second keyring is made" && (storage.stores > 0 || storage.locks > 0) {
				t.Errorf("%d stores, %d locks", storage.stores, storage.locks)
			}
		})
	}
}

func TestD5EnsureStopsWaitingForALockWhenItsContextEnds(t *testing.T) {
	c, storage := newClock(), newMemory()
	storage.lock <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := NewKeyring(c.now).Ensure(ctx, storage, HS256); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if storage.stores != 0 {
		t.Error("stored without the lock")
	}
}

func TestKeysThatExistAreUsedWhileAFurtherOneIsMade(t *testing.T) {
	c, storage := newClock(), newMemory()
	raw := signed(t, ensured(t, c, storage, HS256), sample(c), HS256)
	storage.lockErr = errors.New("no locks today")
	keyring := NewKeyring(c.now)
	if err := keyring.Ensure(t.Context(), storage, EdDSA); err == nil {
		t.Fatal("no error")
	}
	if _, err := keyring.VerifyAccess(raw, site); err != nil {
		t.Errorf("a paid visitor is locked out: %v", err)
	}
}

func TestRefreshWithoutStoredKeysChangesNothing(t *testing.T) {
	c := newClock()
	keyring := ensured(t, c, newMemory(), HS256)
	raw := signed(t, keyring, sample(c), HS256)
	if err := keyring.Refresh(t.Context(), newMemory()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %v", err, fs.ErrNotExist)
	}
	if _, err := keyring.VerifyAccess(raw, site); err != nil {
		t.Error(err)
	}
}

func TestK2KeysCanBeRefreshedUnderLoad(t *testing.T) {
	c, storage := newClock(), newMemory()
	keyring := ensured(t, c, storage, HS256, EdDSA)
	raw := signed(t, keyring, sample(c), HS256)
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for range 50 {
				if err := keyring.Refresh(t.Context(), storage); err != nil {
					t.Error(err)
				}
			}
		})
		work.Go(func() {
			for range 50 {
				if _, err := keyring.VerifyAccess(raw, site); err != nil {
					t.Error(err)
				}
				if _, _, err := keyring.SignAccess(sample(c), EdDSA); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
}

func TestSecretsAreRandomAndOfFullLength(t *testing.T) {
	c := newClock()
	seen := make(map[string]bool)
	for range 20 {
		storage := newMemory()
		ensured(t, c, storage, HS256, EdDSA)
		record, err := load(t.Context(), storage)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range record.Keys {
			if len(key.Secret) != 32 || seen[string(key.Secret)] || seen[key.ID] {
				t.Fatalf("key %+v", key)
			}
			seen[string(key.Secret)], seen[key.ID] = true, true
		}
	}
}
