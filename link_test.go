package paywall_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// privateAddress is that of a page, from its receipt.
func (v *visitor) privateAddress(target string) string {
	v.w.t.Helper()
	separator := "?"
	if strings.Contains(target, "?") {
		separator = "&"
	}
	receipt := v.open(target + separator + "axra_receipt")
	address := ""
	for node := range parse(v.w.t, receipt).Descendants() {
		if node.Data == "input" && strings.Contains(attribute(node, "value"), "axra_link=") {
			address = attribute(node, "value")
		}
	}
	if address == "" {
		v.w.t.Fatalf("no private address on the receipt:\n%s", receipt.body)
	}
	return address
}

func TestAPrivateAddressWorksWithoutCookies(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member("links")})
	v, player := w.visitor(), w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	address := v.privateAddress("/premium/article.html")
	for name, header := range map[string]http.Header{"a player": nil, "a browser": navigation} {
		for range 2 { // verified, and remembered
			answer := player.do(http.MethodGet, address, header, nil)
			answer.wantPaid(t)
			if answer.header.Get("Set-Cookie") != "" || !strings.Contains(answer.header.Get("Cache-Control"), "private") {
				t.Errorf("%s: %v", name, answer.header)
			}
		}
	}
	if answer := player.do(http.MethodGet, address, http.Header{"Range": {"bytes=5-8"}}, nil); answer.status != http.StatusPartialContent {
		t.Errorf("a range: %d", answer.status)
	}
	if answer := player.do(http.MethodHead, address, nil, nil); answer.status != http.StatusOK {
		t.Errorf("HEAD: %d", answer.status)
	}
	w.pass(29 * day)
	player.do(http.MethodGet, address, nil, nil).wantPaid(t)
	v.buyLonger("/premium/article.html").wantPaid(t)
	w.pass(29 * day)
	player.do(http.MethodGet, address, nil, nil).wantPaid(t) // extended
	w.pass(3 * day)
	if answer := player.do(http.MethodGet, address, nil, nil); answer.status != http.StatusPaymentRequired {
		t.Errorf("after the end: %d", answer.status)
	}
	if strings.Contains(w.log(), token(address)) {
		t.Error("the token stands in the log")
	}
}

func token(address string) string {
	_, token, _ := strings.Cut(address, "axra_link=")
	return token
}

func TestT4APrivateAddressOpensThatAddress(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: strings.Replace(member("links"), "\troot ROOT",
		"\taxra_paywall /dear/* {\n\t\tprice 500 usd\n\t\tlinks\n\t}\n\troot ROOT", 1)})
	w.write("dear/article.html", marker)
	v, player := w.visitor(), w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	key := "axra_link=" + token(v.privateAddress("/premium/article.html"))
	for _, target := range []string{
		"/premium/other.html?" + key, "/dear/article.html?" + key, "/premium/?" + key, "/premium/article.html/../other.html?" + key,
		"/premium/article.html;/../other.html?" + key, "/premium/article.html%2f..%2fother.html?" + key, "/premium/article.html?id=2&" + key,
		"/premium/article.html?" + key + "A", "/premium/article.html?" + key[:len(key)-1], "/premium/article.html?axra_link=",
		"/premium/article.html?axra_link=" + strings.Repeat("A", 12<<10), "/premium/article.html?axra_link=" + v.cookieFor("/premium/", "axra_t_"),
	} {
		if answer := player.do(http.MethodGet, target, nil, nil); strings.Contains(answer.body, marker) || answer.status < 400 {
			t.Errorf("%.80s: %d", target, answer.status)
		}
	}
	header := http.Header{"X-Original-Url": {"/premium/other.html"}}
	if answer := player.do(http.MethodGet, "/premium/article.html?"+key, header, nil); strings.Contains(answer.body, marker) {
		t.Errorf("G9: %d", answer.status)
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, "PROPFIND"} {
		if answer := player.do(method, "/premium/article.html?"+key, nil, nil); answer.status != http.StatusPaymentRequired {
			t.Errorf("%s: %d", method, answer.status)
		}
	}
	for name, header := range map[string]http.Header{
		"T6 as a cookie": {"Cookie": {v.cookieNameFor("/premium/", "axra_t_") + "=" + token(key)}}, "T6 as a bearer token": {"Authorization": {"Bearer " + token(key)}},
	} {
		for _, first := range []string{"/premium/article.html?" + key, ""} { // remembered or not
			if first != "" {
				player.do(http.MethodGet, first, nil, nil).wantPaid(t)
			}
			if answer := player.do(http.MethodGet, "/premium/article.html", header, nil); answer.status != http.StatusPaymentRequired {
				t.Errorf("%s: %d", name, answer.status)
			}
		}
	}
	// What it is written with is the visitor's, and it gives no receipt away.
	for _, more := range []string{"&axra_receipt=1", "&axra_checkout=member&axra_extend=1", "&axra_restart=1"} {
		answer := player.do(http.MethodGet, "/premium/article.html?"+key+more, navigation, nil)
		if strings.Contains(answer.body, "axra_device") || answer.header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %d %.300s", more, answer.status, answer.body)
		}
	}
}

func TestT7APrivateAddressEndsWithThePayment(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member("links 1h")})
	v, player := w.visitor(), w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	address := v.privateAddress("/premium/article.html")
	player.do(http.MethodGet, address, nil, nil).wantPaid(t)
	w.pass(2 * time.Hour)
	if answer := player.do(http.MethodGet, address, nil, nil); answer.status != http.StatusPaymentRequired {
		t.Errorf("after its hour: %d", answer.status)
	}
	player.open(address).wantPage(t, http.StatusPaymentRequired, "This private address has expired")
	if w.creations() != 1 {
		t.Errorf("%d sessions", w.creations())
	}
	fresh := v.privateAddress("/premium/article.html")
	player.do(http.MethodGet, fresh, nil, nil).wantPaid(t)
	if err := w.sandbox.Refund(w.lastPayment().ID); err != nil {
		t.Fatal(err)
	}
	w.delivered()
	if answer := player.do(http.MethodGet, fresh, nil, nil); answer.status != http.StatusPaymentRequired {
		t.Errorf("after a refund: %d", answer.status)
	}
}

func TestPrivateAddressesCanBeSwitchedOff(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member("links")})
	v, player := w.visitor(), w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	address := v.privateAddress("/premium/article.html")
	player.do(http.MethodGet, address, nil, nil).wantPaid(t)
	w.load(member())
	if answer := player.do(http.MethodGet, address, nil, nil); answer.status != http.StatusPaymentRequired {
		t.Errorf("switched off: %d", answer.status)
	}
}

// A feed names its episodes by addresses that a player can open.
func TestAFeedWithPrivateAddresses(t *testing.T) {
	config := strings.Replace(member("links"), "\troot ROOT", `
	@paid axra_paid member
	header @paid X-Paid yes
	templates /premium/feed.xml {
		mime text/xml application/xml
	}
	root ROOT`, 1)
	w := newWorld(t, worldOptions{Caddyfile: config})
	w.write("premium/feed.xml", `<rss>{{placeholder "http.axra.link./premium/episode 1.mp3"}} {{placeholder "http.axra.link./premium/two.mp3?hd=1"}} {{placeholder "http.axra.link.evil"}}</rss>`)
	w.write("premium/episode 1.mp3", marker+" one")
	w.write("premium/two.mp3", marker+" two")
	v, player := w.visitor(), w.visitor()
	v.buy("/premium/feed.xml", cardGood)
	feed := player.do(http.MethodGet, v.privateAddress("/premium/feed.xml"), nil, nil)
	episodes := strings.Fields(strings.TrimSuffix(strings.TrimPrefix(feed.body, "<rss>"), "</rss>"))
	if len(episodes) != 2 {
		t.Fatalf("the feed says %d %s", feed.status, feed.body)
	}
	for _, episode := range episodes {
		if address, err := url.Parse(episode); err != nil || !strings.HasPrefix(episode, w.site) {
			t.Fatalf("%q: %v", episode, err)
		} else if address.Path != "/premium/episode 1.mp3" && address.RawQuery[:5] != "hd=1&" {
			t.Errorf("%q", episode)
		}
		player.do(http.MethodGet, episode, nil, nil).wantPaid(t)
	}
	if answer := player.do(http.MethodGet, "/premium/two.mp3?axra_link="+token(episodes[0]), nil, nil); answer.status != http.StatusPaymentRequired {
		t.Errorf("one episode's address opens another: %d", answer.status)
	}
	if answer := w.visitor().do(http.MethodGet, "/premium/two.mp3", nil, nil); answer.status != http.StatusPaymentRequired {
		t.Errorf("without: %d", answer.status)
	}
}

// The matcher behind the gate knows who came by a private address.
func TestAxraPaidKnowsPrivateAddresses(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: strings.Replace(member("links"), "\troot ROOT",
		"\t@paid axra_paid member\n\t@other axra_paid\n\troute /premium/* {\n\t\trespond @paid \"MARK {http.axra.user} {query}\"\n\t}\n\troot ROOT", 1)})
	v, player := w.visitor(), w.visitor()
	v.buy("/premium/article.html", cardGood)
	answer := player.do(http.MethodGet, v.privateAddress("/premium/article.html?page=2"), nil, nil)
	if !strings.HasPrefix(answer.body, "MARK axra-") || !strings.HasSuffix(answer.body, " page=2") {
		t.Errorf("%d %s", answer.status, answer.body)
	}
}

func TestDownloadsByPrivateAddressAreCounted(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: downloads("downloads 2\nlinks")})
	v, manager := w.visitor(), w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	address := v.privateAddress("/premium/article.html")
	manager.do(http.MethodGet, address, nil, nil).wantPaid(t) // in the same window
	w.pass(25 * time.Hour)
	manager.do(http.MethodGet, address, nil, nil).wantPaid(t)
	w.pass(25 * time.Hour)
	if answer := manager.do(http.MethodGet, address, nil, nil); answer.status != http.StatusPaymentRequired || strings.Contains(answer.body, marker) {
		t.Errorf("a third fetch: %d", answer.status)
	}
	v.open(receiptPage).wantPage(t, http.StatusOK, "2 of 2")
}

func TestT4APrivateAddressIsOneOfItsQueries(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: strings.Replace(member("links"), "\troot ROOT", "\trespond /premium/app \"MARK {query}\"\n\troot ROOT", 1)})
	v, friend := w.visitor(), w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	key := "axra_link=" + token(v.privateAddress("/premium/app?id=1"))
	for query, want := range map[string]string{
		"id=1&" + key:                        "MARK id=1",
		"id=2&" + key + "&axra_query=aWQ9MQ": "",
		"id=1&axra_try=1;id=2&" + key:        "MARK id=1",
		"id=2&" + key:                        "",
		key:                                  "",
		"id=1&id=2&" + key:                   "",
		"id=1&" + key + "&axra_query=aWQ9Mg": "MARK id=1",
	} {
		if answer := friend.do(http.MethodGet, "/premium/app?"+query, nil, nil); answer.body != want && (want != "" || answer.status != http.StatusPaymentRequired) {
			t.Errorf("%s: %d %.100s", query, answer.status, answer.body)
		}
	}
}

func TestD3AnEndedPrivateAddressStaysShutWhileTheLedgerFails(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member("links")})
	v, player := w.visitor(), w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	address := v.privateAddress("/premium/article.html")
	player.do(http.MethodGet, address, nil, nil).wantPaid(t)
	w.breakLedger()
	w.pass(time.Minute)
	player.do(http.MethodGet, address, nil, nil).wantPaid(t) // for the time of grace
	w.restart()                                              // nobody knows it any more
	if answer := player.do(http.MethodGet, address, nil, nil); answer.status != http.StatusServiceUnavailable {
		t.Errorf("never looked up: %d", answer.status)
	}
	w.pass(60 * day)
	if answer := player.do(http.MethodGet, address, nil, nil); strings.Contains(answer.body, marker) {
		t.Errorf("after its end: %d", answer.status)
	}
}

// No application hears of a private address from what its page loads.
func TestPrivateAddressesStayOutOfReferers(t *testing.T) {
	config := strings.Replace(member("links"), "\troot ROOT", "\trespond /premium/app \"MARK {header.Referer}\"\n\trespond /app \"{header.Referer}\"\n\theader Referrer-Policy unsafe-url\n\troot ROOT", 1)
	w := newWorld(t, worldOptions{Caddyfile: config})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	secrets := []string{v.privateAddress("/premium/article.html"), link(t, v.open(receiptPage), deviceLink)}
	if answer := w.visitor().open(secrets[0]); answer.header.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("the page says %q", answer.header.Get("Referrer-Policy"))
	}
	if answer := w.visitor().open(secrets[1]); answer.header.Get("Referrer-Policy") != "strict-origin" {
		t.Errorf("the form says %q", answer.header.Get("Referrer-Policy"))
	}
	for _, secret := range secrets {
		for _, target := range []string{"/premium/app", "/app", "/premium/article.html"} {
			header := navigation.Clone()
			header.Set("Referer", secret)
			if answer := v.do(http.MethodGet, target, header, nil); strings.Contains(answer.body, "axra_link") || strings.Contains(answer.body, "axra_device") {
				t.Errorf("%s sees %s", target, answer.body)
			}
		}
	}
}

func TestWhoComesByAnEndedPrivateAddressIsToldWhatToDo(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member("links 1h")})
	v, program := w.visitor(), w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	address := v.privateAddress("/premium/article.html")
	w.pass(2 * time.Hour)
	ended := program.open(address)
	ended.wantPage(t, http.StatusPaymentRequired, "copy a new address from the receipt")
	program.open(link(t, ended, "Go to the page")).wantCheckout(t, w)
	if answer := program.do(http.MethodGet, address, nil, nil); !strings.Contains(answer.body, "private address has ended") {
		t.Errorf("a program is told %s", answer.body)
	}
	v.browse(address).wantPaid(t) // it is theirs
}
