package paywall_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

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
