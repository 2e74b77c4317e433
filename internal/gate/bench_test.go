package gate

import (
	"strings"
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
			r := request(b, bench.target)
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

// What a hostile path costs.
func BenchmarkCoverageHostile(b *testing.B) {
	const size = 15 << 10 // what Caddy lets through by default
	for _, gate := range []string{paidTree, butFree, paidStarts, "path_regexp ^/paid/"} {
		m := newGate(b, gate)
		for name, target := range map[string]string{
			"semicolons": "/free/" + strings.Repeat(";/", size/2), "percent": "/free/" + strings.Repeat("%25", size/3), "dots": "/free/" + strings.Repeat("../free/", size/8),
			"slashes": strings.Repeat("/", size), "unicode": "/free/" + strings.Repeat("%EF%BD%90", size/9), "onion": "/free/%" + strings.Repeat("25", size/2) + "70",
			"plain": "/free/" + strings.Repeat("a", size), "bytes": "/free/" + strings.Repeat("%ff", size/3), "colons": "/free/" + strings.Repeat("a:b;c%20./", size/11),
			"short": "/free/a",
		} {
			b.Run(gate+"/"+name, func(b *testing.B) {
				r := request(b, target)
				for b.Loop() {
					if _, err := m.Coverage(r); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
