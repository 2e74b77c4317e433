package checkout_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"
)

// Headers of real browsers and programs, and whether they start a checkout.
var clients = map[string]struct {
	header http.Header
	starts bool
}{
	"Firefox": {navigation, true},
	"FA4 Safari before Fetch metadata": {http.Header{
		"Accept":     {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
		"User-Agent": {"Mozilla/5.0 (iPhone; CPU iPhone OS 15_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/15.6 Mobile/15E148 Safari/604.1"},
	}, false},
	"FA1 browser within an app":                {but(navigation, "X-Requested-With", "com.example.browser"), true},
	"FA4 old browser within an app":            {but(navigation, "X-Requested-With", "com.facebook.katana", "Sec-Fetch-Mode", "", "Sec-Fetch-Dest", ""), false},
	"FA2 service worker":                       {but(navigation, "Sec-Fetch-Dest", "empty"), true},
	"FA2 service worker that accepts all":      {but(navigation, "Sec-Fetch-Dest", "empty", "Accept", "*/*"), true},
	"FA1 FA2 service worker within an app":     {but(navigation, "Sec-Fetch-Dest", "empty", "X-Requested-With", "com.example.browser"), true},
	"a phone whose name ends in bot":           {but(navigation, "User-Agent", "Mozilla/5.0 (Linux; Android 14; CUBOT X90) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36"), true},
	"C2 script":                                {but(navigation, "X-Requested-With", "XMLHttpRequest"), false},
	"C2 fetch":                                 {but(navigation, "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"), false},
	"C2 prefetch":                              {but(navigation, "Sec-Purpose", "prefetch;prerender"), false},
	"C2 old prefetch":                          {but(navigation, "Purpose", "prefetch"), false},
	"C2 frame":                                 {but(navigation, "Sec-Fetch-Dest", "iframe"), false},
	"C2 picture":                               {http.Header{"Accept": {"image/avif,image/webp,*/*"}, "Sec-Fetch-Mode": {"no-cors"}, "Sec-Fetch-Dest": {"image"}}, false},
	"C2 picture of an old browser":             {http.Header{"Accept": {"image/webp,*/*"}}, false},
	"C2 WebSocket":                             {but(navigation, "Connection", "Upgrade", "Upgrade", "websocket"), false},
	"C2 FA4 crawler":                           {http.Header{"Accept": {"text/html"}, "User-Agent": {"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}}, false},
	"C2 FA4 preview of a chat":                 {http.Header{"Accept": {"text/html"}, "User-Agent": {"facebookexternalhit/1.1"}}, false},
	"FA4 browser that is named like a crawler": {but(navigation, "User-Agent", "facebookexternalhit/1.1"), true},
	"C2 curl":                                  {http.Header{"Accept": {"*/*"}, "User-Agent": {"curl/8.14.1"}}, false},
	"C2 program without any header":            {nil, false},
	"C2 program that reads JSON":               {http.Header{"Accept": {"application/json"}}, false},
}

// FA1, FA2: navigations that do not look like those of a desktop browser buy as others do. C2, FA4: nothing else starts
// a checkout, whatever it calls itself.
func TestFA1FA2FA4C2OnlyNavigationsStartACheckout(t *testing.T) {
	t.Parallel()
	s := newShop(t, member())
	for name, client := range clients {
		v := s.visitor()
		open := func(target string) reply { return v.do(http.MethodGet, target, client.header) }
		before := s.axra.created()
		first := open(article)
		if starts := first.status == http.StatusSeeOther; starts != client.starts {
			t.Errorf("%s: answered %d", name, first.status)
			continue
		}
		if !client.starts {
			first.wantRefused(http.StatusPaymentRequired)
			s.wantCreated(before)
			continue
		}
		id := first.wantCheckout()
		open(s.back(id)).wantPage(http.StatusPaymentRequired, "Waiting for confirmation")
		open(s.pay(id)).wantRedirect(article)
		open(article).wantPaid()
		open(article+"?axra_receipt").wantPage(http.StatusOK, "Your receipt")
	}
}

// Persons who are taken for programs.
var misjudged = map[string]http.Header{
	"script":                clients["C2 script"].header,
	"fetch":                 clients["C2 fetch"].header,
	"prefetch":              clients["C2 prefetch"].header,
	"FA4 no Fetch metadata": clients["FA4 Safari before Fetch metadata"].header,
}

// FA3, FA4: a person who is taken for a program and accepts HTML can buy by a button, and gets in afterwards.
func TestFA3FA4WhoIsTakenForAProgramBuysByAButton(t *testing.T) {
	t.Parallel()
	two := newGateConfig("/premium/*", []product{sold("a", "1.00"), sold("b", "2.00")})
	for name, site := range map[string]struct {
		gate           gateConfig
		target, button string
	}{
		"one product":  {member(), article, "Continue to checkout"},
		"offer page":   {member(offerPage("The premium section")), article, "Buy"},
		"two products": {two, article, "Buy b for 2.00 USD"},
		"teaser":       {member(teaser("/teaser.html")), article + "?axra_checkout", "Continue to checkout"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, site.gate)
			for _, header := range misjudged {
				v := s.visitor()
				before := s.axra.created()
				refused := v.do(http.MethodGet, site.target, header)
				refused.wantRefused(http.StatusPaymentRequired)
				s.wantCreated(before)
				if policy := refused.header.Get("Content-Security-Policy"); !strings.Contains(policy, "form-action 'self' "+checkouts) {
					t.Errorf("the page's policy keeps its form from the checkout: %s", policy)
				}
				id := v.submit(refused, site.button, header).wantCheckout()
				v.do(http.MethodGet, s.pay(id), header).wantRedirect(article)
				v.do(http.MethodGet, article, header).wantPaid()
			}
		})
	}
}

// FA3, FA4: a browser with a payment under way gets it, whatever its headers say. S1: no other does.
func TestFA3FA4S1AReturnIsHonouredWhateverTheHeadersSay(t *testing.T) {
	t.Parallel()
	s := newShop(t, member())
	headers := maps.Clone(misjudged)
	headers["accepts anything"], headers["no headers"] = http.Header{"Accept": {"*/*"}}, nil
	for _, header := range headers {
		v := s.visitor()
		id := v.start(article)
		v.do(http.MethodGet, s.back(id), header).wantPage(http.StatusPaymentRequired, "Waiting for confirmation")
		back := s.pay(id)
		s.visitor().do(http.MethodGet, back, http.Header{"Accept": {"*/*"}}).wantRefused(http.StatusPaymentRequired)
		v.do(http.MethodGet, back, header).wantRedirect(article)
		v.do(http.MethodGet, article, header).wantPaid()
	}
}

// C2: a form of another site starts nothing, and is no dead end.
func TestC2AFormOfAnotherSiteGetsAPageWithAButton(t *testing.T) {
	t.Parallel()
	s := newShop(t, member())
	old := but(navigation, "Sec-Fetch-Mode", "", "Sec-Fetch-Dest", "") // without Fetch metadata
	for name, test := range map[string]struct {
		header http.Header
		starts bool
	}{
		"cross-site":            {but(navigation, "Sec-Fetch-Site", "cross-site"), false},
		"same-site":             {but(navigation, "Sec-Fetch-Site", "same-site"), false},
		"another origin":        {but(old, "Origin", "https://evil.example"), false},
		"a hidden origin":       {but(old, "Origin", "null"), true}, // of a page with Referrer-Policy: no-referrer
		"the site's own origin": {but(old, "Origin", origin), true},
		"no origin":             {old, true},
	} {
		before := s.axra.created()
		v := s.visitor()
		page := v.do(http.MethodPost, article+"?axra_checkout", test.header)
		if test.starts {
			page.wantCheckout()
			continue
		}
		page.wantPage(http.StatusPaymentRequired, "Continue to checkout")
		if s.axra.created() != before {
			t.Errorf("%s: a form starts a checkout", name)
		}
		v.submit(page, "Continue to checkout", navigation).wantCheckout()
	}
	program := s.program().do(http.MethodPost, article+"?axra_checkout=member", http.Header{"Sec-Fetch-Site": {"cross-site"}})
	program.wantRefused(http.StatusForbidden)
}

// FA3: the button of who extends a purchase sells more time, and no second purchase.
func TestFA3WhoIsTakenForAProgramExtendsByAButton(t *testing.T) {
	t.Parallel()
	s := newShop(t, member())
	v, _ := s.buyer()
	offer := v.do(http.MethodGet, v.extension(article), misjudged["script"])
	offer.wantPage(http.StatusPaymentRequired, "Continue to checkout")
	v.browse(s.pay(v.submit(offer, "Continue to checkout", misjudged["script"]).wantCheckout())).wantPaid()
	v.open(receiptPage).wantPage(http.StatusOK, "5.00 USD &#43; 5.00 USD")
}
