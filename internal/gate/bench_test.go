package gate

import (
	"fmt"
	"testing"
)

// BenchmarkCoverage is what every request of a site pays for a gate. An odd path costs most.
func BenchmarkCoverage(b *testing.B) {
	for _, gate := range []struct{ name, matcher string }{
		{"folder", paidTree},
		{"all but some", butFree},
		{"expression", paidStarts},
	} {
		m := newGate(b, gate.matcher)
		for _, bench := range []struct {
			name, target string
			want         Coverage
		}{
			{"covered", "/paid/article", Covered},
			{"not covered", "/free/article", NotCovered},
			{"not covered with a query", "/free/article?page=2&sort=title", NotCovered},
			{"not covered with escapes", "/free/a%20title%20with%20%C3%BC", NotCovered},
			{"not covered with an odd path", "/free/list;page=2/a:b%3Fc%2523.", NotCovered},
			{"obfuscated", "/free/..%252fpaid/article", Ambiguous},
		} {
			r, err := newRequest(bench.target)
			if err != nil {
				b.Fatal(err)
			}
			b.Run(gate.name+"/"+bench.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if got, err := m.Coverage(r); err != nil || got != bench.want {
						b.Fatal(got, err)
					}
				}
			})
		}
	}
}

// BenchmarkFastMatcher compares a gate on a folder with and without the fast matcher.
func BenchmarkFastMatcher(b *testing.B) {
	for name, target := range map[string]string{"covered": "/paid/article", "not covered": "/free/article"} {
		r, err := newRequest(target)
		if err != nil {
			b.Fatal(err)
		}
		for _, enabled := range []bool{true, false} {
			m := newGate(b, paidTree)
			m.fast.enabled = enabled
			b.Run(fmt.Sprintf("%s/%t", name, enabled), func(b *testing.B) {
				for b.Loop() {
					if _, err := m.Coverage(r); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
