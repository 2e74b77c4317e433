package response

import (
	"net/http"
	"testing"
)

// What makes an answer of file_server private takes no more memory than its two lines: a map
// of eight headers grows at the next assignment, which costs more than the whole gate.
func TestAPrivateAnswerOfAFileServerTakesLittle(t *testing.T) {
	answer := func() http.Header {
		return http.Header{
			"Server": {"Caddy"}, "Vary": {"Accept-Encoding"}, "Etag": {`"a"`}, "Last-Modified": {"Sat, 28 Nov 2026 11:26:10 GMT"},
			"Content-Type": {"text/html; charset=utf-8"}, "Content-Length": {"1024"}, "Accept-Ranges": {"bytes"},
		}
	}
	without := testing.AllocsPerRun(100, func() { answer() })
	if with := testing.AllocsPerRun(100, func() { MakePrivate(answer()) }); with > without+1 {
		t.Errorf("%g pieces of memory", with-without)
	}
	header := answer()
	MakePrivate(header)
	if vary, control := header["Vary"], header["Cache-Control"]; len(vary) != 2 || vary[0] != "Accept-Encoding" || vary[1] != "Cookie, Authorization" ||
		len(control) != 1 || control[0] != "private" {
		t.Error(header)
	}
}
