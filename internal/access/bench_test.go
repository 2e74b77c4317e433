package access

import (
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-axra/paywall/token"
)

// BenchmarkPaidRequest is what access takes of a paid request, beside what golang-jwt takes to check the same
// claims.
func BenchmarkPaidRequest(b *testing.B) {
	n := newNode(b)
	raw := n.sell("1", "phone")
	request := func(b *testing.B) {
		known, err := n.Verify(raw, site, n.now())
		if err != nil {
			b.Error(err)
		}
		if n.Judge(b.Context(), known, n.now(), bounds) != Open {
			b.Error("it does not open")
		}
	}
	b.Run("kept whole", func(b *testing.B) {
		request(b)
		b.ReportAllocs()
		for b.Loop() {
			request(b)
		}
	})
	b.Run("kept whole, in parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				request(b)
			}
		})
	})
	b.Run("golang-jwt", func(b *testing.B) { benchmarkParse(b, n) })
}

func benchmarkParse(b *testing.B, n *node) {
	claims := jwt.MapClaims{
		"iss": "axra:installation", "aud": site, "iat": n.now().Unix(), "exp": n.now().Add(year).Unix(),
		"pass": "premium", "resource": "*", "purchase": "1", "device": "phone", "downloads": 2,
	}
	key := make([]byte, 32)
	raw, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(key)
	if err != nil {
		b.Fatal(err)
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{token.HS256}), jwt.WithAudience(site), jwt.WithTimeFunc(n.now))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parser.Parse(raw, func(*jwt.Token) (any, error) { return key, nil }); err != nil {
			b.Fatal(err)
		}
	}
}
