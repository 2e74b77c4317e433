package paywall_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"strings"
	"testing"
	"time"
)

// FD6: an event stream and a WebSocket end with their purchase, over the transports of Caddy's proxy.
func TestFD6AStreamEndsWithItsPurchase(t *testing.T) {
	events := func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		for {
			if _, err := fmt.Fprintf(rw, "data: %s\n\n", marker); err != nil {
				return
			}
			rw.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(10 * time.Millisecond): // events come in time
			}
		}
	}
	overFastCGI, err := net.Listen("tcp", "127.0.0.1:0")
	mustDo(t, err)
	defer overFastCGI.Close()
	go fcgi.Serve(overFastCGI, http.HandlerFunc(events)) //nolint:errcheck // it ends with the listener
	webSocket := echo(t, func(rw http.ResponseWriter, _ *http.Request) {
		conn, _, err := rw.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"+marker+"\n") //nolint:errcheck // a test server
		io.Copy(io.Discard, conn)                                                                                                 //nolint:errcheck // until it is closed
	})
	for name, test := range map[string]struct{ proxy, header string }{
		"an event stream":                  {"reverse_proxy " + echo(t, events), "Accept: text/event-stream"},
		"an event stream that fetch reads": {"reverse_proxy " + echo(t, events), "Accept: */*"},
		"over FastCGI":                     {"reverse_proxy " + overFastCGI.Addr().String() + " {\n transport fastcgi\n }", "Accept: text/event-stream"},
		"a WebSocket whose client is silent": {
			"reverse_proxy " + webSocket, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, worldOptions{Caddyfile: gateFor("/paid/*", "handle /paid/live {\n"+test.proxy+"\n}\n\troot ROOT\n\tfile_server")})
			w.write("paid/index.html", marker)
			v := w.visitor()
			v.buy("/paid/index.html", cardGood).wantPaid(t)
			cookie, value := accessCookie(t, v)
			conn, err := net.Dial("tcp", "localhost:"+w.port)
			mustDo(t, err)
			defer conn.Close()
			mustDo(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
			fmt.Fprintf(conn, "GET /paid/live HTTP/1.1\r\nHost: localhost:%s\r\nCookie: %s=%s\r\n%s\r\n\r\n", w.port, cookie, value, test.header)
			lines := bufio.NewScanner(conn)
			for lines.Scan() && !strings.Contains(lines.Text(), marker) {
			}
			if !strings.Contains(lines.Text(), marker) {
				t.Fatal("nothing was sent")
			}
			mustDo(t, w.sandbox.Refund(w.lastPayment().ID))
			w.delivered()
			for lines.Scan() && lines.Text() != "0" { // the last chunk
			}
			if err := lines.Err(); err != nil && strings.Contains(err.Error(), "timeout") {
				t.Error("it goes on after the refund")
			}
		})
	}
}

func downloads(option string) string {
	return strings.Replace(fiveLines, "access 30d", "per_path\n"+option, 1)
}

// FC5 and FC6: a download is a window of time, which the first byte of content opens.
func TestFC5FC6APurchaseOpensAsManyDownloadsAsItWasSold(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: downloads("downloads 2")})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t) // the first window
	used := func() int {
		return w.rows("purchases WHERE downloads_used = 1") + 2*w.rows("purchases WHERE downloads_used = 2")
	}
	get := func(header http.Header) reply { return v.do(http.MethodGet, "/premium/article.html", header, nil) }
	for range 11 {
		if answer := get(http.Header{"Range": {"bytes=1-"}}); answer.status != http.StatusPartialContent {
			t.Errorf("a range inside an open window: %d", answer.status)
		}
	}
	w.restart()
	v.open("/premium/article.html").wantPaid(t)
	if used() != 1 {
		t.Errorf("%d downloads are used, want 1", used())
	}
	w.pass(25 * time.Hour)
	if answer := get(http.Header{"Sec-Purpose": {"prefetch"}}); answer.status != http.StatusServiceUnavailable || strings.Contains(answer.body, marker) || used() != 1 {
		t.Errorf("FC6: a prefetch: %d", answer.status)
	}
	v.open("/premium/article.html").wantPaid(t) // the second
	w.load(downloads("downloads 9"))            // what was sold counts
	w.pass(25 * time.Hour)
	program := get(http.Header{"Range": {"bytes=1-"}})
	if program.status != http.StatusPaymentRequired || strings.Contains(program.body, marker[1:]) || !strings.Contains(program.body, "2 times") ||
		program.header.Get("Etag") != "" || program.header.Get("Content-Range") != "" {
		t.Fatalf("the third download: %d %v %.100s", program.status, program.header, program.body)
	}
	// Buying again is found even if the tab is closed before the visitor comes back.
	refused := v.open("/premium/article.html")
	refused.wantPage(t, http.StatusPaymentRequired, "All downloads are used")
	v.pay(v.browse(link(t, refused, "Buy it again")), cardGood)
	w.delivered()
	v.browse("/premium/article.html").wantPaid(t)
	if v.open("/premium/other.html").wantCheckout(t, w); used() != 3 {
		t.Errorf("%d downloads are used of two purchases", used())
	}
	// A limit that comes later does not count, and a purchase without one counts first.
	w.load(downloads(""))
	unlimited := w.visitor()
	unlimited.buy("/premium/other.html", cardGood).wantPaid(t)
	w.load(downloads("downloads 1"))
	for range 3 {
		w.pass(25 * time.Hour)
		unlimited.open("/premium/other.html").wantPaid(t)
	}
}
