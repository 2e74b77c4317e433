package token

import (
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// BenchmarkVerify is one check of an access token that is not remembered, beside what the
// library takes for the same claims, and what junk costs.
func BenchmarkVerify(b *testing.B) {
	f := newForge(b)
	for _, each := range []struct{ name, raw string }{
		{HS256, f.hs(f.hsHeader(), f.claims())},
		{EdDSA, f.ed(f.edHeader(), f.claims())},
	} {
		b.Run("cold/"+each.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.keyring.VerifyAccess(each.raw, site); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("golang-jwt/"+each.name, func(b *testing.B) {
			b.ReportAllocs()
			snap := f.keyring.snap.Load()
			for b.Loop() {
				if _, err := jwt.ParseWithClaims(each.raw, jwt.MapClaims{}, func(t *jwt.Token) (any, error) {
					kid, _ := t.Header["kid"].(string)
					return snap.byID[kid].verifying, nil
				}, jwt.WithTimeFunc(f.clock.now)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	good := f.hs(f.hsHeader(), f.claims())
	for _, each := range []struct{ name, raw string }{
		{"forged again", good[:len(good)-4] + "AAAA"},
		{"unknown key", craft(header(HS256, "cccccccccccccccc").json(), f.claims().json(), hs256(f.hmac.Secret))},
		{"junk", "junk"},
	} {
		b.Run("bad/"+each.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.keyring.VerifyAccess(each.raw, site); err == nil {
					b.Fatal("it is accepted")
				}
			}
		})
	}
}
