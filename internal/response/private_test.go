package response

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// H1: what was paid for is not left in shared caches.
func TestH1FD5APaidAnswerIsPrivate(t *testing.T) {
	t.Parallel()
	const vary = "Cookie, Authorization"
	for _, test := range []struct {
		name          string
		said          http.Header
		control, vary string // lines are separated by "|"
	}{
		{"nothing said", http.Header{}, "private, no-cache", vary},
		{"FD5 only when it was changed", http.Header{"Last-Modified": {"Mon, 01 Jun 2026 00:00:00 GMT"}}, "private, no-cache", vary},
		{"FD5 when it expires", http.Header{"Expires": {"Mon, 01 Jun 2026 00:00:00 GMT"}}, "private", vary},
		{"public", http.Header{"Cache-Control": {"public, max-age=600"}}, "private, max-age=600", vary},
		{"for shared caches", http.Header{"Cache-Control": {"S-MaxAge=99, max-age=5, proxy-revalidate"}}, "private, max-age=5", vary},
		{"no-store", http.Header{"Cache-Control": {"no-store"}}, "private, no-store", vary},
		{"on several lines", http.Header{"Cache-Control": {"public", "immutable"}}, "private, immutable", vary},
		{"private for a field", http.Header{"Cache-Control": {`private="x", , no-cache`}}, "private, no-cache", vary},
		{"to a CDN", http.Header{"Cdn-Cache-Control": {"public"}, "Cloudflare-Cdn-Cache-Control": {"public"}}, "private, no-cache", vary},
		{"to a surrogate", http.Header{"Surrogate-Control": {"max-age=600"}, "X-Accel-Expires": {"600"}}, "private, no-cache", vary},
		{"varies by another", http.Header{"Vary": {"Accept-Encoding"}}, "private, no-cache", "Accept-Encoding|" + vary},
		{"varies by the cookie", http.Header{"Vary": {"Accept-Encoding, cookie"}}, "private, no-cache", "Accept-Encoding, cookie|" + vary},
		{"varies by the token", http.Header{"Vary": {"Authorization"}}, "private, no-cache", "Authorization|" + vary},
		{"varies by all", http.Header{"Vary": {"*"}}, "private, no-cache", "*|" + vary},
		{"varies on several lines", http.Header{"Vary": {"A", "B"}}, "private, no-cache", "A|B|" + vary},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			new(privateLines).makePrivate(test.said)
			if got := strings.Join(test.said["Cache-Control"], "|"); got != test.control {
				t.Errorf("Cache-Control %q, want %q", got, test.control)
			}
			if got := strings.Join(test.said["Vary"], "|"); got != test.vary {
				t.Errorf("Vary %q, want %q", got, test.vary)
			}
			for _, name := range []string{"Cache-Control", "Vary", "Last-Modified", "Expires"} {
				delete(test.said, name)
			}
			if len(test.said) != 0 { // what other caches read is removed
				t.Errorf("the header is %v", test.said)
			}
		})
	}
}

// A map of eight headers grows at the next assignment, which would cost more than the whole gate.
func TestAPrivateAnswerOfAFileServerTakesLittle(t *testing.T) {
	answer := func() http.Header {
		return http.Header{
			"Server": {"Caddy"}, "Vary": {"Accept-Encoding"}, "Etag": {`"a"`}, "Last-Modified": {"Sat, 28 Nov 2026 11:26:10 GMT"},
			"Content-Type": {"text/html; charset=utf-8"}, "Content-Length": {"1024"}, "Accept-Ranges": {"bytes"},
		}
	}
	without := testing.AllocsPerRun(100, func() { answer() })
	if with := testing.AllocsPerRun(100, func() { new(privateLines).makePrivate(answer()) }); with > without+1 {
		t.Errorf("%g pieces of memory", with-without)
	}
}

func TestH1AnAnswerIsPrivateHoweverItIsWritten(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		write    func(w http.ResponseWriter)
		statuses []int
	}{
		{"a header", func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }, []int{404}},
		{"two headers", func(w http.ResponseWriter) { w.WriteHeader(http.StatusOK); w.WriteHeader(http.StatusNotFound) }, []int{200}},
		{"a hint before it", func(w http.ResponseWriter) { w.WriteHeader(http.StatusEarlyHints); w.WriteHeader(http.StatusCreated) }, []int{201}},
		{"an upgrade", func(w http.ResponseWriter) { w.WriteHeader(http.StatusSwitchingProtocols) }, []int{101}},
		{"a body", func(w http.ResponseWriter) { _, _ = io.WriteString(w, "body") }, []int{200}},
		{"a copied body", func(w http.ResponseWriter) { _, _ = w.(io.ReaderFrom).ReadFrom(strings.NewReader("body")) }, []int{200}},
		{"a flush", func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }, []int{200}},
		{"nothing", func(http.ResponseWriter) {}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			recorder := httptest.NewRecorder()
			var statuses []int
			next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
				w.Header().Set("Cache-Control", "public")
				test.write(w)
				return nil
			})
			if err := ServePrivate(recorder, httptest.NewRequest(http.MethodGet, "/", nil), next, func(w *Writer, status int) int {
				statuses = append(statuses, status)
				w.Header().Set("X-Hook", "called")
				return status
			}); err != nil {
				t.Fatal(err)
			}
			header := recorder.Header()
			if header.Get("Cache-Control") != "private" || !slices.Equal(statuses, test.statuses) || (header.Get("X-Hook") == "") != (test.statuses == nil) {
				t.Errorf("header %v, hook called with %v", header, statuses)
			}
		})
	}
}

func TestFD6WritesFailOnceTheAnswerIsStopped(t *testing.T) {
	t.Parallel()
	recorder := httptest.NewRecorder()
	var stopped error
	_ = ServePrivate(recorder, httptest.NewRequest(http.MethodGet, "/", nil), caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		for _, want := range []error{nil, errors.New("refunded")} {
			stopped = want
			_, err := io.WriteString(w, "paid")
			_, copyErr := w.(io.ReaderFrom).ReadFrom(strings.NewReader("paid"))
			if !errors.Is(err, want) || !errors.Is(copyErr, want) {
				t.Errorf("errors %v, %v, want %v", err, copyErr, want)
			}
		}
		return nil
	}), func(w *Writer, status int) int {
		w.StopWhen(func() error { return stopped })
		return status
	})
	if got := recorder.Body.String(); got != "paidpaid" {
		t.Errorf("sent %q", got)
	}
}
