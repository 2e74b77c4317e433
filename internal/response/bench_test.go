package response

import (
	"maps"
	"net/http"
	"testing"
)

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
				new(privateLines).makePrivate(header)
			}
		})
	}
}
