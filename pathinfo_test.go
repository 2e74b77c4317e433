package paywall_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// routesByPathInfo is an application that serves what follows a script's name, as front controllers do.
func routesByPathInfo(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		route := r.URL.Path
		for _, ending := range []string{".php", ".phtml", ".PHP", ".php7", ".cgi", ".pl", ".aspx", ".cfm", ".jsp", ".py", ".rb", ".dll", ".psgi"} {
			if at := strings.LastIndex(route, ending+"/"); at >= 0 {
				route = route[at+len(ending):]
			}
		}
		if strings.HasPrefix(r.URL.RawQuery, "/") { // as CodeIgniter does
			route, _, _ = strings.Cut(r.URL.RawQuery, "&")
		}
		if strings.HasPrefix(route, "/premium") || strings.HasPrefix(route, "/section") {
			io.WriteString(rw, marker) //nolint:errcheck // a test server
			return
		}
		io.WriteString(rw, "free") //nolint:errcheck // a test server
	}))
	t.Cleanup(server.Close)
	return server.URL
}

const gateByMatcher = `{
	SETUP
	axra {
		api_key        {env.AXRA_API_KEY}
		webhook_secret {env.AXRA_WEBHOOK_SECRET}
		endpoint       ENDPOINT
	}
}
http://localhost:PORT {
	axra_webhook /webhooks/axra
	@paid MATCHER
	axra_paywall @paid {
		price 5.00 usd
	}
	UPSTREAM
}
`

// FB1: what follows a script's name is a path by which applications route; it is gated like that path.
func TestFB1WhatFollowsAScriptIsGated(t *testing.T) {
	upstream := "reverse_proxy " + routesByPathInfo(t)
	const gated, refused, free = "gated", "refused", "free"
	targets := []struct{ target, want string }{
		{"/index.php/premium/post", gated},
		{"/index.php/premium", gated},
		{"/index.php/premium/", gated},
		{"/index.php/premium/index.html", gated},
		{"/index.php//premium/post", gated},
		{"/INDEX.PHP/premium/post", gated},
		{"/app.php7/premium/post", gated},
		{"/cgi-bin/app.cgi/premium/post", gated},
		{"/app.pl/premium/post", gated},
		{"/app.phtml/premium/post", gated},
		{"/Default.aspx/premium/post", gated},
		{"/index.cfm/premium/post", gated},
		{"/app.jsp/premium/post", gated},
		{"/app.py/premium/post", gated},
		{"/app.rb/premium/post", gated},
		{"/isapi.dll/premium/post", gated},
		{"/app.psgi/premium/post", gated},
		{"/?/index.php/premium/post", gated},
		{"/?/premium;x/post", refused},
		{"/A.php/b.php/%c0%af..;/premium/post", refused},
		{"/sub/index.php/premium/post", gated},
		{"/blog/index.php/section/post", gated}, // below the script's folder
		{"/blog/public/index.php/section/post", gated},
		{"/index.php/a.php/premium/post", gated},
		{"/index.php%2Fpremium/post", gated},
		{"/index.php/free/../premium/post", gated},
		{"/index.php;x/premium/post", refused},
		{"/index%2Ephp/premium/post", gated},
		{"/index.php/%70remium/post", gated},
		{"/index.php%5Cpremium/post", refused},
		{"/a.php/b.php/c.php/d.php/e.php/f.php/premium/post", refused},
		{"/?/premium/post", gated},
		{"/index.php?/premium/post&x=1", gated},
		{"/index.php?/%70remium/post", gated},
		{"/?axra_here=1&/premium/post", gated},
		{"/index.php", free},
		{"/index.php/about", free},
		{"/docs/v1.2/premium/post", free},
		{"/index.php?q=/premium/post", free},
	}
	for name, gate := range map[string]string{
		"paths":      "path /premium /premium/* /blog/section/*",
		"expression": "`(path('/premium*') || path('/blog/section/*')) && !path('/premium/free')`",
	} {
		w := newWorld(t, worldOptions{Caddyfile: strings.NewReplacer("MATCHER", gate, "UPSTREAM", upstream).Replace(gateByMatcher)})
		for _, row := range targets {
			status, body := w.rawGet(row.target, "Accept: text/html", "Sec-Fetch-Mode: navigate")
			paid := strings.Contains(body, marker)
			switch {
			case paid:
				t.Errorf("%s: %s: paid bytes", name, row.target)
			case row.want == gated && status != http.StatusSeeOther:
				t.Errorf("%s: %s: answers %d", name, row.target, status)
			case row.want == refused && status != http.StatusBadRequest:
				t.Errorf("%s: %s: answers %d", name, row.target, status)
			case row.want == free && (status != http.StatusOK || body != "free"):
				t.Errorf("%s: %s: answers %d %q", name, row.target, status, body)
			}
		}
	}
	t.Run("a gate around all but something", func(t *testing.T) {
		config := strings.NewReplacer("MATCHER", "not path / /index.php /assets/* /free/*", "UPSTREAM", upstream).Replace(gateByMatcher)
		w := newWorld(t, worldOptions{Caddyfile: config})
		for target, free := range map[string]bool{
			"/assets/index.php/premium/post": false,
			"/?/premium/post":                false,
			"/index.php?/premium/post":       false,
			"/assets/app.js":                 true,
			"/assets/index.php/free/post":    true,
			"/index.php":                     true,
			"/":                              true,
		} {
			status, body := w.rawGet(target, "Accept: text/html", "Sec-Fetch-Mode: navigate")
			if strings.Contains(body, marker) || free != (status == http.StatusOK) {
				t.Errorf("%s: answers %d %q", target, status, body)
			}
		}
	})
}

// FB1: a buyer of a section gets what a front controller serves of it.
func TestFB1ABuyerGetsInByTheFrontController(t *testing.T) {
	config := strings.NewReplacer("GATE", "/premium/*", "UPSTREAM", "reverse_proxy "+routesByPathInfo(t)).Replace(gateBefore)
	w := newWorld(t, worldOptions{Caddyfile: config})
	v := w.visitor()
	v.buy("/index.php/premium/post", cardGood).wantPaid(t)
	v.open("/premium/post").wantPaid(t)
}
