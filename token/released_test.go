package token

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// released is what a released version said about its keyring, and what it had signed.
type released struct {
	Installation string         `json:"installation"`
	Keys         []KeyInfo      `json:"keys"`
	Access       []string       `json:"access"` // of sample, one by each algorithm
	Signed       map[Use]string `json:"signed"` // for the subject "cs_1"
}

// releasedAt is when it did.
func releasedAt() *clock {
	c := newClock()
	c.advance(24 * time.Hour)
	return c
}

// Every file in testdata/keyring is a keyring.json of a released version, and goes with a
// golden file. What it has signed is valid for ten years, so neither ever changes.
func TestKeyringsOfEveryVersionAreRead(t *testing.T) {
	files, err := filepath.Glob("testdata/keyring/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no keyrings: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			stored, storage, c := readFile(t, file), newMemory(), releasedAt()
			storage.put(stored)
			keyring := ensured(t, c, storage, HS256, EdDSA)
			if storage.raw() != stored {
				t.Errorf("reading has changed it: %s", storage.raw())
			}
			var want released
			if err := json.Unmarshal([]byte(readFile(t, strings.TrimSuffix(file, ".json")+".golden")), &want); err != nil {
				t.Fatal(err)
			}
			if got := keyring.List(HS256); keyring.Installation() != want.Installation || !reflect.DeepEqual(got, want.Keys) {
				t.Errorf("installation %s, keys %+v\nwant %s, %+v", keyring.Installation(), got, want.Installation, want.Keys)
			}
			verifyReleased(t, keyring, c, want)
		})
	}
}

// verifyReleased checks that what was signed is valid, and says what it said.
func verifyReleased(t *testing.T, keyring *Keyring, c *clock, want released) {
	t.Helper()
	if len(want.Access) < 2 || len(want.Signed) < 4 {
		t.Errorf("%d access tokens and %d others were kept", len(want.Access), len(want.Signed))
	}
	for _, raw := range want.Access {
		access, err := keyring.VerifyAccess(raw, site)
		said := sample(c)
		said.Issued, said.Expires, said.Key = access.Issued, access.Expires, access.Key
		if err != nil || !access.Until.Equal(said.Until) {
			t.Errorf("an access token until %s: %v", access.Until, err)
		}
		if access.Until = said.Until; access != said {
			t.Errorf("it says %+v\nwant %+v", access, said)
		}
	}
	for use, raw := range want.Signed {
		var claims jwt.RegisteredClaims
		if err := keyring.Verify(use, raw, &claims); err != nil || claims.Subject != "cs_1" {
			t.Errorf("%s: %+v, %v", use, claims, err)
		}
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
