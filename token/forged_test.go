package token

import (
	"errors"
	"strconv"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// countingMethod counts the signature checks.
type countingMethod struct {
	jwt.SigningMethod
	checks int
}

func (m *countingMethod) Verify(message string, signature []byte, key any) error {
	m.checks++
	return m.SigningMethod.Verify(message, signature, key)
}

// counted has the signature checks of all tokens counted.
func (f *forge) counted() *countingMethod {
	snap := f.keyring.snap.Load()
	method := &countingMethod{SigningMethod: jwt.SigningMethodHS256}
	for header, head := range snap.heads {
		if head.method.Alg() == HS256 {
			head.method = method
			snap.heads[header] = head
		}
	}
	return method
}

func TestEachBadTokenCostsOneSignatureCheckAtMost(t *testing.T) {
	f := newForge(t)
	signature := hs256([]byte("another key of thirty-two bytes."))
	good := f.hs(f.hsHeader(), f.claims())
	for name, test := range map[string]struct {
		raw    string
		checks int
	}{
		"good, as often as it is asked about": {good, 3},
		"forged":                              {craft(f.hsHeader().json(), f.claims().json(), signature), 1},
		"claims that are none":                {craft(f.hsHeader().json(), "junk", signature), 1},
		"T2 of an unknown key":                {craft(header(HS256, "cccccccccccccccc").json(), f.claims().json(), signature), 0},
		"T1 of another algorithm":             {craft(header("none", f.hmac.ID).json(), f.claims().json(), signature), 0},
		"T5 of two parts":                     {good[:len(good)-44], 0},
		"T5 whose signature is no base64":     {good[:len(good)-1] + "!", 0},
		"T5 too long":                         {good + string(make([]byte, MaxSize)), 0},
		"T5 junk":                             {"junk", 0},
	} {
		t.Run(name, func(t *testing.T) {
			method := f.counted()
			for range 3 {
				_, err := f.keyring.VerifyAccess(test.raw, site)
				if (err == nil) != (test.raw == good) {
					t.Error(err)
				}
			}
			if method.checks != test.checks {
				t.Errorf("%d checks, want %d", method.checks, test.checks)
			}
		})
	}
}

// The memory of forged tokens is of one size, and a flood does not push good ones out:
// they are not in it.
func TestAFloodOfForgedTokensRefusesNoGoodOne(t *testing.T) {
	f := newForge(t)
	good := f.hs(f.hsHeader(), f.claims())
	stem := good[:len(good)-43]
	for i := range 50_000 {
		raw := stem + jwtLike(i)
		if _, err := f.keyring.VerifyAccess(raw, site); !errors.Is(err, ErrInvalid) {
			t.Fatal(raw, err)
		}
		if i%1000 == 0 {
			if _, err := f.keyring.VerifyAccess(good, site); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// jwtLike is a signature of the right form.
func jwtLike(i int) string { return segment(hs256([]byte(strconv.Itoa(i)))(nil)) }

// What a key has signed is good again when the key is known again: nothing is remembered
// of tokens whose key is unknown.
func TestATokenOfAKeyThatIsNotKnownYetIsNotRemembered(t *testing.T) {
	f := newForge(t)
	record := fixedKey("dddddddddddddddd", HS256, 4, f.clock.now())
	raw := craft(header(HS256, record.ID).json(), f.claims().json(), hs256(record.Secret))
	if _, err := f.keyring.VerifyAccess(raw, site); !errors.Is(err, ErrInvalid) {
		t.Fatal(err)
	}
	refreshed(t, f.keyring, newMemory(f.hmac, record))
	if _, err := f.keyring.VerifyAccess(raw, site); err != nil {
		t.Error(err)
	}
}
