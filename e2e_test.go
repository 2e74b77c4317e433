package paywall_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/sandbox"
)

// The main job, as a visitor sees it: from a stranger to a reader.
func TestVisitorPaysAndReads(t *testing.T) {
	w := newWorld(t, worldOptions{})
	v := w.visitor()

	if free := v.open("/"); free.status != http.StatusOK {
		t.Fatalf("the free page answers %d", free.status)
	}
	v.open("/premium/article.html").wantCheckout(t, w)
	checkout := v.browse("/premium/article.html")
	back := v.pay(checkout, cardGood)
	if back.status != http.StatusSeeOther || !strings.HasPrefix(back.location(), w.site+"/premium/article.html?axra_session=") {
		t.Fatalf("after paying: %d to %q", back.status, back.location())
	}
	w.delivered()
	redeemed := v.open(back.location())
	if redeemed.status != http.StatusSeeOther || redeemed.location() != "/premium/article.html" {
		t.Fatalf("the return answers %d to %q", redeemed.status, redeemed.location())
	}
	v.open("/premium/article.html").wantPaid(t)
	v.open("/premium/other.html").wantPaid(t)

	w.restart()
	v.open("/premium/article.html").wantPaid(t)

	w.visitor().open("/premium/article.html").wantCheckout(t, w)
}

func TestEachSuccessfulCardOpensTheGate(t *testing.T) {
	for name, card := range map[string]string{"plain": cardGood, "3DS": card3DSPasses, "3DS2": card3DS2} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			v := w.visitor()
			answer := v.pay(v.browse("/premium/"), card)
			if card != cardGood {
				challenge := v.browse(answer.next())
				answer = v.submit(challenge, "Approve", nil)
			}
			w.delivered()
			v.browse(answer.location()).wantPaid(t)
		})
	}
}

func TestFailedPaymentsOpenNothing(t *testing.T) {
	for name, card := range map[string]string{"declined": cardDeclined, "insufficient funds": cardInsufficient, "3DS fails": card3DSFails} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			v := w.visitor()
			checkout := v.browse("/premium/article.html")
			answer := v.pay(checkout, card)
			if card == card3DSFails {
				answer = v.submit(v.browse(answer.next()), "Approve", nil)
			}
			if strings.HasPrefix(answer.location(), w.site) {
				t.Fatalf("a failed payment leads back to %q", answer.location())
			}
			w.delivered()
			// Still the same checkout, where another card can be tried.
			again := v.open("/premium/article.html")
			again.wantCheckout(t, w)
			if again.location() != checkout.url.String() {
				t.Errorf("another session was opened after a decline")
			}
			success := v.pay(v.browse("/premium/article.html"), cardGood)
			w.delivered()
			v.browse(success.location()).wantPaid(t)
		})
	}
}

// S6: coming back without a payment leads to a page, not to a new session.
func TestS6ReturnBeforeTheWebhook(t *testing.T) {
	w := newWorld(t, worldOptions{})
	v := w.visitor()
	w.sandbox.Hold()
	back := v.pay(v.browse("/premium/article.html?page=2"), cardGood)
	waiting := v.open(back.location())
	waiting.wantPage(t, http.StatusPaymentRequired, "Waiting for confirmation")

	t.Run("the clean address waits too", func(t *testing.T) {
		v.open("/premium/article.html").wantPage(t, http.StatusPaymentRequired, "Waiting for confirmation")
		if w.creations() != 1 {
			t.Errorf("%d sessions were created", w.creations())
		}
	})
	t.Run("the page asks and learns", func(t *testing.T) {
		if state := v.poll(back.location()); state != "waiting" {
			t.Errorf("state %q before the webhook", state)
		}
		w.sandbox.Release()
		w.delivered()
		if state := v.poll(back.location()); state != "paid" {
			t.Errorf("state %q after the webhook", state)
		}
	})
	opened := v.browse(back.location())
	opened.wantPaid(t)
	if got := opened.url.RequestURI(); got != "/premium/article.html?page=2" {
		t.Errorf("back at %q", got)
	}
}

// Bought again after a refund, and back before the webhook: the refund is history,
// and nobody is asked to pay a third time.
func TestS6ReturnAfterBuyingAgain(t *testing.T) {
	w := newWorld(t, worldOptions{})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	mustDo(t, w.sandbox.Refund(w.lastPayment().ID))
	w.delivered()
	refunded := v.open("/premium/article.html")
	refunded.wantPage(t, http.StatusPaymentRequired, "This payment was refunded")
	w.sandbox.Hold()
	back := v.pay(v.browse(link(t, refunded, "Buy access again")), cardGood)
	for _, target := range []string{back.location(), "/premium/article.html"} {
		v.open(target).wantPage(t, http.StatusPaymentRequired, "Waiting for confirmation")
	}
	w.sandbox.Release()
	w.delivered()
	v.browse(back.location()).wantPaid(t)
}

// A card was declined before the one that paid: the decline says nothing about
// the payment on its way.
func TestReturnAfterADeclineAndASuccess(t *testing.T) {
	w := newWorld(t, worldOptions{})
	v := w.visitor()
	checkout := v.browse("/premium/article.html")
	v.pay(checkout, cardDeclined)
	w.delivered()
	w.sandbox.Hold()
	back := v.pay(v.browse(checkout.url.String()), cardGood)
	for range 2 {
		v.open(back.location()).wantPage(t, http.StatusPaymentRequired, "Waiting for confirmation")
		if state := v.poll(back.location()); state != "waiting" {
			t.Errorf("the page is told %q", state)
		}
	}
	w.sandbox.Release()
	w.delivered()
	v.browse(back.location()).wantPaid(t)
}

func (v *visitor) poll(target string) string {
	v.w.t.Helper()
	answer := v.do(http.MethodGet, target, http.Header{
		"Accept": {"application/json"}, "Sec-Fetch-Mode": {"cors"}, "Sec-Fetch-Dest": {"empty"},
	}, nil)
	var state struct {
		State string `json:"state"`
	}
	if err := json.Unmarshal([]byte(answer.body), &state); err != nil {
		v.w.t.Fatalf("poll: %d %s", answer.status, answer.body)
	}
	return state.State
}

func TestWaitingPageEnds(t *testing.T) {
	w := newWorld(t, worldOptions{})
	v := w.visitor()
	w.sandbox.Hold()
	back := v.pay(v.browse("/premium/article.html"), cardGood)
	page := v.open(back.location() + "&axra_try=30")
	page.wantPage(t, http.StatusPaymentRequired, "Still waiting for confirmation")
	if strings.Contains(page.body, "http-equiv=\"refresh\"") || strings.Contains(page.body, "<script") {
		t.Error("the page still refreshes itself")
	}
	restart := link(t, page, "start again")
	if restart == "" {
		t.Fatal("no link to start again")
	}
	v.open(restart).wantCheckout(t, w)
	if w.creations() != 2 {
		t.Errorf("%d sessions were created, want 2", w.creations())
	}
	// The first payment still counts.
	w.sandbox.Release()
	w.delivered()
	v.browse("/premium/article.html").wantPaid(t)
}

// The tab was closed at the checkout and the webhook came later: the next visit
// finds the payment. Nobody pays twice.
func TestLateWebhookWithAClosedTab(t *testing.T) {
	w := newWorld(t, worldOptions{})
	v := w.visitor()
	w.sandbox.Hold()
	v.pay(v.browse("/premium/article.html"), cardGood)
	w.sandbox.Release()
	w.delivered()
	w.pass(3 * 24 * time.Hour)
	v.browse("/premium/other.html").wantPaid(t)
	if w.creations() != 1 {
		t.Errorf("%d sessions were created", w.creations())
	}
}

func TestCancel(t *testing.T) {
	w := newWorld(t, worldOptions{})
	v := w.visitor()
	checkout := v.browse("/premium/article.html?a=1&b=%20x")
	back := v.submit(checkout, "Cancel", nil)
	cancelled := v.open(back.location())
	cancelled.wantPage(t, http.StatusPaymentRequired, "Checkout was not completed")
	again := link(t, cancelled, "Try again")
	if again != "/premium/article.html?a=1&b=%20x" {
		t.Errorf("try again leads to %q", again)
	}
	if w.creations() != 1 {
		t.Errorf("the cancelled page created a session")
	}
	v.open(again).wantCheckout(t, w)
	if w.creations() != 2 {
		t.Errorf("%d sessions were created, want a second one", w.creations())
	}
}

func TestExpiredCheckout(t *testing.T) {
	w := newWorld(t, worldOptions{})
	v := w.visitor()
	checkout := v.browse("/premium/article.html")
	w.pass(31 * time.Minute)
	back := v.open(checkout.url.String())
	expired := v.open(back.location())
	expired.wantPage(t, http.StatusPaymentRequired, "This checkout has expired")
	v.browse(link(t, expired, "tart again"))
	if w.creations() != 2 {
		t.Errorf("%d sessions were created, want a second one", w.creations())
	}
}

// S7: tabs that start at once do not lose each other's checkout.
func TestTwoTabs(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: twoGates})
	v := w.visitor()
	first := v.browse("/premium/article.html")
	second := v.browse("/cheap/page.html")
	backFirst, backSecond := v.pay(first, cardGood), v.pay(second, cardGood)
	w.delivered()
	v.browse(backSecond.location()).wantPaid(t)
	v.browse(backFirst.location()).wantPaid(t)
	v.open("/cheap/page.html").wantPaid(t)
	v.open("/premium/article.html").wantPaid(t)
}

const twoGates = `{
	SETUP
	axra {
		api_key        {env.AXRA_API_KEY}
		webhook_secret {env.AXRA_WEBHOOK_SECRET}
		endpoint       ENDPOINT
	}
}
http://localhost:PORT {
	axra_webhook /webhooks/axra
	axra_paywall /premium/* {
		price 5.00 usd
	}
	axra_paywall /cheap/* {
		price 0.50 usd
	}
	respond /cheap/* "PAID-CONTENT-MARKER {http.axra.paid} {http.axra.pass} {http.axra.purchase} {http.axra.until}"
	root ROOT
	file_server
}
`

// Outside a gate all that would tell who has paid is empty; a name there would tell an
// application that somebody has.
func TestNobodyHasAName(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: strings.Replace(twoGates, "root ROOT",
		`respond /free "[{http.axra.paid}|{http.axra.user}|{http.auth.user.id}|{http.axra.purchase}]"`+"\n\troot ROOT", 1)})
	if got := w.visitor().open("/free").body; got != "[false|||]" && got != "[false||{http.auth.user.id}|]" {
		t.Errorf("a visitor who has not paid is %s", got)
	}
}

func TestRestartInTheMiddle(t *testing.T) {
	w := newWorld(t, worldOptions{})
	v := w.visitor()
	checkout := v.browse("/premium/article.html")
	w.stop()
	back := v.pay(checkout, cardGood) // the webhook finds nobody at home
	time.Sleep(50 * time.Millisecond) // let at least one attempt fail
	w.load(w.config)
	w.delivered()
	v.browse(back.location()).wantPaid(t)
}

// K2: a reload in the middle of a payment, with another price.
func TestReloadInTheMiddle(t *testing.T) {
	w := newWorld(t, worldOptions{})
	v := w.visitor()
	checkout := v.browse("/premium/article.html")
	w.load(strings.Replace(fiveLines, "5.00 usd", "9.00 usd", 1))
	back := v.pay(checkout, cardGood)
	w.delivered()
	v.browse(back.location()).wantPaid(t)
	w.load(strings.Replace(fiveLines, "access 30d", "access 1h", 1))
	w.pass(29 * 24 * time.Hour)
	v.open("/premium/article.html").wantPaid(t) // what was sold is honoured
	w.pass(48 * time.Hour)
	v.open("/premium/article.html").wantCheckout(t, w)
}

// T7, on the node that hears of it.
func TestT7RefundAndDispute(t *testing.T) {
	for _, bare := range []bool{false, true} {
		name := "events repeat the metadata"
		if bare {
			name = "events name the payment only"
		}
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, worldOptions{Sandbox: sandbox.Config{BareAftermath: bare}})
			refunded, disputed := w.visitor(), w.visitor()
			refunded.buy("/premium/article.html", cardGood).wantPaid(t)
			first := w.lastPayment()
			disputed.buy("/premium/article.html", cardGood).wantPaid(t)
			second := w.lastPayment()

			mustDo(t, w.sandbox.Refund(first.ID))
			w.delivered()
			page := refunded.open("/premium/article.html")
			page.wantPage(t, http.StatusPaymentRequired, "This payment was refunded")
			disputed.open("/premium/article.html").wantPaid(t)
			refunded.open(link(t, page, "Buy access again")).wantCheckout(t, w)

			mustDo(t, w.sandbox.Dispute(second.ID))
			w.delivered()
			disputed.open("/premium/article.html").wantPage(t, http.StatusPaymentRequired, "This payment is in dispute")
			mustDo(t, w.sandbox.Win(second.ID))
			w.delivered()
			disputed.open("/premium/article.html").wantPaid(t)
		})
	}
	t.Run("a lost dispute stays closed", func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		v := w.visitor()
		v.buy("/premium/article.html", cardGood).wantPaid(t)
		mustDo(t, w.sandbox.Dispute(w.lastPayment().ID))
		mustDo(t, w.sandbox.Lose(w.lastPayment().ID))
		w.delivered()
		if answer := v.open("/premium/article.html"); answer.status == http.StatusOK {
			t.Fatal("still open")
		}
	})
}

func mustDo(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestLocalCurrencySettlesLate(t *testing.T) {
	local := strings.Replace(fiveLines, "5.00 usd", "2000 ngn", 1)
	t.Run("completes", func(t *testing.T) {
		w := newWorld(t, worldOptions{Caddyfile: local})
		v := w.visitor()
		back := v.submit(v.browse("/premium/article.html"), "Pay by bank", nil)
		w.delivered()
		v.open(back.location()).wantPage(t, http.StatusPaymentRequired, "Your payment is on its way")
		v.open("/premium/article.html").wantPage(t, http.StatusPaymentRequired, "Your payment is on its way")
		mustDo(t, w.sandbox.CompleteCollection(w.sandbox.Collections()[0].ID))
		w.delivered()
		v.browse(back.location()).wantPaid(t)
		if w.creations() != 1 {
			t.Errorf("%d sessions were created", w.creations())
		}
	})
	t.Run("fails", func(t *testing.T) {
		w := newWorld(t, worldOptions{Caddyfile: local})
		v := w.visitor()
		back := v.submit(v.browse("/premium/article.html"), "Pay by bank", nil)
		w.delivered()
		v.open(back.location()).wantPage(t, http.StatusPaymentRequired, "Your payment is on its way")
		w.pass(time.Minute)
		mustDo(t, w.sandbox.FailCollection(w.sandbox.Collections()[0].ID))
		w.delivered()
		page := v.open(back.location())
		page.wantPage(t, http.StatusPaymentRequired, "The payment did not go through")
		v.open(link(t, page, "ry again")).wantCheckout(t, w)
	})
}

func TestTokenExchange(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: strings.Replace(fiveLines,
		"webhook_secret {env.AXRA_WEBHOOK_SECRET}", "api_secret {env.AXRA_API_SECRET}", 1)})
	for range 3 {
		w.visitor().buy("/premium/article.html", cardGood).wantPaid(t) // the webhook secret is the API secret
	}
	if n := w.sandbox.CallCount(sandbox.RouteToken); n != 1 {
		t.Errorf("%d exchanges for three sessions", n)
	}
	w.pass(time.Hour)
	w.visitor().open("/premium/article.html").wantCheckout(t, w)
	if n := w.sandbox.CallCount(sandbox.RouteToken); n != 2 {
		t.Errorf("%d exchanges after an hour, want 2", n)
	}
}

func TestQueryIsKeptByteForByte(t *testing.T) {
	w := newWorld(t, worldOptions{})
	for _, query := range []string{
		"", "?a=1&b=%20x", "?a=%7E&&b", "?x={SESSION_ID}", "?q=caf%C3%A9+%2B&q=2", "?=&=", "?a;b", "?%", "?axra=1",
		"?long=" + strings.Repeat("x", 1200),
	} {
		v := w.visitor()
		back := v.pay(v.browse("/premium/article.html"+query), cardGood)
		w.delivered()
		if got := v.open(back.location()).location(); got != "/premium/article.html"+query {
			t.Errorf("query %q comes back as %q", query, got)
		}
	}
}

func TestBearerTokenOpensTheGate(t *testing.T) {
	w := newWorld(t, worldOptions{})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	token := v.cookie(t, "axra_t_")
	program := w.visitor()
	answer := program.do(http.MethodGet, "/premium/article.html", http.Header{"Authorization": {"Bearer " + token}}, nil)
	answer.wantPaid(t)
	answer = program.do(http.MethodGet, "/premium/article.html", http.Header{"Authorization": {"Bearer x" + token}}, nil)
	if answer.status != http.StatusPaymentRequired {
		t.Errorf("a broken token answers %d", answer.status)
	}
}

// cookie returns the access token among the visitor's cookies.
func (v *visitor) cookie(t *testing.T, prefix string) string {
	t.Helper()
	for _, cookie := range v.cookies() {
		if strings.HasPrefix(cookie.Name, prefix) {
			return cookie.Value
		}
	}
	t.Fatal("no access token")
	return ""
}

func (v *visitor) cookies() []*http.Cookie {
	site, err := url.Parse(v.w.site)
	mustDo(v.w.t, err)
	return v.client.Jar.Cookies(site)
}

func TestPlaceholdersForLaterHandlers(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: strings.Replace(twoGates, "price 0.50 usd", "price 0.50 usd\n\t\taccess 1h\n\t\tpass cheap", 1)})
	v := w.visitor()
	answer := v.buy("/cheap/x", cardGood)
	answer.wantPaid(t)
	fields := strings.Fields(answer.body)
	if len(fields) != 5 || fields[1] != "true" || fields[2] != "cheap" || fields[3] != ledger.PurchaseID(w.lastPayment().SessionID) {
		t.Errorf("placeholders: %q", fields)
	}
	if until, err := time.Parse(time.RFC3339, fields[4]); err != nil || until.Before(w.now()) || until.After(w.now().Add(time.Hour)) {
		t.Errorf("until %q", fields[4])
	}
}

// All that Axra's create call takes can be said.
func TestCreateCallSaysAll(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: strings.Replace(fiveLines, "access 30d", `access 30d
		description "Article {path}"
		expires_in 20m
		customer_email {query.email}
		metadata article {path}
		cancel_url /sorry?from={path}
		pass premium`, 1)})
	w.visitor().open("/premium/article.html?email=reader@example.com").wantCheckout(t, w)
	calls := w.sandbox.Calls()
	var got map[string]any
	mustDo(t, json.Unmarshal(calls[len(calls)-1].Body, &got))
	metadata, _ := got["metadata"].(map[string]any)
	for name, want := range map[string]any{
		"amount": 5.0, "currency": "usd", "description": "Article /premium/article.html", "expiresIn": 1200.0,
		"customerEmail": "reader@example.com", "cancelUrl": w.site + "/sorry?from=/premium/article.html",
		"successUrl": w.site + "/premium/article.html?email=reader@example.com&axra_query=ZW1haWw9cmVhZGVyQGV4YW1wbGUuY29t&axra_session={SESSION_ID}",
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if metadata["article"] != "/premium/article.html" || metadata["paywall_pass"] != "premium" {
		t.Errorf("metadata %v", metadata)
	}
}

// Answers that the gate itself gives to what is no page navigation: C2, G6, G7, G8.
func TestC2OnlyNavigationsStartACheckout(t *testing.T) {
	w := newWorld(t, worldOptions{})
	html := navigation.Get("Accept")
	for name, request := range map[string]struct {
		method string
		header http.Header
	}{
		"HEAD":              {http.MethodHead, http.Header{"Accept": {html}}},
		"OPTIONS":           {http.MethodOptions, http.Header{"Accept": {html}}},
		"TRACE":             {http.MethodTrace, nil},
		"PROPFIND":          {"PROPFIND", nil},
		"POST":              {http.MethodPost, http.Header{"Accept": {html}}},
		"curl":              {http.MethodGet, http.Header{"Accept": {"*/*"}}},
		"no Accept":         {http.MethodGet, nil},
		"image":             {http.MethodGet, http.Header{"Accept": {html}, "Sec-Fetch-Dest": {"image"}, "Sec-Fetch-Mode": {"no-cors"}}},
		"XHR":               {http.MethodGet, http.Header{"Accept": {html}, "Sec-Fetch-Mode": {"cors"}}},
		"prefetch":          {http.MethodGet, http.Header{"Accept": {html}, "Sec-Purpose": {"prefetch;prerender"}}},
		"old prefetch":      {http.MethodGet, http.Header{"Accept": {html}, "Purpose": {"prefetch"}}},
		"crawler":           {http.MethodGet, http.Header{"Accept": {html}, "User-Agent": {"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}}},
		"bingbot":           {http.MethodGet, http.Header{"Accept": {html}, "User-Agent": {"Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)"}}},
		"GPTBot":            {http.MethodGet, http.Header{"Accept": {html}, "User-Agent": {"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)"}}},
		"facebook":          {http.MethodGet, http.Header{"Accept": {html}, "User-Agent": {"facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)"}}},
		"G7 range":          {http.MethodGet, http.Header{"Range": {"bytes=0-3"}}},
		"G7 if-none-match":  {http.MethodGet, http.Header{"If-None-Match": {"*"}}},
		"G8 websocket":      {http.MethodGet, http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}},
		"bad bearer":        {http.MethodGet, http.Header{"Authorization": {"Bearer x.y.z"}}},
		"return, no cookie": {http.MethodHead, http.Header{"Accept": {html}}},
	} {
		t.Run(name, func(t *testing.T) {
			answer := w.visitor().do(request.method, "/premium/article.html", request.header, nil)
			if answer.status != http.StatusPaymentRequired {
				t.Errorf("answers %d", answer.status)
			}
			if strings.Contains(answer.body, marker) {
				t.Error("paid bytes")
			}
			if cookies := answer.header.Values("Set-Cookie"); len(cookies) > 0 {
				t.Errorf("sets %q", cookies)
			}
		})
	}
	if w.creations() != 0 {
		t.Errorf("%d sessions were created", w.creations())
	}
}

// H3: existing and missing files behind the gate answer alike.
func TestH3UnpaidAnswersDoNotTellWhatExists(t *testing.T) {
	w := newWorld(t, worldOptions{})
	v := w.visitor()
	there := v.do(http.MethodGet, "/premium/article.html", nil, nil)
	missing := v.do(http.MethodGet, "/premium/nothing.html", nil, nil)
	missing.body = strings.ReplaceAll(missing.body, "nothing", "article") // the address itself
	if there.status != missing.status || there.body != missing.body {
		t.Errorf("%d %q and %d %q", there.status, there.body, missing.status, missing.body)
	}
}

// C3 and S1: one browser, one session; and its session is worth nothing elsewhere.
func TestC3S1OneSessionPerBrowser(t *testing.T) {
	w := newWorld(t, worldOptions{})
	v := w.visitor()
	for range 50 {
		v.open("/premium/article.html").wantCheckout(t, w)
	}
	if w.creations() != 1 {
		t.Errorf("C3: %d sessions for 50 reloads", w.creations())
	}
	back := v.pay(v.browse("/premium/article.html"), cardGood)
	w.delivered()
	stranger := w.visitor()
	page := stranger.open(back.location())
	page.wantPage(t, http.StatusForbidden, "started in another browser")
	if w.creations() != 1 {
		t.Error("S1: the shared link created a session")
	}
	v.browse(back.location()).wantPaid(t)
	v.browse(back.location()).wantPaid(t) // again, from the history
}

func TestSecretsStayOutOfLogs(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: strings.Replace(fiveLines, "root ROOT", "log\n\troot ROOT", 1)})
	v := w.visitor()
	checkout := v.browse("/premium/article.html")
	token := checkout.url.Query().Get("token")
	if token == "" {
		t.Fatal("the sandbox's checkout URL has no query to look for")
	}
	back := v.pay(checkout, cardGood)
	w.delivered()
	v.browse(back.location()).wantPaid(t)
	access := v.cookie(t, "axra_t_")
	w.stop() // flushes the log
	defer w.load(w.config)
	raw, err := os.ReadFile(w.logs)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(raw), "handled request") {
		t.Fatal("there is no access log to look at")
	}
	for name, secret := range map[string]string{"checkout token": token, "access token": access, "key": "bk_test_sandbox", "secret": "bs_test_sandbox"} {
		if strings.Contains(string(raw), secret) {
			t.Errorf("the %s is in the log", name)
		}
	}
}

var threatOf = map[sandbox.FaultKind]string{
	sandbox.FaultUnauthorized: "P2", sandbox.FaultTooMany: "P3", sandbox.FaultInternal: "P4", sandbox.FaultUnavailable: "P4", sandbox.FaultReset: "P4",
	sandbox.FaultGarbage: "P5", sandbox.FaultTruncated: "P5", sandbox.FaultHuge: "P5", sandbox.FaultRedirect: "P6",
	sandbox.FaultWrongHost: "P7", sandbox.FaultWrongScheme: "P7", sandbox.FaultExpired: "P9",
}

func TestP1P10AxraInTrouble(t *testing.T) {
	for _, kind := range sandbox.FaultKinds() {
		switch kind {
		case sandbox.FaultNone, sandbox.FaultHang, sandbox.FaultSlow, sandbox.FaultAbsurdExpiry:
			continue
		}
		t.Run(threatOf[kind]+" "+string(kind), func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			paid := w.visitor()
			paid.buy("/premium/article.html", cardGood).wantPaid(t)
			mustDo(t, w.sandbox.SetFault(sandbox.Fault{Kind: kind}))
			answer := w.visitor().open("/premium/article.html")
			answer.wantPage(t, http.StatusServiceUnavailable, "Payment is not available right now")
			if answer.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			paid.open("/premium/article.html").wantPaid(t) // P10
			if n := w.sandbox.CallCount(sandbox.RouteUnknown); n != 0 {
				t.Errorf("P6: %d calls to where a redirect led", n)
			}
			mustDo(t, w.sandbox.SetFault(sandbox.Fault{}))
			w.visitor().open("/premium/article.html").wantCheckout(t, w)
		})
	}
	t.Run("P9 absurd expiry is clamped", func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		mustDo(t, w.sandbox.SetFault(sandbox.Fault{Kind: sandbox.FaultAbsurdExpiry}))
		v := w.visitor()
		v.open("/premium/article.html").wantCheckout(t, w)
		w.pass(time.Hour)
		mustDo(t, w.sandbox.SetFault(sandbox.Fault{}))
		v.open("/premium/article.html").wantCheckout(t, w)
		if w.creations() != 2 {
			t.Errorf("%d sessions were created: an expired one was reused", w.creations())
		}
	})
	t.Run("P1 a visitor who leaves a hanging call ends it", func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		mustDo(t, w.sandbox.SetFault(sandbox.Fault{Kind: sandbox.FaultHang, Times: 1}))
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.site+"/premium/article.html", nil)
		mustDo(t, err)
		request.Header = navigation.Clone()
		if response, err := w.visitor().client.Do(request); err == nil {
			response.Body.Close()
			t.Fatal("answered while Axra hangs")
		}
		w.visitor().open("/premium/article.html").wantCheckout(t, w)
	})
}
