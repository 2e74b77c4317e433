package paywall_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/caddy-axra/paywall/internal/sitetest"
)

// lenient is an application that decodes and folds paths as some servers do, and
// serves the marker for whatever then lies at or below /paid.
func lenient(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		for _, seen := range []string{r.RequestURI, r.Header.Get("X-Original-Url"), r.Header.Get("X-Rewrite-Url")} {
			if seen != "" && opensPaid(seen) {
				rw.Header().Set("Cache-Control", "public, max-age=600")
				rw.Header().Set("Etag", `"paid"`)
				io.WriteString(rw, sitetest.Marker) //nolint:errcheck // a test server
				return
			}
		}
		io.WriteString(rw, "free") //nolint:errcheck // a test server
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// opensPaid folds a request target in each way that is in use somewhere.
func opensPaid(target string) bool {
	target, _, _ = strings.Cut(target, "?")
	for range 4 {
		if decoded, err := url.PathUnescape(target); err == nil {
			target = decoded
		}
		folded := strings.ReplaceAll(target, `\`, "/")
		folded, _, _ = strings.Cut(folded, "\x00")
		segments := strings.Split(folded, "/")
		for i, segment := range segments {
			segments[i], _, _ = strings.Cut(segment, ";")
		}
		for _, reading := range []string{target, folded, strings.Join(segments, "/")} {
			clean := strings.ToLower(path.Clean("/" + reading))
			if clean == "/paid" || strings.HasPrefix(clean, "/paid/") {
				return true
			}
		}
	}
	return false
}

// G1–G5 and their class: no obfuscation of the path leads past the gate, whatever stands behind it. The list of
// spellings is in internal/gate.
func TestG1G2G3G4G5Obfuscations(t *testing.T) {
	const gated, refused, never = "402", "400", "never paid bytes"
	targets := []struct{ id, target, want string }{
		{"G1", "/paid", gated},
		{"G1", "/paid/", gated},
		{"G1 a sidecar", "/paid/a.html.gz", gated},
		{"G2", "/paid;v=1/a.html", never},
		{"G2", "/x/..;/paid/a.html", never},
		{"G3", `/\paid\a.html`, never},
		{"G3", "/paid%5ca.html", never},
		{"G4", "/paid%00/a.html", refused},
		{"G4", "/paid/%00", gated},
		{"G5", "//paid/a.html", gated},
		{"G5", "/x/%2e%2e/paid/a.html", gated},
		{"G5", "/paid%2fa.html", gated},
		{"G5", "/PAID/a.html", gated},
		{"G5", "/%70aid/a.html", gated},
		{"G5 encoded twice", "/%2570aid/a.html", never},
		{"G5 out of the gate", "/paid/../free.html", never},
		{"G5 absolute form", "http://localhost/paid/a.html", gated},
		{"G5 absolute form, other host", "http://evil.example/paid/a.html", never},
		{"G5 overlong", "/paid%c0%afa.html", never},
		{"G5 mixed", `/x/..%5c..;/%2570AID%2f/a.html`, never},
	}
	for upstream, directive := range map[string]string{
		"file_server":   "root ROOT\n\tfile_server browse {\n\t\tprecompressed gzip br zstd\n\t}",
		"reverse_proxy": "reverse_proxy " + lenient(t),
	} {
		t.Run(upstream, func(t *testing.T) {
			w := newWorld(t, sitetest.Options{Caddyfile: sitetest.GateFor("/paid/*", directive)})
			for _, name := range []string{"paid/a.html", "paid/a.html.gz", "paid/index.html"} {
				w.Write(name, sitetest.Marker)
			}
			for _, c := range targets {
				status, body := w.RawGet(c.target, "Accept-Encoding: gzip, br")
				if strings.Contains(body, sitetest.Marker) || c.want != never && fmt.Sprint(status) != c.want {
					t.Errorf("%s %s: status %d, want %s: %.60s", c.id, c.target, status, c.want, body)
				}
			}
			if status, body := w.RawGet("/free.html"); strings.Contains(body, sitetest.Marker) || status >= 400 && status != 404 {
				t.Errorf("a free page answers %d", status)
			}
		})
	}
}

// G6–G9, G11: methods, conditions and headers change nothing.
func TestG6G7G8G9G11HeadersAndMethods(t *testing.T) {
	calls := make(chan string, 1000)
	upstream := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		calls <- r.Method + " " + r.RequestURI
		rw.Header().Set("Etag", `"paid"`)
		io.WriteString(rw, sitetest.Marker) //nolint:errcheck // a test server
	}))
	defer upstream.Close()
	w := newWorld(t, sitetest.Options{Caddyfile: sitetest.GateFor("/paid/*", "reverse_proxy "+upstream.URL)})
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "POST", "PUT", "PATCH", "DELETE", "LOCK", "GeT", "X"} {
		for _, header := range []string{
			"X-A: b", "Range: bytes=0-1", "If-Range: \"paid\"\r\nRange: bytes=0-1", "If-None-Match: \"paid\"", "If-Match: \"paid\"",
			"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
			"X-Forwarded-Uri: /free", "X-Original-URI: /free", "X-Original-URL: /free", "X-Rewrite-URL: /free",
			"X-HTTP-Method-Override: GET", "X-Forwarded-Host: free.example", "X-Forwarded-For: 127.0.0.1",
			"Host: LOCALHOST:" + w.Port, "Cookie: axra_paid=1; __Host-axra_=1", "Authorization: Basic YTpi",
		} {
			if !strings.HasPrefix(header, "Host:") {
				header += "\r\nHost: localhost:" + w.Port
			}
			status, _ := w.Raw(fmt.Sprintf("%s /paid/a HTTP/1.1\r\n%s\r\n\r\n", method, header))
			if status != http.StatusPaymentRequired {
				t.Errorf("%s with %q: status %d", method, header, status)
			}
		}
	}
	select {
	case call := <-calls:
		t.Errorf("G6: the upstream was called: %s", call)
	default:
	}
	// An unpaid path that claims to be a paid one elsewhere is refused.
	for _, header := range []string{"X-Original-URL", "X-Rewrite-URL", "X-Original-URI", "X-Forwarded-Uri"} {
		if status, body := w.RawGet("/free", header+": /paid/a"); status != http.StatusBadRequest || strings.Contains(body, sitetest.Marker) {
			t.Errorf("G9 %s: status %d", header, status)
		}
	}
}

// G10: where the gate stands among other directives.
func TestG10Places(t *testing.T) {
	const gate, files = "axra_paywall /old* {\n price 5.00 usd\n }\n", "root ROOT\n file_server\n"
	w := newWorld(t, sitetest.Options{})
	w.Write("paid/a.html", sitetest.Marker)
	w.Write("old/x", sitetest.Marker)
	for name, body := range map[string]string{
		"after rewrite":      "rewrite /old/* /paid/a.html\n axra_paywall /paid/* {\n price 5.00 usd\n }\n" + files,
		"before rewrite":     gate + "rewrite /old/* /paid/a.html\n" + files,
		"after try_files":    gate + "try_files /paid/a.html\n" + files,
		"in handle":          "handle /old/* {\n axra_paywall {\n price 5.00 usd\n }\n rewrite /paid/a.html\n" + files + "}",
		"in handle_path":     "handle_path /old/* {\n axra_paywall /* {\n price 5.00 usd\n }\n rewrite /paid/a.html\n" + files + "}",
		"in route":           "route {\n" + gate + "rewrite /old/* /paid/a.html\n" + files + "}",
		"with handle_errors": gate + "rewrite /old/* /paid/a.html\n" + files + "handle_errors {\n rewrite /paid/a.html\n file_server\n }",
		"with a teaser": "axra_paywall /old* {\n price 5.00 usd\n teaser /teasers{path}\n }\nroot ROOT\n" +
			"handle {\n try_files {path} {path}.html /index.html\n file_server\n }\n",
		"encode and templates": "encode gzip\n templates\n" + gate + "rewrite /old/* /paid/a.html\n" + files,
	} {
		t.Run(name, func(t *testing.T) {
			before, _, _ := strings.Cut(sitetest.FiveLines, "\taxra_paywall")
			w.Load(before + body + "\n}\n")
			if page := w.Visitor().Open("/old/x"); strings.Contains(page.Body, sitetest.Marker) {
				t.Error("a visitor gets the paid page")
			}
			if status, got := w.RawGet("/old/x"); status != http.StatusPaymentRequired || strings.Contains(got, sitetest.Marker) {
				t.Fatalf("status %d %s", status, got)
			}
			if strings.Contains(body, "teaser") {
				return // which a person buys from by its own button
			}
			back := w.Visitor().Buy("/old/x?q=1")
			if back.WantPaid(t); back.URL.RequestURI() != "/old/x?q=1" {
				t.Errorf("back at %s", back.URL.RequestURI())
			}
		})
	}
}

// G13: a megabyte of headers costs an answer in the four hundreds.
func TestG13HugeHeaders(t *testing.T) {
	// Caddy itself stops at 16 KB, unless the owner allows more.
	w := newWorld(t, sitetest.Options{Caddyfile: strings.Replace(sitetest.FiveLines, "SETUP", "SETUP MAX", 1)})
	var cookies strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&cookies, "axra_p_%012x=%s; ", i, strings.Repeat("x", 20))
	}
	for name, header := range map[string]string{
		"cookies":  "Cookie: " + cookies.String(),
		"megabyte": "X-Big: " + strings.Repeat("x", 1<<20),
		"many":     strings.TrimSuffix(strings.Repeat("Cookie: axra_=x.y.z\r\n", 9000), "\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			status, body := w.RawGet(article, header)
			if status != http.StatusRequestHeaderFieldsTooLarge || strings.Contains(body, sitetest.Marker) {
				t.Errorf("status %d", status)
			}
		})
	}
	// What the gate refuses is not given to handle_errors, which could serve the file.
	errorPages := "root ROOT\n\tfile_server\n\thandle_errors {\n\t\troot ROOT\n\t\tfile_server\n\t}"
	for gate, want := range map[string]int{"@fails": http.StatusInternalServerError, "/premium/*": http.StatusRequestHeaderFieldsTooLarge} {
		config := strings.Replace(sitetest.GateFor(gate, errorPages), "SETUP", "SETUP MAX", 1)
		config = strings.Replace(config, "axra_webhook", "@fails expression path('/premium/*') && int({query.n}) >= 0\n\taxra_webhook", 1)
		w.Load(config)
		status, body := w.RawGet("/premium/article.html?n=x", "X-Big: "+strings.Repeat("x", 200<<10))
		if status != want || strings.Contains(body, sitetest.Marker) {
			t.Errorf("%s: status %d %.60s", gate, status, body)
		}
	}
}

// R1 and R2: the way back leads to the page of the site byte for byte, whatever the path, the query and the headers say.
func TestR1R2TheWayBackStaysOnTheSite(t *testing.T) {
	config := strings.Replace(sitetest.FiveLines, "axra_paywall /premium/* {", "axra_paywall {", 1)
	w := newWorld(t, sitetest.Options{Caddyfile: strings.Replace(config, "\troot ROOT", "\trespond /echo \"MARK {uri}|{http.request.orig_uri}\"\n\troot ROOT", 1)})
	for _, target := range []string{"//evil.example/x", "/%5cevil.example", "///evil.example", "//evil.example/..//x", "/%09/evil.example"} {
		v := w.Visitor()
		answer := v.Open(w.Site + target)
		if answer.Status == http.StatusBadRequest {
			continue
		}
		back := v.Pay(v.Open(answer.Location()))
		w.Delivered()
		to := v.Open(back.Location()).Location()
		if !strings.HasPrefix(back.Location(), w.Site+"/") || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.HasPrefix(to, `/\`) {
			t.Errorf("R1 %s: the success URL is %q, and leads to %s", target, back.Location(), to)
		}
	}
	for _, query := range []string{"", "?a=1&b=%20x", "?x={SESSION_ID}", "?q=caf%C3%A9+%2B&q=2", "?=&=", "?a;b", "?%", "?axra=1", "?long=" + strings.Repeat("x", 1200)} {
		v := w.Visitor()
		back := v.Pay(v.Browse("/echo" + query))
		w.Delivered()
		if got := v.Open(back.Location()).Location(); got != "/echo"+query {
			t.Errorf("R1 query %q comes back as %q", query, got)
		}
		v.Open("/echo"+query).WantBody(t, "MARK /echo"+query+"|/echo"+query)
		if answer := v.Open(back.Location()[:len(back.Location())-1]); strings.Contains(answer.Body, "axra_session") {
			t.Errorf("R1 the application sees %s", answer.Body)
		}
	}
	w.Visitor().Open("/echo?"+strings.Repeat("x", 3000)).WantPage(t, http.StatusRequestURITooLong, "This address is too long")
	for _, header := range []string{
		"X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https", "Forwarded: host=evil.example;proto=https", "X-Forwarded-Port: 1", "Host: localhost:1",
	} {
		before := w.Creations()
		w.RawGet("/page", header, "Accept: text/html", "Sec-Fetch-Mode: navigate")
		calls := w.Sandbox.Calls()
		if w.Creations() != before+1 || !strings.Contains(string(calls[len(calls)-1].Body), `"`+w.Site+`/page?`) {
			t.Errorf("R2 %q: %s", header, calls[len(calls)-1].Body)
		}
	}
}

// C2, G7 and G8: what is no page navigation starts no checkout; and no answer tells which files exist (H3).
func TestC2H3OnlyNavigationsStartACheckout(t *testing.T) {
	w := newWorld(t, sitetest.Options{})
	html := sitetest.Navigation.Get("Accept")
	for name, request := range map[string]struct {
		method string
		header http.Header
	}{
		"HEAD":         {http.MethodHead, http.Header{"Accept": {html}}},
		"POST":         {http.MethodPost, http.Header{"Accept": {html}}},
		"curl":         {http.MethodGet, http.Header{"Accept": {"*/*"}}},
		"image":        {http.MethodGet, http.Header{"Accept": {html}, "Sec-Fetch-Dest": {"image"}, "Sec-Fetch-Mode": {"no-cors"}}},
		"XHR":          {http.MethodGet, http.Header{"Accept": {html}, "Sec-Fetch-Mode": {"cors"}}},
		"prefetch":     {http.MethodGet, http.Header{"Accept": {html}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Purpose": {"prefetch;prerender"}}},
		"crawler":      {http.MethodGet, http.Header{"Accept": {html}, "User-Agent": {"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}}},
		"G7 range":     {http.MethodGet, http.Header{"Range": {"bytes=0-3"}}},
		"G8 websocket": {http.MethodGet, http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}},
		"bad bearer":   {http.MethodGet, http.Header{"Authorization": {"Bearer x.y.z"}}},
	} {
		t.Run(name, func(t *testing.T) {
			there := w.Visitor().Do(request.method, article, request.header, nil)
			missing := w.Visitor().Do(request.method, "/premium/nothing.html", request.header, nil)
			if there.Status != http.StatusPaymentRequired || strings.Contains(there.Body, sitetest.Marker) || there.Header.Get("Set-Cookie") != "" {
				t.Errorf("answers %d and sets %q", there.Status, there.Header.Get("Set-Cookie"))
			}
			if strings.ReplaceAll(missing.Body, "nothing", "article") != there.Body || missing.Status != there.Status {
				t.Errorf("H3: a missing file answers %d %s", missing.Status, missing.Body)
			}
		})
	}
	for _, from := range []string{"cross-site", "same-site"} {
		header := http.Header{"Sec-Fetch-Site": {from}}
		if answer := w.Visitor().Do(http.MethodPost, "/premium/?axra_checkout=%2Fpremium%2F*", header, nil); answer.Status != http.StatusForbidden {
			t.Errorf("a form of a %s: %d", from, answer.Status)
		}
	}
	if w.Creations() != 0 {
		t.Errorf("%d sessions were created", w.Creations())
	}
}

// C3 and S1: one browser, one session; and its session is worth nothing elsewhere. S2 and S5: one answer to every id that is
// not this browser's.
func TestC3S1S2S5OneSessionPerBrowser(t *testing.T) {
	w := newWorld(t, sitetest.Options{})
	v := w.Visitor()
	for range 50 {
		v.Open(article).WantCheckout(t, w)
	}
	if w.Creations() != 1 {
		t.Errorf("C3: %d sessions for 50 reloads", w.Creations())
	}
	back := v.Pay(v.Browse(article))
	w.Delivered()
	w.Visitor().Open(back.Location()).WantPage(t, http.StatusForbidden, "started in another browser")
	v.Browse(back.Location()).WantPaid(t)
	v.Browse(back.Location()).WantPaid(t) // again, from the history

	want := ""
	// Addresses beyond 16 KB Caddy refuses itself, as 431.
	for _, id := range []string{"cs_guess", "", "../../x", "%00", "{SESSION_ID}", "%7BSESSION_ID%7D", strings.Repeat("x", 12<<10), "a&axra_session=b"} {
		answer := w.Visitor().Open("/premium/article.html?axra_session=" + id)
		answer.WantPage(t, http.StatusForbidden, "started in another browser")
		if want == "" {
			want = answer.Body
		}
		if answer.Body != want || len(answer.Header.Values("Set-Cookie")) > 0 {
			t.Errorf("S2: id %.20q answers otherwise", id)
		}
	}
	if w.Creations() != 1 || w.Rows("payments") != 1 {
		t.Error("a shared link or a guess cost a call or a row")
	}
}

// S7: twenty tabs with twenty resources, sold by gates, files and keys. What is bought keeps the cookies small.
func TestS7TwentyTabs(t *testing.T) {
	gates := "respond PAID-CONTENT-MARKER"
	for i := range 7 {
		gates = fmt.Sprintf("axra_paywall /book%02d/* {\n\t\tprice 5.00 usd\n\t}\n\t", i) + gates
	}
	gates = "axra_paywall /key/* {\n\t\tprice 5.00 usd\n\t\tper_path {path.1}\n\t}\n\t" + gates
	w := newWorld(t, sitetest.Options{Caddyfile: strings.Replace(sitetest.GateFor("/file/*", gates), "price 5.00 usd", "price 5.00 usd\n\t\tper_path", 1)})
	v := w.Visitor()
	var targets []string
	for i := range 7 {
		targets = append(targets, fmt.Sprintf("/book%02d/chapter-one.html?utm_source=newsletter", i), fmt.Sprintf("/file/%d.html", i), fmt.Sprintf("/key/%d/x.html", i))
	}
	backs := make([]string, 0, len(targets))
	for _, target := range targets[:20] {
		backs = append(backs, v.Pay(v.Browse(target)).Location())
	}
	w.Delivered()
	for _, back := range backs {
		v.Browse(back).WantPaid(t)
	}
	for _, target := range targets[:20] {
		v.Open(target).WantPaid(t)
		address, err := url.Parse(w.Site + target)
		mustDo(t, err)
		size := 0
		for _, cookie := range v.Client.Jar.Cookies(address) {
			size += len(cookie.Name) + len(cookie.Value)
		}
		if size > 12<<10 {
			t.Errorf("%s: %d bytes of cookies", target, size)
		}
	}
}
