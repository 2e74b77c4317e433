package browser

import (
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/caddy-axra/paywall/internal/exampletest"
)

const (
	article   = "/premium/spring-tides.html"
	headline  = "Spring tides, explained"
	passPrice = "5.00"
)

// everyBrowser runs a test with JavaScript and without.
func everyBrowser(t *testing.T, test func(t *testing.T, script bool)) {
	t.Helper()
	for name, script := range map[string]bool{"JavaScript": true, "no JavaScript": false} {
		t.Run(name, func(t *testing.T) { test(t, script) })
	}
}

// buy goes from the article's address through the checkout to the article.
func buy(v *visitor, e *exampletest.Example) *tab {
	v.t.Helper()
	tab := v.open(e.Site + article)
	tab.arriveAtCheckout(e, passPrice)
	tab.pay(cardGood)
	tab.arriveAt(e.Site+article, headline)
	return tab
}

func TestNewcomer(t *testing.T) {
	everyBrowser(t, func(t *testing.T, script bool) {
		e := startExample(t)
		v := newVisitor(t, script)
		tab := v.open(e.Site)
		tab.arriveAt(e.Site+"/", "The Tide Almanac")
		tab.inspect("front")

		tab.click(`a[href="` + article + `"]`)
		tab.arriveAtCheckout(e, passPrice)
		tab.inspect("checkout")
		tab.pay(cardGood)
		tab.arriveAt(e.Site+article, headline)
		tab.inspect("article")
		checkCookies(t, v)

		tab.reload()
		tab.arriveAt(e.Site+article, headline)
		tab.close()

		tab = v.open(e.Site + article)
		tab.arriveAt(e.Site+article, headline)
		tab.visit(e.Site + "/premium/")
		tab.arriveAt(e.Site+"/premium/", "The premium section")

		e.Restart()
		tab.visit(e.Site + article)
		tab.arriveAt(e.Site+article, headline)

		newVisitor(t, script).open(e.Site+article).arriveAtCheckout(e, passPrice)
	})
}

// checkCookies knows that the site is plain http on localhost.
func checkCookies(t *testing.T, v *visitor) {
	t.Helper()
	access := false
	for _, cookie := range v.cookies() {
		if !cookie.HTTPOnly || cookie.SameSite != network.CookieSameSiteLax {
			t.Errorf("cookie %s: HttpOnly %v, SameSite %q", cookie.Name, cookie.HTTPOnly, cookie.SameSite)
		}
		if cookie.Secure || strings.HasPrefix(cookie.Name, "__") {
			t.Errorf("cookie %s: Secure %v, on plain http", cookie.Name, cookie.Secure)
		}
		if cookie.Path != "/" || cookie.Domain != "localhost" {
			t.Errorf("cookie %s: path %q, domain %q", cookie.Name, cookie.Path, cookie.Domain)
		}
		if strings.HasPrefix(cookie.Name, "axra_pending_") {
			t.Errorf("cookie %s: left over from the checkout", cookie.Name)
			continue
		}
		access = access || strings.HasPrefix(cookie.Name, "axra_") && !cookie.Session
	}
	if !access {
		t.Errorf("no cookie with an access token among %d", len(v.cookies()))
	}
}

// A keyboard is enough.
func TestPayByKeyboard(t *testing.T) {
	e := startExample(t)
	tab := newVisitor(t, true).open(e.Site + article)
	tab.arriveAtCheckout(e, passPrice)
	tab.do(
		chromedp.Focus(chromedp.CSS("#email")),
		chromedp.KeyEvent("reader@example.com"+kb.Tab+cardGood+kb.Tab+"12/39"+kb.Tab+"123"+kb.Enter),
	)
	tab.arriveAt(e.Site+article, headline)
}

func TestTypingErrorThenDeclinedThenPaid(t *testing.T) {
	everyBrowser(t, func(t *testing.T, script bool) {
		e := startExample(t)
		tab := newVisitor(t, script).open(e.Site + article)
		tab.arriveAtCheckout(e, passPrice)
		tab.click(`form[novalidate] button:not([formaction])`)
		tab.arrive("the errors", func(at place) bool { return strings.Contains(at.Text, "Please correct:") })
		tab.inspect("checkout-errors")

		tab.pay(cardDeclined)
		tab.arrive("the bank's no", func(at place) bool { return strings.Contains(at.Text, "Your card was declined.") })
		tab.inspect("checkout-declined")

		tab.do(chromedp.Clear(chromedp.CSS("#number")))
		tab.pay(cardGood)
		tab.arriveAt(e.Site+article, headline)
	})
}

func TestChallenge(t *testing.T) {
	const question = "3-D Secure: your bank asks…"
	everyBrowser(t, func(t *testing.T, script bool) {
		e := startExample(t)
		tab := newVisitor(t, script).open(e.Site + article)
		for _, attempt := range []struct{ card, answer string }{
			{cardChallengeFail, "approve"},
			{cardChallenge, "decline"},
		} {
			tab.arriveAtCheckout(e, passPrice)
			tab.do(chromedp.Clear(chromedp.CSS("#number")))
			tab.pay(attempt.card)
			tab.arriveHead(question)
			tab.click(`button[value="` + attempt.answer + `"]`)
			tab.arrive("the bank's no", func(at place) bool { return strings.Contains(at.Text, "Payment failed.") })
		}
		tab.do(chromedp.Clear(chromedp.CSS("#number")))
		tab.pay(cardChallenge)
		tab.arriveHead(question)
		tab.inspect("challenge")
		tab.click(`button[value="approve"]`)
		tab.arriveAt(e.Site+article, headline)
	})
}

func TestCancelThenTryAgain(t *testing.T) {
	everyBrowser(t, func(t *testing.T, script bool) {
		e := startExample(t)
		tab := newVisitor(t, script).open(e.Site + article)
		first := tab.arriveAtCheckout(e, passPrice)
		tab.click(`button[formaction]`)
		tab.arriveHead("Checkout was not completed")
		tab.inspect("cancelled")

		tab.click(".links a")
		second := tab.arriveAtCheckout(e, passPrice)
		if second.URL == first.URL {
			t.Logf("the same checkout again: %s", second.URL)
		}
		tab.pay(cardGood)
		tab.arriveAt(e.Site+article, headline)
	})
}

func TestLateWebhook(t *testing.T) {
	everyBrowser(t, func(t *testing.T, script bool) {
		e := startExample(t)
		e.Control("webhooks", `{"hold":true}`)
		v := newVisitor(t, script)
		tab := v.open(e.Site + article)
		tab.arriveAtCheckout(e, passPrice)
		tab.pay(cardGood)
		at := tab.arriveHead("Waiting for confirmation")
		if script { // it stays while it polls
			tab.inspect("waiting")
			waitFor(t, "a poll", func() bool { return len(v.said.fetches()) > 0 })
		} else { // it follows its own link
			tab.arrive("the next look", func(next place) bool {
				return next.Born != at.Born && next.Head == at.Head && next.URL != at.URL
			})
		}
		e.Control("webhooks", `{"hold":false}`)
		tab.arriveAt(e.Site+article, headline)
		if !script && len(v.said.fetches()) > 0 {
			t.Errorf("a script ran where scripts are off: %q", v.said.fetches())
		}
	})
}

// The tab is closed before the payment is known; later the article opens.
func TestClosedTabLateWebhook(t *testing.T) {
	everyBrowser(t, func(t *testing.T, script bool) {
		e := startExample(t)
		e.Control("webhooks", `{"hold":true}`)
		v := newVisitor(t, script)
		tab := v.open(e.Site + article)
		tab.arriveAtCheckout(e, passPrice)
		tab.pay(cardGood)
		tab.arriveHead("Waiting for confirmation")
		tab.close()

		tab = v.open(e.Site + article)
		tab.arriveHead("Waiting for confirmation") // nobody is asked to pay twice
		tab.close()

		e.Control("webhooks", `{"hold":false}`)
		tab = v.open(e.Site + article)
		tab.arriveAt(e.Site+article, headline)
		var sold struct {
			Payments []struct{} `json:"payments"`
		}
		e.State("payments", &sold)
		if len(sold.Payments) != 1 {
			t.Errorf("%d payments", len(sold.Payments))
		}
	})
}

// After many looks the page leaves it to the visitor.
func TestStillWaiting(t *testing.T) {
	everyBrowser(t, func(t *testing.T, script bool) {
		e := startExample(t)
		e.Control("webhooks", `{"hold":true}`)
		tab := newVisitor(t, script).open(e.Site + article)
		tab.arriveAtCheckout(e, passPrice)
		tab.pay(cardGood)
		at := tab.arriveHead("Waiting for confirmation")
		returned, _, _ := strings.Cut(at.URL, "&axra_try=")
		tab.visit(returned + "&axra_try=30")
		tab.arriveHead("Still waiting for confirmation")
		e.Control("webhooks", `{"hold":false}`)
		for end := time.Now().Add(deadline); tab.place().Head != headline && time.Now().Before(end); {
			tab.click(".links a.primary")
			tab.arrive("the answer", func(at place) bool { return at.Head != "" })
		}
		tab.arriveAt(e.Site+article, headline)
	})
}

func TestQuerySurvives(t *testing.T) {
	const query = "?a=%7e%41+b%20c&&x=&y&z=%C3%A9;q=%2F&A=1&a=2&utm_source=%e2%82%ac&="
	everyBrowser(t, func(t *testing.T, script bool) {
		e := startExample(t)
		tab := newVisitor(t, script).open(e.Site + article + query)
		tab.arriveAtCheckout(e, passPrice)
		tab.click(`button[formaction]`)
		tab.arriveHead("Checkout was not completed")
		tab.click(".links a")
		tab.arriveAtCheckout(e, passPrice)
		tab.pay(cardGood)
		tab.arriveAt(e.Site+article+query, headline)
	})
}

func TestDownload(t *testing.T) {
	const guide = "/downloads/field-guide.txt"
	everyBrowser(t, func(t *testing.T, script bool) {
		e := startExample(t)
		v := newVisitor(t, script)
		tab := buy(v, e)
		tab.visit(e.Site)
		tab.click(`a[href="` + guide + `"]`)
		tab.arriveAtCheckout(e, "12.50") // another pass
		tab.pay(cardGood)
		tab.arrive("the field guide", func(at place) bool {
			return at.URL == e.Site+guide && strings.Contains(at.Text, "FIELD GUIDE")
		})
		tab.reload()
		tab.arrive("the field guide", func(at place) bool {
			return at.URL == e.Site+guide && strings.Contains(at.Text, "FIELD GUIDE")
		})
	})
}

// A visitor chooses among passes, and the one pass opens another section too.
func TestOffer(t *testing.T) {
	everyBrowser(t, func(t *testing.T, script bool) {
		e := startExample(t)
		tab := newVisitor(t, script).open(e.Site)
		tab.click(`a[href="/archive/"]`)
		tab.arriveHead("The archive")
		tab.inspect("offer")
		tab.click(`form[action$="axra_checkout=year"] button`)
		tab.arriveAtCheckout(e, "20.00")
		tab.pay(cardGood)
		tab.arriveHead("Your receipt")
		tab.click(".links .primary")
		tab.arrive("the archive", func(at place) bool {
			return at.URL == e.Site+"/archive/" && strings.Contains(at.Text, "Thank you for paying")
		})
		tab.visit(e.Site + "/stories/lamp-keeper.html")
		tab.arrive("the story", func(at place) bool { return strings.Contains(at.Text, "already lit") })
	})
}

// A teaser leads to the checkout of the one story.
func TestTeaser(t *testing.T) {
	everyBrowser(t, func(t *testing.T, script bool) {
		e := startExample(t)
		tab := newVisitor(t, script).open(e.Site)
		tab.click(`a[href="/stories/lamp-keeper.html"]`)
		tab.arrive("the teaser", func(at place) bool {
			return strings.Contains(at.Text, "two hundred steps") && !strings.Contains(at.Text, "already lit")
		})
		tab.click(`a[href*="stories"]`)
		tab.arriveAtCheckout(e, "1.00")
		tab.pay(cardGood)
		tab.arrive("the story", func(at place) bool {
			return at.URL == e.Site+"/stories/lamp-keeper.html" && strings.Contains(at.Text, "already lit")
		})
	})
}

func TestBackAfterPaying(t *testing.T) {
	e := startExample(t)
	v := newVisitor(t, true)
	tab := v.open(e.Site)
	tab.click(`a[href="` + article + `"]`)
	tab.arriveAtCheckout(e, passPrice)
	tab.pay(cardGood)
	tab.arriveAt(e.Site+article, headline)
	tab.back()
	tab.arriveHead("Already paid")
	tab.inspect("already-paid")
	tab.click(".button")
	tab.arriveAt(e.Site+article, headline)
}

func TestRefund(t *testing.T) {
	e := startExample(t)
	v := newVisitor(t, true)
	tab := buy(v, e)
	var sold struct {
		Payments []struct {
			ID string `json:"paymentId"`
		} `json:"payments"`
	}
	e.State("payments", &sold)
	if len(sold.Payments) != 1 {
		t.Fatalf("%d payments", len(sold.Payments))
	}
	e.Control("payments/"+sold.Payments[0].ID+"/refund", "")
	const closed = "This payment was refunded"
	waitFor(t, closed, func() bool {
		tab.reload()
		return tab.place().Head == closed
	})
	tab.click(".links a")
	tab.arriveAtCheckout(e, passPrice)
}

func TestAddressOfAnotherBrowser(t *testing.T) {
	e := startExample(t)
	tab := newVisitor(t, true).open(e.Site + article + "?axra_session=cs_somebody_elses")
	tab.arriveHead("This payment was started in another browser")
	tab.click(".links a")
	tab.arriveAtCheckout(e, passPrice)
}

func TestProviderAway(t *testing.T) {
	e := startExample(t)
	e.Control("faults", `{"kind":"500"}`)
	tab := newVisitor(t, true).open(e.Site + article)
	tab.arriveHead("Payment is not available right now")
}

func TestDashboard(t *testing.T) {
	e := startExample(t)
	v := newVisitor(t, true)
	dashboard := v.open(e.Axra)
	dashboard.arriveHead("Dashboard")
	dashboard.inspect("dashboard-empty")
	buy(v, e).close()
	newVisitor(t, true).open(e.Site+article).arriveAtCheckout(e, passPrice)
	dashboard.reload()
	dashboard.arriveHead("Dashboard")
	dashboard.inspect("dashboard")
	dashboard.visit(e.Axra + "/checkout/cs_unknown")
	dashboard.arriveHead("Checkout not found")
	dashboard.inspect("checkout-not-found")
}

// Every page of the paywall, among them those that are hard to come by.
func TestGallery(t *testing.T) {
	if chromium == nil {
		t.Skip("no Chromium")
	}
	server := httptest.NewServer(galleryRoutes())
	t.Cleanup(server.Close)
	tab := newVisitor(t, true).open(server.URL)
	tab.arriveHead("Pages of the paywall")
	kinds, err := evaluate[map[string]string](tab, "Object.fromEntries([...document.querySelectorAll('a')].map(a => [a.href, a.dataset.kind]))")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for url, kind := range kinds {
		seen[kind] = true
		name := url[strings.LastIndex(url, "/")+1:]
		t.Run(name, func(t *testing.T) {
			tab := newVisitor(t, true).open(url)
			tab.arrive(url, func(at place) bool { return at.Head != "" })
			tab.inspect("page-" + name)
			if name == "offer" || name == "refunded" || name == "receipt" {
				for _, lang := range []string{"ar", "es", "fr", "sw"} {
					tab := newVisitor(t, true).open(url + "?lang=" + lang)
					tab.arrive(url, func(at place) bool { return at.Head != "" })
					tab.inspect("page-" + name + "-" + lang)
				}
			}
			if name == "waiting" || name == "processing" {
				tab := newVisitor(t, false).open(url)
				tab.arrive(url, func(at place) bool { return at.Head != "" })
				// Without scripts a page can refresh itself in no other way; it says so,
				// loses nothing of the visitor's, and ends (WCAG 2.2, 2.2.1: essential).
				tab.inspect("page-"+name, "meta-refresh")
			}
		})
	}
	source, err := os.ReadFile("../../page/page.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range regexp.MustCompile(`(?m)^\t\w+ +Kind = "(\w+)"`).FindAllSubmatch(source, -1) {
		if !seen[string(kind[1])] {
			t.Errorf("the gallery does not show %s", kind[1])
		}
	}
}

func waitFor(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !happened(); time.Sleep(tick) {
		if time.Now().After(end) {
			t.Fatalf("waited for %s", what)
		}
	}
}
