package browser

import (
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-axra/paywall/internal/exampletest"
)

// attribute reads an attribute of the first element that fits.
func (p *tab) attribute(selector, name string) string {
	p.t.Helper()
	value, err := evaluate[string](p, `((e) => e ? e.getAttribute("`+name+`") || "" : "")(document.querySelector('`+selector+`'))`)
	if err != nil || value == "" {
		p.t.Fatalf("%s of %s: %q, %v", name, selector, value, err)
	}
	return value
}

// buyArchive pays for a year of the archive and ends at its receipt.
func buyArchive(v *visitor, e *exampletest.Example) *tab {
	v.t.Helper()
	tab := v.open(e.Site + "/archive/?axra_checkout=year")
	tab.arriveAtCheckout(e, "20.00")
	tab.pay(cardGood)
	tab.arriveHead("Your receipt")
	return tab
}

// The receipt comes before the content, and its link opens the pass on a phone.
func TestReceiptAndAnotherDevice(t *testing.T) {
	everyBrowser(t, func(t *testing.T, script bool) {
		e := startExample(t)
		tab := buyArchive(newVisitor(t, script), e)
		tab.inspect("receipt")
		address := tab.attribute(`a[href*="axra_device"]`, "href")
		tab.click(".links .primary")
		tab.arriveAt(e.Site+"/archive/", "The archive")

		phone := newVisitor(t, script).open(address)
		phone.arriveHead("Open your purchase on this device?")
		phone.inspect("device")
		phone.click("button")
		phone.arriveAt(e.Site+"/archive/", "The archive")
		phone.visit(e.Site + "/stories/lamp-keeper.html")
		phone.arrive("the story", func(at place) bool { return strings.Contains(at.Text, "already lit") })

		for _, head := range []string{"Open your purchase on this device?", "All devices of this purchase are in use"} {
			other := newVisitor(t, script).open(address)
			other.arriveHead(head)
			if head == "Open your purchase on this device?" {
				other.click("button")
				other.arriveAt(e.Site+"/archive/", "The archive")
			}
		}
		tab.visit(e.Site + "/archive/?axra_receipt")
		tab.arrive("a receipt that counts", func(at place) bool { return strings.Contains(at.Text, "3 of 3") })
	})
}

func TestExtend(t *testing.T) {
	e := startExample(t)
	tab := buyArchive(newVisitor(t, true), e)
	tab.click(`a[href*="axra_extend"]`)
	tab.arriveAtCheckout(e, "20.00")
	tab.pay(cardGood)
	tab.arriveHead("Your receipt")
	var sold struct {
		Sessions []struct {
			Metadata map[string]any `json:"metadata"`
		} `json:"sessions"`
	}
	e.State("sessions", &sold)
	extensions := 0
	for _, session := range sold.Sessions {
		if session.Metadata["paywall_extends"] != nil {
			extensions++
		}
	}
	if len(sold.Sessions) != 2 || extensions != 1 {
		t.Errorf("%d sessions, %d of them extensions", len(sold.Sessions), extensions)
	}
}

// A banking app comes back in a browser of its own.
func TestClaim(t *testing.T) {
	everyBrowser(t, func(t *testing.T, script bool) {
		e := startExample(t)
		v := newVisitor(t, script)
		v.open(e.Site+"/archive/?axra_checkout=year").arriveAtCheckout(e, "20.00")
		var sold struct {
			Sessions []struct {
				ID         string `json:"sessionId"`
				SuccessURL string `json:"successUrl"`
			} `json:"sessions"`
		}
		e.State("sessions", &sold)
		back := strings.ReplaceAll(sold.Sessions[0].SuccessURL, "{SESSION_ID}", sold.Sessions[0].ID)

		bank := newVisitor(t, script).open(back)
		bank.arriveHead("Continue in this browser?")
		bank.inspect("claim")
		bank.click("button")
		bank.arriveHead("This payment cannot be used here yet")
		bank.inspect("claim-later")
		e.Control("sessions/"+sold.Sessions[0].ID+"/pay", `{"card":"`+cardGood+`"}`)
		waitFor(t, "the claim", func() bool {
			bank.click("button")
			at := bank.arrive("an answer", func(at place) bool { return at.Head != "" })
			return at.Head == "The archive"
		})
	})
}

// A podcast player has the feed's private address, and that of each episode from it.
func TestPrivateFeed(t *testing.T) {
	e := startExample(t)
	tab := newVisitor(t, true).open(e.Site + "/radio/")
	tab.arriveAtCheckout(e, "4.00")
	tab.pay(cardGood)
	tab.arriveAt(e.Site+"/radio/", "Harbour radio")
	tab.click(`a[href="feed.xml?axra_receipt"]`)
	tab.arriveHead("Your receipt")
	tab.inspect("receipt-with-private-address")
	feed := get(t, tab.attribute("input[readonly]", "value"))
	episode := regexp.MustCompile(`url="([^"]+)"`).FindStringSubmatch(string(feed))
	if episode == nil || !strings.Contains(episode[1], "/radio/foghorn.wav?axra_link=") {
		t.Fatalf("the feed says\n%s", feed)
	}
	if sound := get(t, strings.ReplaceAll(episode[1], "&amp;", "&")); !strings.HasPrefix(string(sound), "RIFF") {
		t.Errorf("the episode is %.60q", sound)
	}
	if address, err := url.Parse(episode[1]); err != nil || !strings.HasPrefix(episode[1], e.Site) || address.Fragment != "" {
		t.Errorf("%q: %v", episode[1], err)
	}
}

// get asks without cookies, as a program does.
func get(t *testing.T, address string) []byte {
	t.Helper()
	response, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v", address, response.Status, err)
	}
	return body
}
