package paywall_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-axra/paywall/internal/sitetest"
)

// A feed names its episodes by addresses that a player can open.
func TestAFeedWithPrivateAddresses(t *testing.T) {
	config := strings.Replace(sitetest.Member("links"), "\troot ROOT", `
	@paid axra_paid member
	route /premium/* {
		header @paid X-Paid yes
	}
	templates /premium/feed.xml {
		mime text/xml application/xml
	}
	root ROOT`, 1)
	w := newWorld(t, sitetest.Options{Caddyfile: config})
	w.Write("premium/feed.xml", `<rss>{{placeholder "http.axra.link./premium/episode 1.mp3"}} {{placeholder "http.axra.link./premium/two.mp3?hd=1"}} {{placeholder "http.axra.link.evil"}}</rss>`)
	w.Write("premium/episode 1.mp3", sitetest.Marker+" one")
	w.Write("premium/two.mp3", sitetest.Marker+" two")
	v, player := w.Visitor(), w.Visitor()
	v.Buy("/premium/feed.xml")
	feed := player.Do(http.MethodGet, v.PrivateAddress("/premium/feed.xml"), nil, nil)
	episodes := strings.Fields(strings.TrimSuffix(strings.TrimPrefix(feed.Body, "<rss>"), "</rss>"))
	if len(episodes) != 2 {
		t.Fatalf("the feed says %d %s", feed.Status, feed.Body)
	}
	for _, episode := range episodes {
		if address, err := url.Parse(episode); err != nil || !strings.HasPrefix(episode, w.Site) {
			t.Fatalf("%q: %v", episode, err)
		} else if address.Path != "/premium/episode 1.mp3" && address.RawQuery[:5] != "hd=1&" {
			t.Errorf("%q", episode)
		}
		answer := player.Do(http.MethodGet, episode, nil, nil)
		answer.WantPaid(t)
		if answer.Header.Get("X-Paid") != "yes" {
			t.Error("axra_paid does not know who came by a private address")
		}
	}
	if answer := player.Do(http.MethodGet, "/premium/two.mp3?axra_link="+token(episodes[0]), nil, nil); answer.Status != http.StatusPaymentRequired {
		t.Errorf("one episode's address opens another: %d", answer.Status)
	}
	if answer := w.Visitor().Do(http.MethodGet, "/premium/two.mp3", nil, nil); answer.Status != http.StatusPaymentRequired {
		t.Errorf("without: %d", answer.Status)
	}
}

func token(address string) string {
	_, token, _ := strings.Cut(address, "axra_link=")
	return token
}
