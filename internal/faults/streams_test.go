package faults_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"
)

// Addresses of the streams behind the gate.
const (
	eventStream = "/premium/stream/events"
	webSocket   = "/premium/stream/socket"
)

// serveStreams starts an application with an event stream and a WebSocket, and returns the directives that proxy
// it. Both last until the client leaves.
func (r *rig) serveStreams() (directives string) {
	application := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if request.URL.Path != webSocket {
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "data: "+marker+"\n\n")
			http.NewResponseController(w).Flush()
			<-request.Context().Done()
			return
		}
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			r.t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"+marker+"\n")
		io.Copy(io.Discard, buffered)
	}))
	r.t.Cleanup(application.Close)
	return "reverse_proxy /premium/stream/* " + application.Listener.Addr().String()
}

// stream is an event stream or a WebSocket that a visitor has open.
type stream struct {
	name string
	over chan time.Time // holds when it ended
}

// ended waits until the stream has ended, at most so long.
func (s *stream) ended(limit time.Duration) (at time.Time, ended bool) {
	timer := time.NewTimer(max(limit, time.Millisecond)) // what has ended already is always seen
	defer timer.Stop()
	select {
	case at = <-s.over:
		s.over <- at
		return at, true
	case <-timer.C:
		return time.Time{}, false
	}
}

// openStreams opens an event stream and a WebSocket, in this order.
func (r *rig) openStreams(n *node, v *visitor) []*stream {
	r.t.Helper()
	open, err := r.streamsOf(r.t.Context(), n, v)
	must(r.t, err)
	return open
}

// streamsOf is openStreams for any goroutine.
func (r *rig) streamsOf(ctx context.Context, n *node, v *visitor) ([]*stream, error) {
	var open []*stream
	for _, kind := range []struct {
		name, target string
		header       http.Header
		status       int
	}{
		{"an event stream", eventStream, http.Header{"Accept": {"text/event-stream"}}, http.StatusOK},
		{"a WebSocket", webSocket, http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}, http.StatusSwitchingProtocols},
	} {
		s, err := v.openStream(ctx, n, kind.target, kind.header, kind.status)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kind.name, err)
		}
		s.name = kind.name
		open = append(open, s)
	}
	return open, nil
}

func (v *visitor) openStream(ctx context.Context, n *node, target string, header http.Header, status int) (*stream, error) {
	request, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodGet, origin+target, nil)
	if err != nil {
		return nil, err
	}
	request.Header = header.Clone()
	client := &http.Client{Transport: n.transport, Jar: v.jar}
	response, err := client.Do(request) //nolint:bodyclose // it ends with the stream
	if err != nil {
		return nil, err
	}
	lines := bufio.NewReader(response.Body)
	if line, err := lines.ReadString('\n'); err != nil || response.StatusCode != status || !strings.Contains(line, marker) {
		response.Body.Close()
		return nil, fmt.Errorf("answered %d, %.100q: %w", response.StatusCode, line, err)
	}
	s := &stream{over: make(chan time.Time, 1)}
	go func() {
		io.Copy(io.Discard, lines)
		s.over <- time.Now()
		response.Body.Close()
	}()
	return s, nil
}
