package paywall_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// gateWith is the five lines with more options in the gate, and more directives
// after it.
func gateWith(options, after string) string {
	config := strings.Replace(fiveLines, "access 30d", "access 30d\n"+options, 1)
	return strings.Replace(config, "\tfile_server\n", after+"\n\tfile_server\n", 1)
}

func TestATeaserStandsInForThePage(t *testing.T) {
	for name, test := range map[string]struct{ option, want, robots string }{
		"file":         {"teaser /teaser.html", "TEASER FILE", "noindex"},
		"file by path": {"teaser /teasers{path} index", "TEASER OF ARTICLE", ""},
		"route":        {"teaser {\n respond \"TEASER {http.axra.offer./premium/*.price} {http.axra.offer./premium/*.checkout}\"\n }", "TEASER 5.00 USD /premium/article.html?axra_checkout=%2Fpremium%2F%2A", "noindex"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, worldOptions{Caddyfile: gateWith(test.option, "")})
			w.write("teaser.html", "TEASER FILE")
			w.write("teasers/premium/article.html", "TEASER OF ARTICLE")
			v := w.visitor()
			answer := v.open("/premium/article.html")
			answer.wantPage(t, http.StatusPaymentRequired, test.want)
			if got := answer.header.Get("X-Robots-Tag"); got != test.robots {
				t.Errorf("X-Robots-Tag %q", got)
			}
			if answer.header.Get("Etag") != "" || answer.header.Get("Last-Modified") != "" {
				t.Error("a teaser can be revalidated")
			}
			crawler := navigation.Clone()
			crawler.Set("User-Agent", "Googlebot/2.1")
			v.do(http.MethodGet, "/premium/article.html", crawler, nil).wantPage(t, http.StatusPaymentRequired, test.want)
			ranged := navigation.Clone()
			ranged.Set("Range", "bytes=0-2")
			v.do(http.MethodGet, "/premium/article.html", ranged, nil).wantPage(t, http.StatusPaymentRequired, test.want)
			if w.creations() != 0 {
				t.Error("a teaser created a session")
			}
			if program := v.do(http.MethodGet, "/premium/article.html", nil, nil); !strings.Contains(program.body, `"amount":5.00`) {
				t.Errorf("a program gets %d %s", program.status, program.body)
			}
			v.buy("/premium/article.html?axra_checkout", cardGood).wantPaid(t)
		})
	}
}

func TestG2NoTeaserLeadsToPaidBytes(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: gateWith("teaser {path}.teaser", "respond /premium/article.html.teaser \"TEASER {header.X-Original-Url}\"")})
	header := navigation.Clone()
	header.Set("X-Original-Url", "/premium/article.html")
	if answer := w.visitor().do(http.MethodGet, "/premium/article.html", header, nil); !strings.Contains(answer.body, "TEASER") || strings.Contains(answer.body, "premium") {
		t.Error("a server behind is told the paid path in a header")
	}
	header.Set("X-Original-Url", "/premium/other.html")
	if answer := w.visitor().do(http.MethodGet, "/premium/article.html", header, nil); answer.status != http.StatusBadRequest {
		t.Errorf("another path in a header: %d", answer.status)
	}
	for _, target := range []string{"/premium/article.html;x", "/premium/article.html%3fx", "/premium/article.html%00", "/premium/x/..%2farticle.html", `/premium/article.html\x`} {
		if answer := w.visitor().open(target); strings.Contains(answer.body, marker) || answer.status == http.StatusOK {
			t.Errorf("%s: %d %.60s", target, answer.status, answer.body)
		}
	}
	w.visitor().open("/premium/article.html").wantPage(t, http.StatusPaymentRequired, "TEASER")
	// One that is not there leaves the built-in way.
	w.visitor().open("/premium/other.html").wantCheckout(t, w)
}

func TestFreeSamplesEnd(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: gateWith("preview 2 per 30d", "header Cache-Control public")})
	for _, name := range []string{"1", "2", "3"} {
		w.write("premium/"+name+".html", marker+" "+name)
	}
	v := w.visitor()
	for range 3 {
		first := v.open("/premium/1.html")
		first.wantPaid(t)
		if first.header.Get("Cache-Control") != "private" {
			t.Errorf("a free sample says Cache-Control %q", first.header.Get("Cache-Control"))
		}
	}
	v.open("/premium/2.html").wantPaid(t)
	v.open("/premium/3.html").wantCheckout(t, w)
	v.open("/premium/1.html").wantPaid(t)
	for name, header := range map[string]http.Header{
		"a program": nil,
		"a picture of a read page": {
			"Sec-Fetch-Dest": {"image"}, "Sec-Fetch-Site": {"same-origin"}, "Referer": {w.site + "/premium/1.html"},
		},
		"a download of a read page": {
			"Sec-Fetch-Dest": {"empty"}, "Sec-Fetch-Site": {"same-origin"}, "Referer": {w.site + "/premium/1.html"},
		},
		"a picture for another site": {
			"Sec-Fetch-Dest": {"image"}, "Sec-Fetch-Site": {"cross-site"}, "Referer": {w.site + "/premium/1.html"},
		},
	} {
		if answer := v.do(http.MethodGet, "/premium/3.html", header, nil); answer.status != http.StatusPaymentRequired {
			t.Errorf("%s: %d", name, answer.status)
		}
	}
	w.pass(31 * 24 * time.Hour)
	v.open("/premium/3.html").wantPaid(t)
}

func TestAFreeSampleIsThePageThatWasRead(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: gateWith("preview 2 per 30d", "axra_paywall /other/* {\n price 5.00 usd\n preview 1 per 30d\n }\n respond /premium/gone 404")})
	w.write("other/1.html", marker)
	v := w.visitor()
	for _, missing := range []string{"/premium/missing.html", "/premium/gone"} {
		if answer := v.open(missing); answer.status != http.StatusNotFound {
			t.Errorf("%s: %d", missing, answer.status)
		}
	}
	v.open("/premium/article.html?id=1").wantPaid(t)
	v.open("/premium/article.html?id=2").wantPaid(t) // an application's other page
	v.open("/premium/article.html?id=3").wantCheckout(t, w)
	v.open("/premium/article.html?id=1").wantPaid(t)
	v.open("/other/1.html").wantPaid(t) // another gate's
	header := navigation.Clone()
	header.Set("X-Original-Url", "/premium/other.html")
	if answer := v.do(http.MethodGet, "/premium/article.html?id=1", header, nil); strings.Contains(answer.body, marker) {
		t.Errorf("G9: %d", answer.status)
	}
}

func TestFreeSamplesAreForBrowsersThatKeepCookies(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: gateWith("preview 1 per 1d", "")})
	free := 0
	for range 50 {
		if w.visitor().open("/premium/article.html").status == http.StatusOK {
			free++
		}
	}
	if free != 30 {
		t.Errorf("%d free pages for visitors without a cookie", free)
	}
}

// T6: a sample's cookie is no access token, nor another gate's.
func TestT6APreviewCookieOpensNothingElse(t *testing.T) {
	config := gateWith("preview 2 per 1d", "axra_paywall /other/* {\n price 1.00 usd\n preview 1 per 1d\n }")
	w := newWorld(t, worldOptions{Caddyfile: config})
	v := w.visitor()
	v.open("/premium/article.html").wantPaid(t)
	raw := v.cookieFor("/premium/", "axra_f_")
	access := http.Header{"Authorization": {"Bearer " + raw}}
	if answer := w.visitor().do(http.MethodGet, "/premium/article.html", access, nil); answer.status != http.StatusPaymentRequired {
		t.Errorf("as a bearer token: %d", answer.status)
	}
	site, err := url.Parse(w.site)
	mustDo(t, err)
	cheat := w.visitor()
	w.write("other/x", marker)
	cheat.open("/other/x")
	name := cheat.cookieNameFor("/other/", "axra_f_")
	cheat.client.Jar.SetCookies(site, []*http.Cookie{{Name: name, Value: raw, Path: "/"}})
	w.write("other/y", marker)
	cheat.open("/other/y").wantPaid(t) // as a new visitor: the cookie does not count
	cheat.open("/other/x").wantCheckout(t, w)
}

// Whatever stands after the gate or in the block, the teaser is all that is served.
func TestNoTeaserLeadsToThePaidPage(t *testing.T) {
	for name, test := range map[string]struct{ option, after, want string }{
		"try_files after the gate":   {"teaser /teasers{path}", "handle {\n try_files {path} {path}.html /index.html\n file_server\n }", "TEASER"},
		"php after the gate":         {"teaser /teasers{path}", "php_fastcgi localhost:1", ""},
		"rewrite and try_files":      {"teaser {\n rewrite * /teasers{path}\n try_files {path} /teasers/default.html\n file_server\n }", "", "TEASER"},
		"a route":                    {"teaser {\n route {\n rewrite * /teasers{path}\n try_files {path} /teasers/default.html\n file_server\n }\n }", "", "TEASER"},
		"a block that says nothing":  {"teaser {\n header X-Teaser yes\n }", "", ""},
		"a block that is for others": {"teaser {\n @de header Accept-Language de*\n respond @de Kaufen\n }", "", ""},
		"a block that only rewrites": {"teaser {\n rewrite * /teaser.html\n }", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, worldOptions{Caddyfile: gateWith(test.option, test.after)})
			w.write("teasers/premium/article.html", "TEASER")
			w.write("teasers/default.html", "TEASER")
			for _, target := range []string{"/premium/article.html", "/premium/other.html"} {
				answer := w.visitor().open(target)
				if strings.Contains(answer.body, marker) || target == "/premium/article.html" && !strings.HasPrefix(answer.body, test.want) {
					t.Errorf("%s: %d %.100s", target, answer.status, answer.body)
				}
				if test.want == "" && name != "php after the gate" {
					answer.wantCheckout(t, w)
				}
			}
		})
	}
}

// echo is a lenient application.
func echo(t *testing.T, answer http.HandlerFunc) string {
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func TestATeaserThatAnApplicationHasNot(t *testing.T) {
	application := echo(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, strings.Repeat("no such page ", 100))
	})
	w := newWorld(t, worldOptions{Caddyfile: gateWith("teaser /teasers{path}", "reverse_proxy "+application)})
	w.visitor().open("/premium/article.html").wantCheckout(t, w)
}

func TestG8NoTeaserIsUpgraded(t *testing.T) {
	application := echo(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			_, _ = io.WriteString(w, "teaser")
			return
		}
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		w.WriteHeader(http.StatusSwitchingProtocols)
	})
	w := newWorld(t, worldOptions{Caddyfile: gateWith("teaser /teaser.html", "reverse_proxy "+application)})
	header := http.Header{"Accept": {"text/html"}, "Connection": {"Upgrade"}, "Upgrade": {"websocket"}}
	if answer := w.visitor().do(http.MethodGet, "/premium/socket", header, nil); answer.status != http.StatusPaymentRequired || answer.body != "teaser" {
		t.Errorf("%d %s", answer.status, answer.body)
	}
}

func TestATeaserByWhatAClientSendsStaysInItsFolder(t *testing.T) {
	for _, uri := range []string{"/teasers/{query.lang}.html", "/teasers/{header.Accept-Language}.html", "/teasers/{host}{query.lang}.html", "/{query.page}.html"} {
		w := newWorld(t, worldOptions{Caddyfile: gateWith("teaser "+uri, "")})
		w.write("teasers/en.html", "TEASER")
		header := navigation.Clone()
		header.Set("Accept-Language", "../premium/article")
		answer := w.visitor().do(http.MethodGet, "/premium/article.html?lang=../premium/article&page=premium/article", header, nil)
		if strings.Contains(answer.body, marker) {
			t.Errorf("%s: a stranger reads the paid page with %d", uri, answer.status)
		}
		if uri == "/teasers/{query.lang}.html" {
			if answer := w.visitor().open("/premium/article.html?lang=en"); answer.body != "TEASER" {
				t.Errorf("an honest one gets %d %s", answer.status, answer.body)
			}
		}
		w.stop()
	}
}

// G8: no part of a free page is a socket. A proxy takes the connection whatever it was
// told, so this looks at all that comes over it.
func TestG8NoPartOfAFreePageIsUpgraded(t *testing.T) {
	application := echo(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "free")
			return
		}
		connection, stream, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer connection.Close() //nolint:errcheck // nothing to be done
		_, _ = stream.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + marker)
		_ = stream.Flush()
	})
	for name, option := range map[string]string{"a free page": "preview 1 per 30d", "a teaser": "teaser /teaser"} {
		w := newWorld(t, worldOptions{Caddyfile: strings.Replace(gateWith(option, ""), "\tfile_server", "\treverse_proxy "+application, 1)})
		v := w.visitor()
		v.open("/premium/free")
		address, err := url.Parse(w.site + "/premium/free")
		mustDo(t, err)
		cookies := ""
		for _, cookie := range v.client.Jar.Cookies(address) {
			cookies += cookie.Name + "=" + cookie.Value + "; "
		}
		_, answer := w.raw("GET /premium/socket HTTP/1.1\r\nHost: localhost:" + w.port + "\r\nAccept: text/html\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Dest: image\r\n" +
			"Referer: " + w.site + "/premium/free\r\nCookie: " + cookies + "\r\n\r\n")
		if strings.Contains(answer, marker) {
			t.Errorf("%s: %q", name, answer)
		}
		w.stop()
	}
}
