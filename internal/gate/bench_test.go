package gate

import "testing"

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
