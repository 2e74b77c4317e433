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
	route /premium/* {
		header @paid X-Paid yes
	}
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
		answer := player.do(http.MethodGet, episode, nil, nil)
		answer.wantPaid(t)
		if answer.header.Get("X-Paid") != "yes" {
			t.Error("axra_paid does not know who came by a private address")
		}
	}
	if answer := player.do(http.MethodGet, "/premium/two.mp3?axra_link="+token(episodes[0]), nil, nil); answer.status != http.StatusPaymentRequired {
		t.Errorf("one episode's address opens another: %d", answer.status)
	}
	if answer := w.visitor().do(http.MethodGet, "/premium/two.mp3", nil, nil); answer.status != http.StatusPaymentRequired {
		t.Errorf("without: %d", answer.status)
	}
}
