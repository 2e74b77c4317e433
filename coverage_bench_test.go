package paywall

import (
	"fmt"
	"maps"
	"net/http"
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
			want         coverage
		}{
			{"covered", "/paid/article", covered},
			{"not covered", "/free/article", notCovered},
			{"not covered with a query", "/free/article?page=2&sort=title", notCovered},
			{"not covered with escapes", "/free/a%20title%20with%20%C3%BC", notCovered},
			{"not covered with an odd path", "/free/list;page=2/a:b%3Fc%2523.", notCovered},
			{"obfuscated", "/free/..%252fpaid/article", ambiguous},
		} {
			r, err := newRequest(bench.target)
			if err != nil {
				b.Fatal(err)
			}
			b.Run(gate.name+"/"+bench.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if got, err := m.coverage(r); err != nil || got != bench.want {
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
					if _, err := m.coverage(r); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkMakePrivate is what the cache headers of a paid answer take.
func BenchmarkMakePrivate(b *testing.B) {
	for _, bench := range []struct {
		name string
		said http.Header
	}{
		{"nothing said", http.Header{"Content-Type": {"text/html"}}},
		{"as an application says", http.Header{
			"Content-Type": {"text/html"}, "Cache-Control": {"public, max-age=3600"}, "Vary": {"Accept-Encoding"},
		}},
		{"said to a CDN as well", http.Header{
			"Cache-Control": {"public, max-age=3600"}, "Cdn-Cache-Control": {"max-age=60"}, "Vary": {"Accept-Encoding, Cookie"},
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			header := make(http.Header, 8)
			b.ReportAllocs()
			for b.Loop() {
				clear(header)
				maps.Copy(header, bench.said)
				makePrivate(header)
			}
		})
	}
}
