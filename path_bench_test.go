package paywall

import (
	"maps"
	"net/http"
	"testing"
)

// BenchmarkReach is what it takes to find out whether a request is the gate's business:
// every request of the site pays for that, and an odd path costs most.
func BenchmarkReach(b *testing.B) {
	for _, gate := range []struct{ name, matcher string }{
		{"folder", paidTree},
		{"all but some", butFree},
		{"expression", paidStarts},
	} {
		h := newGate(b, gate.matcher)
		for _, bench := range []struct {
			name, target string
			want         reach
		}{
			{"covered", "/paid/article", covered},
			{"outside", "/free/article", outside},
			{"outside with a query", "/free/article?page=2&sort=title", outside},
			{"outside with escapes", "/free/a%20title%20with%20%C3%BC", outside},
			{"outside with an odd path", "/free/list;page=2/a:b%3Fc%2523.", outside},
			{"disguised", "/free/..%252fpaid/article", ambiguous},
		} {
			r, err := newRequest(bench.target)
			if err != nil {
				b.Fatal(err)
			}
			b.Run(gate.name+"/"+bench.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if got, err := h.reach(r); err != nil || got != bench.want {
						b.Fatal(got, err)
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
