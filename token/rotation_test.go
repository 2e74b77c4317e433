package token

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// bundle is one token of everything that is signed.
type bundle struct {
	access string
	uses   map[Use]string
}

func bundleOf(t *testing.T, keyring *Keyring, c *clock, algorithm string) bundle {
	t.Helper()
	b := bundle{signed(t, keyring, sample(c), algorithm), make(map[Use]string)}
	for _, use := range uses {
		b.uses[use] = signedFor(t, keyring, use, c.now().Add(time.Hour))
	}
	return b
}

func signedFor(t *testing.T, keyring *Keyring, use Use, end time.Time) string {
	t.Helper()
	raw, err := keyring.Sign(use, jwt.RegisteredClaims{ExpiresAt: jwt.NewNumericDate(end)})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func (b bundle) wantSignedBy(t *testing.T, kid string) {
	t.Helper()
	if got, _ := kidAndAlgorithm(t, b.access); got != kid {
		t.Errorf("the access token is signed with %q, want %q", got, kid)
	}
	for use, raw := range b.uses {
		if got, algorithm := kidAndAlgorithm(t, raw); got != kid || algorithm != HS256 {
			t.Errorf("%s is signed with %q and %s, want %q", use, got, algorithm, kid)
		}
	}
}

func (b bundle) want(t *testing.T, keyring *Keyring, accepted bool) {
	t.Helper()
	if _, err := keyring.VerifyAccess(b.access, site); (err == nil) != accepted {
		t.Errorf("access token: %v", err)
	}
	for use, raw := range b.uses {
		if _, err := keyring.Verify(use, raw, new(jwt.RegisteredClaims)); (err == nil) != accepted {
			t.Errorf("%s: %v", use, err)
		}
	}
}

func rotated(t *testing.T, keyring *Keyring, store Store, algorithm string) string {
	t.Helper()
	kid, err := keyring.Rotate(t.Context(), store, algorithm)
	if err != nil {
		t.Fatal(err)
	}
	return kid
}

func refreshed(t *testing.T, keyring *Keyring, store Store) {
	t.Helper()
	if err := keyring.Refresh(t.Context(), store); err != nil {
		t.Fatal(err)
	}
}

func TestARotationLocksNobodyOut(t *testing.T) {
	for _, test := range [][2]string{{HS256, HS256}, {EdDSA, EdDSA}, {HS256, EdDSA}} {
		t.Run(test[0]+" to "+test[1], func(t *testing.T) {
			c, store := newClock(), newMemory()
			nodeA, nodeB := ensured(t, c, store, test[0]), ensured(t, c, store, test[0])
			oldKey := nodeA.List(test[0])[0].ID
			before := bundleOf(t, nodeA, c, test[0])
			before.wantSignedBy(t, oldKey)

			newKey := rotated(t, nodeA, store, test[1])
			c.advance(activation - time.Second)
			during := bundleOf(t, nodeA, c, test[1])
			during.wantSignedBy(t, oldKey)
			during.want(t, nodeB, true) // which has not heard of the new key

			refreshed(t, nodeB, store)
			c.advance(time.Second)
			after := bundleOf(t, nodeA, c, test[1])
			after.wantSignedBy(t, newKey)
			for _, node := range []*Keyring{nodeA, nodeB} {
				for _, each := range []bundle{before, during, after} {
					each.want(t, node, true)
				}
			}
		})
	}
}

func TestARemovedKeyIsVoid(t *testing.T) {
	for _, algorithm := range []string{HS256, EdDSA} {
		t.Run(algorithm, func(t *testing.T) {
			c, store := newClock(), newMemory()
			nodeA := ensured(t, c, store, algorithm)
			leaked := nodeA.List(algorithm)[0].ID
			ofLeaked := bundleOf(t, nodeA, c, algorithm)
			kept := rotated(t, nodeA, store, algorithm)
			c.advance(activation)
			nodeB := ensured(t, c, store, algorithm)
			ofKept := bundleOf(t, nodeA, c, algorithm)

			if err := nodeA.Remove(t.Context(), store, leaked, algorithm); err != nil {
				t.Fatal(err)
			}
			ofLeaked.want(t, nodeA, false)
			ofKept.want(t, nodeA, true)
			if nodeA.Knows(leaked) || !nodeA.Knows(kept) {
				t.Error("what has been verified before is remembered for the wrong key")
			}
			ofLeaked.want(t, nodeB, true) // until it looks
			refreshed(t, nodeB, store)
			ofLeaked.want(t, nodeB, false)
			ofKept.want(t, nodeB, true)
			if set := store.stored(); len(set.Keys) != 1 || set.Keys[0].ID != kept {
				t.Errorf("stored are %+v", set.Keys)
			}
			if err := nodeA.Remove(t.Context(), store, leaked, algorithm); !errors.Is(err, ErrUnknownKey) {
				t.Errorf("removed twice: %v", err)
			}
		})
	}
}

func TestWhatSignsInPlaceOfARemovedKey(t *testing.T) {
	c := newClock()
	past, future := c.now().Add(-time.Hour), c.now().Add(time.Minute)
	old, leaked := fixedKey("old", HS256, 1, past), fixedKey("x", HS256, 2, past)
	waits, otherWaits := fixedKey("wait", HS256, 3, future), fixedKey("wait", EdDSA, 3, future)
	for _, test := range []struct {
		name      string
		keys      []StoredKey
		algorithm string
		want      string // "": a new one
		left      int    // keys
	}{
		{"an older key, which all nodes know", []StoredKey{old, leaked}, HS256, "old", 1},
		{"an older key rather than one that waits", []StoredKey{old, leaked, waits}, HS256, "old", 2},
		{"one that waits rather than a new one", []StoredKey{leaked, waits}, HS256, "wait", 1},
		{"a new one", []StoredKey{leaked}, HS256, "", 1},
		{"a new one where only another algorithm waits", []StoredKey{leaked, otherWaits}, HS256, "", 2},
		{"another algorithm while a new one waits", []StoredKey{old, fixedKey("x", EdDSA, 2, past)}, EdDSA, "old", 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := newMemory(test.keys...)
			node := ensured(t, c, store, test.algorithm)
			if err := node.Remove(t.Context(), store, "x", test.algorithm); err != nil {
				t.Fatal(err)
			}
			kid, _ := kidAndAlgorithm(t, signed(t, node, sample(c), test.algorithm))
			if test.want != "" && kid != test.want || kid == "x" {
				t.Errorf("%q signs, want %q", kid, test.want)
			}
			list := node.List(test.algorithm)
			if len(list) != test.left || !slices.ContainsFunc(list, func(k KeyInfo) bool { return k.Algorithm == test.algorithm }) {
				t.Errorf("in the end %+v", list)
			}
			bundleOf(t, node, c, test.algorithm).want(t, ensured(t, c, store, test.algorithm), true)
		})
	}
}

// A removal that begins while the keys are read is not undone by what was read.
func TestARemovedKeyDoesNotComeBack(t *testing.T) {
	c := newClock()
	store := newMemory(fixedKey("leaked", HS256, 1, c.now()), fixedKey("kept", HS256, 2, c.now()))
	node := ensured(t, c, store, HS256)
	removed := make(chan error, 1)
	store.onRead = func() {
		store.onRead = nil
		go func() {
			removed <- node.Remove(t.Context(), store, "leaked", HS256)
		}()
		select {
		case err := <-removed: // before the read was used
			removed <- err
		case <-time.After(20 * time.Millisecond):
		}
	}
	refreshed(t, node, store)
	if err := <-removed; err != nil || node.Knows("leaked") || !node.Knows("kept") {
		t.Errorf("the keys are %+v: %v", node.List(HS256), err)
	}
}

// Stores order keys by the second in which they were made.
func TestKeysOfOneSecondAndOfASlowClockAreInOrder(t *testing.T) {
	c, slow := newClock(), newClock()
	slow.advance(-time.Minute)
	store := newMemory()
	node := ensured(t, c, store, HS256)
	want := []string{rotated(t, node, store, HS256), rotated(t, ensured(t, slow, store, HS256), store, HS256), rotated(t, node, store, HS256)}
	var got []string
	for _, key := range node.List(HS256)[1:] {
		got = append(got, key.ID)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the keys are %v, want %v", got, want)
	}
	c.advance(activation)
	bundleOf(t, node, c, HS256).wantSignedBy(t, want[2])
}

func TestAListOfKeysHoldsNoSecret(t *testing.T) {
	c := newClock()
	store := newMemory(fixedKey("a", HS256, 'S', c.now()), fixedKey("b", EdDSA, 'S', c.now().Add(time.Hour)))
	list := ensured(t, c, store, HS256).List(HS256)
	encoded, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(encoded), "SSSS") || strings.Contains(string(encoded), "U1NT") {
		t.Errorf("a secret: %s", encoded)
	}
	want := []KeyInfo{
		{ID: "a", Algorithm: HS256, Created: c.now(), SignsFrom: c.now(), Signs: []string{SignsAccess, SignsOthers}},
		{ID: "b", Algorithm: EdDSA, Created: c.now().Add(time.Hour), SignsFrom: c.now().Add(time.Hour)},
	}
	if !reflect.DeepEqual(list, want) {
		t.Errorf("got %+v\nwant %+v", list, want)
	}
}
