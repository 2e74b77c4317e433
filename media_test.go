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

	"github.com/caddy-axra/paywall/internal/sitetest"
)

// sendEvents is an application that sends events for as long as it may.
func sendEvents(rw http.ResponseWriter, r *http.Request) {
	rw.Header().Set("Content-Type", "text/event-stream")
	for {
		if _, err := fmt.Fprintf(rw, "data: %s\n\n", sitetest.Marker); err != nil {
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

// keepWebSocket is an application that sends one line, and then waits for the client.
func keepWebSocket(rw http.ResponseWriter, _ *http.Request) {
	conn, _, err := rw.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	const upgraded = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
	io.WriteString(conn, upgraded+sitetest.Marker+"\n") //nolint:errcheck // a test server
	io.Copy(io.Discard, conn)                           //nolint:errcheck // until it is closed
}

// FD6: an event stream and a WebSocket end with their purchase, over the transports of Caddy's proxy.
func TestFD6AStreamEndsWithItsPurchase(t *testing.T) {
	overFastCGI, err := net.Listen("tcp", "127.0.0.1:0")
	mustDo(t, err)
	defer overFastCGI.Close()
	go fcgi.Serve(overFastCGI, http.HandlerFunc(sendEvents)) //nolint:errcheck // it ends with the listener
	w := newWorld(t, sitetest.Options{})
	w.Write("paid/index.html", sitetest.Marker)
	for name, test := range map[string]struct{ proxy, header string }{
		"an event stream that fetch reads": {"reverse_proxy " + sitetest.Echo(t, sendEvents), "Accept: */*"},
		"over FastCGI":                     {"reverse_proxy " + overFastCGI.Addr().String() + " {\n transport fastcgi\n }", "Accept: text/event-stream"},
		"a WebSocket whose client is silent": {
			"reverse_proxy " + sitetest.Echo(t, keepWebSocket), "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w.Load(sitetest.GateFor("/paid/*", "handle /paid/live {\n"+test.proxy+"\n}\n\troot ROOT\n\tfile_server"))
			v := w.Visitor()
			v.Buy("/paid/index.html").WantPaid(t)
			cookie, value := accessCookie(t, v)
			conn, err := net.Dial("tcp", "localhost:"+w.Port)
			mustDo(t, err)
			defer conn.Close()
			mustDo(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
			fmt.Fprintf(conn, "GET /paid/live HTTP/1.1\r\nHost: localhost:%s\r\nCookie: %s=%s\r\n%s\r\n\r\n", w.Port, cookie, value, test.header)
			lines := bufio.NewScanner(conn)
			for lines.Scan() && !strings.Contains(lines.Text(), sitetest.Marker) {
			}
			if !strings.Contains(lines.Text(), sitetest.Marker) {
				t.Fatal("nothing was sent")
			}
			mustDo(t, w.Sandbox.Refund(w.LastPayment().ID))
			w.Delivered()
			for lines.Scan() && lines.Text() != "0" { // the last chunk
			}
			if err := lines.Err(); err != nil && strings.Contains(err.Error(), "timeout") {
				t.Error("it goes on after the refund")
			}
		})
	}
}

func downloads(option string) string {
	return strings.Replace(sitetest.FiveLines, "access 30d", "per_path\n"+option, 1)
}

// FC5 and FC6: a download is a window of time, which the first byte of content opens.
func TestFC5FC6APurchaseOpensAsManyDownloadsAsItWasSold(t *testing.T) {
	w := newWorld(t, sitetest.Options{Caddyfile: downloads("downloads 2")})
	v := w.Visitor()
	v.Buy(article).WantPaid(t) // the first window
	used := func() int {
		return w.Rows("purchases WHERE downloads_used = 1") + 2*w.Rows("purchases WHERE downloads_used = 2")
	}
	get := func(header http.Header) sitetest.Reply {
		return v.Do(http.MethodGet, article, header, nil)
	}
	for range 11 {
		if answer := get(http.Header{"Range": {"bytes=1-"}}); answer.Status != http.StatusPartialContent {
			t.Errorf("a range inside an open window: %d", answer.Status)
		}
	}
	w.Restart()
	v.Open(article).WantPaid(t)
	if used() != 1 {
		t.Errorf("%d downloads are used, want 1", used())
	}
	w.Pass(25 * time.Hour)
	if answer := get(http.Header{"Sec-Purpose": {"prefetch"}}); answer.Status != http.StatusServiceUnavailable || strings.Contains(answer.Body, sitetest.Marker) || used() != 1 {
		t.Errorf("FC6: a prefetch: %d", answer.Status)
	}
	v.Open(article).WantPaid(t)      // the second
	w.Load(downloads("downloads 9")) // what was sold counts
	w.Pass(25 * time.Hour)
	program := get(http.Header{"Range": {"bytes=1-"}})
	if program.Status != http.StatusPaymentRequired || strings.Contains(program.Body, sitetest.Marker[1:]) || !strings.Contains(program.Body, "2 times") ||
		program.Header.Get("Etag") != "" || program.Header.Get("Content-Range") != "" {
		t.Fatalf("the third download: %d %v %.100s", program.Status, program.Header, program.Body)
	}
	// Buying again is found even if the tab is closed before the visitor comes back.
	refused := v.Open(article)
	refused.WantPage(t, http.StatusPaymentRequired, "All downloads are used")
	v.Pay(v.Browse(refused.Link(t, "Buy it again")))
	w.Delivered()
	v.Browse(article).WantPaid(t)
	if v.Open("/premium/other.html").WantCheckout(t, w); used() != 3 {
		t.Errorf("%d downloads are used of two purchases", used())
	}
	// A limit that comes later does not count, and a purchase without one counts first.
	w.Load(downloads(""))
	unlimited := w.Visitor()
	unlimited.Buy("/premium/other.html").WantPaid(t)
	w.Load(downloads("downloads 1"))
	for range 3 {
		w.Pass(25 * time.Hour)
		unlimited.Open("/premium/other.html").WantPaid(t)
	}
}
