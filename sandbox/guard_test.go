package sandbox

import (
	"net/http/httptest"
	"testing"
)

func TestGuard(t *testing.T) {
	r := newRig(t, func(c *Config) { c.BaseURL = "http://pay.test:8403" })
	for _, tc := range []struct {
		name, method, target string
		remote, host         string
		header               [2]string
		want                 int
	}{
		{name: "local", want: 200},
		{name: "IPv6 loopback", remote: "[::1]:9", host: "[::1]:8403", want: 200},
		{name: "IPv4 in IPv6", remote: "[::ffff:127.0.0.1]:9", want: 200},
		{name: "another loopback address", remote: "127.8.8.8:9", want: 200},
		{name: "the network", remote: "192.168.1.5:9", want: 403},
		{name: "IPv4 in IPv6 of the network", remote: "[::ffff:10.0.0.1]:9", want: 403},
		{name: "unix socket", remote: "@", want: 403},
		{name: "no address", remote: " ", want: 403},
		{name: "API from the network", method: "POST", target: "/api/v1/business/auth/token", remote: "10.0.0.1:9", want: 403},
		{name: "checkout from the network", target: "/checkout/x", remote: "10.0.0.1:9", want: 403},

		{name: "host of the base URL", host: "pay.test:8403", want: 200},
		{name: "host of the base URL in capitals, other port", host: "PAY.test.:1", want: 200},
		{name: "loopback address as host", host: "127.0.0.1", want: 200},
		{name: "rebound name", host: "evil.example:8403", want: 403},
		{name: "name that ends like ours", host: "localhost.evil.example", want: 403},
		{name: "address of the network as host", host: "10.0.0.1", want: 403},
		{name: "empty host", host: " ", want: 403},

		{name: "own page", method: "POST", target: "/sandbox/reset", header: [2]string{"Sec-Fetch-Site", "same-origin"}, want: 200},
		{name: "program", method: "POST", target: "/sandbox/reset", want: 200},
		{name: "cross-site page", method: "POST", target: "/sandbox/reset", header: [2]string{"Sec-Fetch-Site", "cross-site"}, want: 403},
		{name: "the merchant's page on another port", method: "POST", target: "/sandbox/reset", header: [2]string{"Sec-Fetch-Site", "same-site"}, want: 403},
		{name: "foreign origin, old browser", method: "POST", target: "/dashboard/reset", header: [2]string{"Origin", "http://evil.example"}, want: 403},
		{name: "origin of another port", method: "POST", target: "/dashboard/reset", header: [2]string{"Origin", "http://localhost:1"}, want: 403},
		{name: "opaque origin", method: "POST", target: "/dashboard/reset", header: [2]string{"Origin", "null"}, want: 403},
		{name: "own origin, old browser", method: "POST", target: "/dashboard/reset", header: [2]string{"Origin", "http://localhost:8403"}, want: 303},
		{name: "checkout posted from elsewhere", method: "POST", target: "/checkout/x", header: [2]string{"Sec-Fetch-Site", "cross-site"}, want: 403},
		{name: "coming from the merchant", target: "/", header: [2]string{"Sec-Fetch-Site", "cross-site"}, want: 200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req := httptest.NewRequest(or(tc.method, "GET"), or(tc.target, "/"), nil)
			req.RemoteAddr = or(tc.remote, "127.0.0.1:9")
			req.Host = or(tc.host, "localhost:8403")
			if tc.header[0] != "" {
				req.Header.Set(tc.header[0], tc.header[1])
			}
			w := httptest.NewRecorder()
			r.ServeHTTP(w, req)
			if w.Code != tc.want {
				t.Errorf("status %d, want %d: %s", w.Code, tc.want, w.Body)
			}
		})
	}
}

func TestReadingChangesNothing(t *testing.T) {
	r := newRig(t, nil)
	sess := r.session(anOrder)
	for _, target := range []string{
		"/sandbox/reset", "/sandbox/sessions/" + sess.ID + "/expire", "/sandbox/sessions/" + sess.ID + "/pay",
		"/sandbox/events", "/dashboard/reset", path(sess, "/cancel"),
	} {
		if resp := r.get(target); resp.StatusCode != 405 && resp.StatusCode != 404 {
			t.Errorf("GET %s: %d", target, resp.StatusCode)
		}
	}
	if got := r.Sessions(); len(got) != 1 || got[0].Status != StatusOpen {
		t.Errorf("sessions %+v", got)
	}
}
