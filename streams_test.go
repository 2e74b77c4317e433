package paywall_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// An event stream that fetch() reads has no Accept: text/event-stream.
func TestFD6AnEventStreamEndsWithItsPurchaseHoweverItIsAskedFor(t *testing.T) {
	for _, accept := range []string{"text/event-stream", "*/*"} {
		t.Run(accept, func(t *testing.T) {
			upstream := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("Content-Type", "text/event-stream")
				for i := 0; i < 100; i++ {
					if _, err := fmt.Fprintf(rw, "data: %s %d\n\n", marker, i); err != nil {
						return
					}
					rw.(http.Flusher).Flush()
					select {
					case <-r.Context().Done():
						return
					case <-time.After(100 * time.Millisecond):
					}
				}
			}))
			defer upstream.Close()
			w := newWorld(t, worldOptions{Caddyfile: strings.Replace(fiveLines, "root ROOT\n\tfile_server", "handle /premium/live* {\n\t\treverse_proxy "+upstream.URL+"\n\t}\n\troot ROOT\n\tfile_server", 1)})
			v := w.visitor()
			back := v.pay(v.browse("/premium/live"), cardGood)
			w.delivered()
			v.open(back.location())
			request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, w.site+"/premium/live", nil)
			request.Header.Set("Accept", accept)
			request.Header.Set("Sec-Fetch-Mode", "cors")
			response, err := v.client.Do(request)
			mustDo(t, err)
			defer response.Body.Close()
			lines := bufio.NewScanner(response.Body)
			if !lines.Scan() {
				t.Fatal("no line")
			}
			mustDo(t, w.sandbox.Refund(w.lastPayment().ID))
			w.delivered()
			n := 0
			for lines.Scan() {
				n++
			}
			if n > 70 {
				t.Errorf("%d lines after the refund: all there are", n)
			}
		})
	}
}

func TestFD6AnEventStreamOverFastCGIEnds(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	mustDo(t, err)
	defer listener.Close()
	go fcgi.Serve(listener, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		for i := 0; i < 80; i++ {
			if _, err := fmt.Fprintf(rw, "data: %s %d\n\n", marker, i); err != nil {
				return
			}
			rw.(http.Flusher).Flush()
			time.Sleep(100 * time.Millisecond)
		}
	}))
	w := newWorld(t, worldOptions{Caddyfile: strings.Replace(fiveLines, "root ROOT\n\tfile_server", "handle /premium/live* {\n\t\treverse_proxy "+listener.Addr().String()+" {\n\t\t\ttransport fastcgi\n\t\t}\n\t}\n\troot ROOT\n\tfile_server", 1)})
	v := w.visitor()
	back := v.pay(v.browse("/premium/live"), cardGood)
	w.delivered()
	v.open(back.location())
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, w.site+"/premium/live", nil)
	request.Header.Set("Accept", "text/event-stream")
	response, err := v.client.Do(request)
	mustDo(t, err)
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	if !lines.Scan() || !strings.Contains(lines.Text(), marker) {
		t.Fatalf("no line: %q %d", lines.Text(), response.StatusCode)
	}
	mustDo(t, w.sandbox.Refund(w.lastPayment().ID))
	w.delivered()
	n := 0
	for lines.Scan() {
		n++
	}
	if n > 70 {
		t.Errorf("%d lines after the refund: all there are", n)
	}
}

// FD6 over HTTP/1.1.
func TestFD6AWebSocketWhoseClientIsSilentEnds(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		conn, brw, err := rw.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		brw.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
		brw.WriteString(marker + "\n")
		brw.Flush()
		for range 100 {
			if _, err := conn.Write([]byte(marker + "\n")); err != nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	}))
	defer upstream.Close()
	w := newWorld(t, worldOptions{Caddyfile: strings.Replace(fiveLines, "root ROOT\n\tfile_server", "handle /premium/live* {\n\t\treverse_proxy "+upstream.URL+"\n\t}\n\troot ROOT\n\tfile_server", 1)})
	v := w.visitor()
	back := v.pay(v.browse("/premium/live"), cardGood)
	w.delivered()
	v.open(back.location())
	name, value := accessCookie(t, v)
	conn, err := net.Dial("tcp", "localhost:"+w.port)
	mustDo(t, err)
	defer conn.Close()
	fmt.Fprintf(conn, "GET /premium/live HTTP/1.1\r\nHost: localhost:%s\r\nCookie: %s=%s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", w.port, name, value)
	lines := bufio.NewScanner(conn)
	for lines.Scan() && !strings.Contains(lines.Text(), marker) {
	}
	mustDo(t, w.sandbox.Refund(w.lastPayment().ID))
	w.delivered()
	n := 0
	for lines.Scan() {
		n++
	}
	if n > 70 {
		t.Errorf("%d lines after the refund: all there are", n)
	}
}
