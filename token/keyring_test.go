package token

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func ensured(t *testing.T, c *clock, store Store, algorithms ...string) *Keyring {
	t.Helper()
	keyring := NewKeyring(c.now)
	for _, algorithm := range algorithms {
		if err := keyring.Ensure(t.Context(), store, algorithm); err != nil {
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
		c := newClock()
		keyring := ensured(t, c, newMemory(), algorithm)
		c.advance(700 * time.Millisecond) // no whole second: only those travel
		raw, given, err := keyring.SignAccess(sample(c), algorithm)
		if err != nil {
			t.Fatal(err)
		}
		if _, used := kidAndAlgorithm(t, raw); used != algorithm {
			t.Errorf("signed with %s, want %s", used, algorithm)
		}
		given.Until, given.Expires = given.Until.Truncate(time.Second), given.Expires.Truncate(time.Second)
		got, err := keyring.VerifyAccess(raw, site)
		got.Issued, got.Until, got.Expires = got.Issued.UTC(), got.Until.UTC(), got.Expires.UTC()
		if err != nil || got != given || got.Expires != got.Until {
			t.Errorf("got %+v, %v, want %+v", got, err, given)
		}
		c.advance(30*24*time.Hour - 2*time.Second)
		if _, err := keyring.VerifyAccess(raw, site); err != nil {
			t.Errorf("before its end: %v", err)
		}
		c.advance(2 * time.Second)
		if _, err := keyring.VerifyAccess(raw, site); !errors.Is(err, ErrInvalid) {
			t.Errorf("T3 after its end: %v", err)
		}
	}
}

func TestHowLongATokenLivesAndWhenItIsStale(t *testing.T) {
	t.Parallel()
	c := newClock()
	keyring := ensured(t, c, newMemory(), HS256)
	const day = 24 * time.Hour
	for name, test := range map[string]struct{ until, life, staleAfter time.Duration }{ // 0: no expiry, never
		"a day":     {day, day, 0},
		"400 days":  {longest, longest, 0},
		"ten years": {3650 * day, longest, longest/2 + time.Second},
		"no expiry": {0, longest, longest/2 + time.Second},
	} {
		a := sample(c)
		a.Until = time.Time{}
		if test.until != 0 {
			a.Until = c.now().Add(test.until)
		}
		_, given, err := keyring.SignAccess(a, HS256)
		if life := given.Expires.Sub(c.now()); err != nil || life != test.life {
			t.Errorf("%s: the token lives for %s, want %s: %v", name, life, test.life, err)
		}
		for _, at := range []time.Duration{0, longest / 2, longest/2 + time.Second, test.life - time.Second} {
			if got, want := given.Stale(c.now().Add(at)), test.staleAfter != 0 && at >= test.staleAfter; got != want {
				t.Errorf("%s: stale after %s: %t", name, at, got)
			}
		}
	}
}

func TestEnsureIsIdempotentAndWritesNothingForAnExistingKey(t *testing.T) {
	c, store, other := newClock(), newMemory(), newMemory()
	first := ensured(t, c, store, HS256)
	ensured(t, c, other, HS256)
	raw, stored := signed(t, first, sample(c), HS256), store.stored()
	if a, b := stored.Keys[0], other.stored().Keys[0]; len(a.Secret) != 32 || bytes.Equal(a.Secret, b.Secret) || a.ID == b.ID {
		t.Errorf("not random: %+v and %+v", a, b)
	}

	store.change <- struct{}{} // D5: a transaction that never ends
	defer func() { <-store.change }()
	restarted := ensured(t, c, store, HS256, HS256)
	if _, err := restarted.VerifyAccess(raw, site); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	if !reflect.DeepEqual(store.stored(), stored) || store.writes != 1 {
		t.Errorf("stored %d times", store.writes)
	}
	if first.Installation() == "" || first.Installation() != restarted.Installation() {
		t.Errorf("installations %q and %q", first.Installation(), restarted.Installation())
	}
	<-restarted.Ready()
}

func TestK4NodesThatStartAtOnceMakeOneSet(t *testing.T) {
	const nodes = 8
	c, store := newClock(), newMemory()
	// Every node has seen the empty store before the first one writes.
	var seen sync.WaitGroup
	seen.Add(nodes)
	var reads atomic.Int64
	store.onRead = func() {
		if reads.Add(1) <= nodes {
			seen.Done()
			seen.Wait()
		}
	}
	keyrings := make([]*Keyring, nodes)
	var done sync.WaitGroup
	for i := range nodes {
		keyrings[i] = NewKeyring(c.now)
		done.Go(func() {
			if err := keyrings[i].Ensure(t.Context(), store, HS256); err != nil {
				t.Error(err)
			}
		})
	}
	done.Wait()
	if set := store.stored(); store.writes != 1 || len(set.Keys) != 1 {
		t.Errorf("%d writes have made %d keys, want 1", store.writes, len(set.Keys))
	}
	raw := signed(t, keyrings[0], sample(c), HS256)
	for i, verifier := range keyrings {
		if _, err := verifier.VerifyAccess(raw, site); err != nil {
			t.Errorf("node %d does not accept a token of the first: %v", i, err)
		}
	}
}

func TestSigner(t *testing.T) {
	c := newClock()
	past, future := c.now().Add(-time.Hour), c.now().Add(time.Hour)
	a, b := fixedKey("a", HS256, 1, past), fixedKey("b", HS256, 2, past)
	for _, test := range []struct {
		name      string
		keys      []StoredKey
		algorithm string
		want      string
	}{
		{"the only key, before its time", []StoredKey{fixedKey("a", HS256, 1, future)}, HS256, "a"},
		{"the newest of several", []StoredKey{a, b, fixedKey("c", HS256, 3, past)}, HS256, "c"},
		{"the newest that may", []StoredKey{a, b, fixedKey("c", HS256, 3, future)}, HS256, "b"},
		{"that of the algorithm", []StoredKey{fixedKey("a", EdDSA, 1, past), b}, EdDSA, "a"},
		{"that of the algorithm, added later", []StoredKey{a, fixedKey("b", EdDSA, 2, past)}, EdDSA, "b"},
		{"another algorithm while that one waits", []StoredKey{a, fixedKey("b", EdDSA, 2, future)}, EdDSA, "a"},
		{"the same in the other order", []StoredKey{fixedKey("a", EdDSA, 1, future), b}, EdDSA, "b"},
		{"another algorithm for lack of one", []StoredKey{a}, EdDSA, "a"},
	} {
		keyring := keyringOf(t, c, test.keys...)
		if kid, _ := kidAndAlgorithm(t, signed(t, keyring, sample(c), test.algorithm)); kid != test.want {
			t.Errorf("%s: signed with %q, want %q", test.name, kid, test.want)
		}
	}
}

func TestD4CorruptKeysAreNeverOverwrittenAndMemoryStaysInUse(t *testing.T) {
	c := newClock()
	good := fixedKey("aaaa", HS256, 'S', c.now())
	with := func(change func(*StoredKey)) KeySet {
		corrupt := fixedKey("bbbb", HS256, 'S', c.now())
		change(&corrupt)
		return KeySet{installation, []StoredKey{good, corrupt}}
	}
	for name, set := range map[string]KeySet{
		"no installation":               {"", []StoredKey{good}},
		"no secret":                     with(func(k *StoredKey) { k.Secret = nil }),
		"a long secret":                 with(func(k *StoredKey) { k.Secret = append(k.Secret, 'S') }),
		"a key without id":              with(func(k *StoredKey) { k.ID = "" }),
		"a key of an unknown algorithm": with(func(k *StoredKey) { k.Algorithm = "none" }),
	} {
		store := newMemory(good)
		keyring, fresh := ensured(t, c, store, HS256), NewKeyring(c.now)
		raw := signed(t, keyring, sample(c), HS256)
		store.putSet(set)
		before := store.stored()
		_, rotating := keyring.Rotate(t.Context(), store, HS256)
		for by, err := range map[string]error{
			"Ensure":                      keyring.Ensure(t.Context(), store, HS256),
			"Ensure of another algorithm": keyring.Ensure(t.Context(), store, EdDSA),
			"Ensure of a new node":        fresh.Ensure(t.Context(), store, EdDSA),
			"Refresh":                     keyring.Refresh(t.Context(), store),
			"Rotate":                      rotating,
			"Remove":                      keyring.Remove(t.Context(), store, "aaaa", HS256),
		} {
			if !errors.Is(err, ErrCorruptKeys) || strings.Contains(err.Error(), "U1NT") || strings.Contains(err.Error(), "SSS") {
				t.Errorf("%s: %s: %v, want %v without a secret", name, by, err, ErrCorruptKeys)
			}
		}
		if !reflect.DeepEqual(store.stored(), before) || store.writes != 0 || fresh.Installation() != "" {
			t.Errorf("%s: corrupt keys were overwritten or used", name)
		}
		if _, err := keyring.VerifyAccess(raw, site); err != nil || keyring.Installation() != installation {
			t.Errorf("%s: a paid visitor is locked out: %v", name, err)
		}
	}
}

func TestAStoreInTroubleChangesNothing(t *testing.T) {
	trouble := errors.New("disk on fire")
	for name, fault := range map[string]func(*memory){
		"the read fails: no second set is made":    func(s *memory) { s.readErr = trouble },
		"D1 the transaction fails":                 func(s *memory) { s.commitErr = trouble },
		"D5 the transaction does not begin":        func(s *memory) { s.writeErr = trouble },
		"D1 the answer to the transaction is lost": func(s *memory) { s.lost = trouble },
	} {
		c, store := newClock(), newMemory()
		fault(store)
		keyring := NewKeyring(c.now)
		if err := keyring.Ensure(t.Context(), store, HS256); !errors.Is(err, trouble) || keyring.Installation() != "" {
			t.Errorf("%s: got %v, want %v", name, err, trouble)
		}
		*store = *newMemory()
		if err := keyring.Ensure(t.Context(), store, HS256); err != nil || len(store.stored().Keys) != 1 {
			t.Errorf("%s: afterwards there are %d keys: %v", name, len(store.stored().Keys), err)
		}
		before := bundleOf(t, keyring, c, HS256)
		if fault(store); store.readErr != nil {
			continue
		}
		_, err := keyring.Rotate(t.Context(), store, HS256)
		if again := keyring.Remove(t.Context(), store, keyring.List(HS256)[0].ID, HS256); !errors.Is(err, trouble) || !errors.Is(again, trouble) {
			t.Errorf("%s: Rotate: %v, Remove: %v", name, err, again)
		}
		before.want(t, keyring, true)
	}
}

func TestRefreshWithoutStoredKeysChangesNothing(t *testing.T) {
	c := newClock()
	keyring := ensured(t, c, newMemory(), HS256)
	raw := signed(t, keyring, sample(c), HS256)
	withoutKeys := newMemory()
	withoutKeys.put()
	for name, store := range map[string]*memory{"a new store": newMemory(), "an installation without keys": withoutKeys} {
		err := keyring.Refresh(t.Context(), store)
		if _, verifying := keyring.VerifyAccess(raw, site); !errors.Is(err, ErrNoKeys) || verifying != nil {
			t.Errorf("%s: got %v, want %v; %v", name, err, ErrNoKeys, verifying)
		}
	}
}

func TestK2KeysCanBeRefreshedUnderLoad(t *testing.T) {
	c, store := newClock(), newMemory()
	keyring := ensured(t, c, store, HS256, EdDSA)
	raw := signed(t, keyring, sample(c), HS256)
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for range 50 {
				refreshing := keyring.Refresh(t.Context(), store)
				_, verifying := keyring.VerifyAccess(raw, site)
				_, _, signing := keyring.SignAccess(sample(c), EdDSA)
				if err := errors.Join(refreshing, verifying, signing); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
}
