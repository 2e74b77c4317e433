package paywall_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// shop has passes that several gates share, and paths that are sold one by one.
const shop = `{
	SETUP
	axra {
		api_key        {env.AXRA_API_KEY}
		webhook_secret {env.AXRA_WEBHOOK_SECRET}
		endpoint       ENDPOINT
		pass day {
			price       2.00 usd
			access      1d
			description "Day pass"
		}
		pass month {
			price  9.00 usd
			access 30d
		}
		pass old {
			price 1.00 usd
			retired
		}
	}
}
http://localhost:PORT {
	axra_webhook /webhooks/axra
	map {path} {file_price} {
		/files/a.txt 3.00
		/files/b.txt 4.50
		/files/free.txt 0
		/files/text.txt five
	}
	@dev axra_paid
	@month axra_paid month
	@cel expression axra_paid('day', 'old')
	axra_paywall /premium/* {
		passes day month old
		request_headers
	}
	axra_paywall /archive/* {
		pass month
	}
	axra_paywall /files/* {
		pass files
		price {file_price} eur
		per_path
		passes month
	}
	respond /free/headers "FREE {header.X-Axra-User}{header.X_Axra_User}"
	route /who {
		respond @month month
		respond @cel day
		respond @dev other
		respond nobody
	}
	respond /premium/headers "MARK {header.X-Axra-Paid}|{header.X-Axra-Pass}|{header.X_Axra_User}{http.request.header.x.axra.user}|{header.X-Axra-User}|{http.auth.user.id}"
	root ROOT
	file_server
}
`

func newShop(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, worldOptions{Caddyfile: shop})
	w.write("archive/index.html", marker+" archive")
	for _, name := range []string{"a", "b", "free", "text", "unpriced"} {
		w.write("files/"+name+".txt", marker+" file "+name)
	}
	return w
}

// buyPass goes from the offer page through the checkout.
func (v *visitor) buyPass(target, pass string) reply {
	v.w.t.Helper()
	return v.buy(target+"?axra_checkout="+url.QueryEscape(pass), cardGood)
}

func TestOneOfSeveralPassesOpensEveryGateThatListsIt(t *testing.T) {
	w := newShop(t)
	v := w.visitor()
	offer := v.open("/premium/article.html")
	offer.wantPage(t, http.StatusPaymentRequired, "Day pass")
	if !strings.Contains(offer.body, "9.00 USD") || !strings.Contains(offer.body, "30 days") || strings.Contains(offer.body, "1.00 USD") {
		t.Errorf("the offer page says\n%s", offer.body)
	}
	if w.creations() != 0 {
		t.Error("looking at the offer has created a session")
	}
	back := v.pay(v.browse(v.submit(offer, "Buy month", nil).location()), cardGood)
	w.delivered()
	v.browse(back.location()).wantPaid(t)
	v.open("/premium/other.html").wantPaid(t)
	v.open("/archive/").wantPaid(t)
	v.open("/files/a.txt").wantPaid(t)
	if who := v.open("/who").body; who != "month" {
		t.Errorf("axra_paid says %q", who)
	}

	dayVisitor := w.visitor()
	dayVisitor.buyPass("/premium/article.html", "day").wantPaid(t)
	dayVisitor.open("/archive/").wantCheckout(t, w)
	dayVisitor.open("/files/a.txt").wantPage(t, http.StatusPaymentRequired, "3.00 EUR")
	if who := dayVisitor.open("/who").body; who != "day" {
		t.Errorf("axra_paid says %q", who)
	}
	w.pass(25 * time.Hour)
	dayVisitor.open("/premium/article.html").wantPage(t, http.StatusPaymentRequired, "Day pass")
	if who := dayVisitor.open("/who").body; who != "nobody" {
		t.Errorf("after the end axra_paid says %q", who)
	}
	v.open("/premium/article.html").wantPaid(t)
}

func TestAnOfferIsNotGoneToTwice(t *testing.T) {
	w := newShop(t)
	v := w.visitor()
	first := v.open("/premium/article.html?axra_checkout=day")
	first.wantCheckout(t, w)
	second := v.open("/premium/article.html?axra_checkout=day")
	second.wantCheckout(t, w)
	if first.location() != second.location() || w.creations() != 1 {
		t.Errorf("%d sessions for one choice", w.creations())
	}
	v.open("/premium/article.html?axra_checkout=month").wantCheckout(t, w)
	for _, unknown := range []string{"old", "none", "", "files"} {
		v.open("/premium/article.html?axra_checkout="+unknown).wantPage(t, http.StatusPaymentRequired, "Day pass")
	}
	if w.creations() != 2 {
		t.Errorf("%d sessions", w.creations())
	}
}

func TestWhatWasSoldIsHonoured(t *testing.T) {
	w := newShop(t)
	day, file, month := w.visitor(), w.visitor(), w.visitor()
	day.buyPass("/premium/article.html", "day").wantPaid(t)
	file.buyPass("/files/a.txt", "files").wantPaid(t)
	month.buyPass("/premium/article.html", "month").wantPaid(t)
	for name, config := range map[string]string{
		"dearer":            strings.ReplaceAll(shop, "2.00 usd", "99.00 usd"),
		"retired":           strings.Replace(shop, "price       2.00 usd", "retired", 1),
		"route renamed":     strings.Replace(shop, "axra_paywall /premium/*", "axra_paywall /pre*", 1),
		"no longer by path": strings.Replace(shop, "price {file_price} eur\n\t\tper_path", "price 20 eur", 1),
		"now by path":       strings.Replace(shop, "price  9.00 usd", "price  9.00 usd\n\t\t\tper_path", 1),
	} {
		t.Run(name, func(t *testing.T) {
			if config == shop {
				t.Fatal("the change does not fit the configuration")
			}
			w.load(config)
			day.open("/premium/article.html").wantPaid(t)
			file.open("/files/a.txt").wantPaid(t)
			month.open("/premium/other.html").wantPaid(t)
			token := http.Header{"Authorization": {"Bearer " + file.cookieFor("/files/a.txt", "axra_t_")}}
			for _, other := range []string{"/files/b.txt", "/files/b.txt;/../a.txt", "/files/x/../a.txt"} {
				if answer := file.do(http.MethodGet, other, token, nil); strings.Contains(answer.body, marker) {
					t.Errorf("one file's payment opens %s", other)
				}
			}
		})
	}
}

func TestT4APathThatIsSoldByItselfOpensAlone(t *testing.T) {
	w := newShop(t)
	v := w.visitor()
	v.buyPass("/files/a.txt", "files").wantPaid(t)
	token := v.cookieFor("/files/a.txt", "axra_t_")
	if payment := w.lastPayment(); payment.Currency != "eur" {
		t.Errorf("charged %s %s", payment.Amount, payment.Currency)
	}
	for _, target := range []string{
		"/files/b.txt", "/files/b.txt/", "/files//b.txt", "/files/A.TXT/../b.txt", "/files/a.txt/../b.txt",
		"/files/a.txt/..%2fb.txt", "/files/a.txt;/../b.txt", "/files/b.txt;/../a.txt", `/files/a.txt\..\b.txt`, "/files/%2e/b.txt",
		"/files/a.txt%00/../b.txt", "/files/", "/files", "/premium/article.html", "/archive/",
	} {
		for _, header := range []http.Header{
			{"Authorization": {"Bearer " + token}},
			{"Cookie": {"axra_t_x=y; " + v.cookieNameFor("/files/a.txt", "axra_t_") + "=" + token}},
		} {
			header.Set("Accept", "text/html")
			answer := w.visitor().do(http.MethodGet, target, header, nil)
			if strings.Contains(answer.body, marker+" file b") || strings.Contains(answer.body, "archive") || answer.status == http.StatusOK {
				t.Errorf("%s: %d %.80s", target, answer.status, answer.body)
			}
		}
	}
	header := http.Header{"Authorization": {"Bearer " + token}, "X-Original-Url": {"/files/b.txt"}}
	if answer := w.visitor().do(http.MethodGet, "/files/a.txt", header, nil); answer.status != http.StatusBadRequest {
		t.Errorf("another path in a header: %d", answer.status)
	}
	header = http.Header{"Authorization": {"Bearer " + token}, "Range": {"bytes=4-"}}
	if answer := w.visitor().do(http.MethodGet, "/files/a.txt", header, nil); answer.status != http.StatusPartialContent {
		t.Errorf("a range of what is paid: %d", answer.status)
	}
}

func TestAPriceThatIsMissingOrWrongIsAnError(t *testing.T) {
	w := newShop(t)
	for _, name := range []string{"free", "text", "unpriced"} {
		for _, target := range []string{"/files/" + name + ".txt", "/files/" + name + ".txt?axra_checkout=files"} {
			if answer := w.visitor().open(target); answer.status != http.StatusInternalServerError || strings.Contains(answer.body, marker) {
				t.Errorf("%s: %d", target, answer.status)
			}
			if answer := w.visitor().do(http.MethodGet, target, nil, nil); answer.status != http.StatusInternalServerError {
				t.Errorf("%s for a program: %d", target, answer.status)
			}
			if answer := w.visitor().do(http.MethodPost, target, nil, nil); answer.status == http.StatusOK || strings.Contains(answer.body, marker) {
				t.Errorf("POST %s: %d", target, answer.status)
			}
		}
	}
	if w.creations() != 0 {
		t.Errorf("%d sessions for what has no price", w.creations())
	}
	if !strings.Contains(w.log(), "/files/free.txt") {
		t.Error("the log does not say what has no price")
	}
	month := w.visitor()
	month.buyPass("/premium/article.html", "month").wantPaid(t)
	month.open("/files/unpriced.txt").wantPaid(t)
}

func TestS7ManyFilesBoughtKeepCookiesSmall(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: strings.Replace(
		strings.Replace(fiveLines, "access 30d", "per_path", 1), "endpoint ", "limit_per_client 1000 1m\n\t\tendpoint ", 1)})
	v := w.visitor()
	const files = 60
	for i := range files {
		name := "/premium/" + strings.Repeat("n", 3) + string(rune('a'+i/26)) + string(rune('a'+i%26)) + ".html"
		w.write(name, marker)
		v.buy(name, cardGood).wantPaid(t)
		address, _ := url.Parse(w.site + name)
		size := 0
		for _, cookie := range v.client.Jar.Cookies(address) {
			size += len(cookie.Name) + len(cookie.Value)
		}
		if size > 2000 {
			t.Fatalf("after %d files %d bytes of cookies", i+1, size)
		}
	}
	v.open("/premium/nnnaa.html").wantPaid(t)
}

func TestG12RequestHeadersThatAClientSendsAreStripped(t *testing.T) {
	w := newShop(t)
	v := w.visitor()
	forged := navigation.Clone()
	for _, name := range []string{"X-Axra-Paid", "X-Axra-Pass", "X_Axra_User", "X-Axra-User", "x.axra.user", "X-axra_Session"} {
		forged[name] = []string{"forged"}
	}
	if answer := v.do(http.MethodGet, "/free/headers", forged, nil); answer.body != "FREE " {
		t.Errorf("on a free page the application sees %q", answer.body)
	}
	v.buyPass("/premium/article.html", "day").wantPaid(t)
	answer := v.do(http.MethodGet, "/premium/headers", forged, nil)
	if !strings.HasPrefix(answer.body, "MARK true|day||axra-") || strings.Contains(answer.body, "forged") {
		t.Errorf("the application sees %q", answer.body)
	}
	parts := strings.Split(answer.body, "|")
	if parts[len(parts)-1] != parts[len(parts)-2] {
		t.Errorf("http.auth.user.id differs from the header: %q", answer.body)
	}
}

func TestOwnersPagesBeforeTheCheckout(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "offer.html")
	if err := os.WriteFile(file, []byte(`<h1>{{.Title}}</h1>{{range .Passes}}<a href="{{.Checkout}}">{{.Name}} {{.Price}} {{.Access}}</a>{{end}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ offer, errors, want string }{
		"title and text": {"offer {\n title \"Read {path}\"\n text \"Ours\"\n }", "", "Read /premium/article.html"},
		"template":       {"offer {\n title \"T&T\"\n template " + file + "\n }", "", "<h1>T&amp;T</h1><a href=\"/premium/article.html?x=1&amp;axra_checkout=%2Fpremium%2F%2A\">/premium/* 5.00 USD 30 days</a>"},
	} {
		t.Run(name, func(t *testing.T) {
			config := strings.Replace(fiveLines, "access 30d", "access 30d\n"+test.offer, 1)
			config = strings.Replace(config, "\tfile_server\n", "\tfile_server\n"+test.errors+"\n", 1)
			w := newWorld(t, worldOptions{Caddyfile: config})
			v := w.visitor()
			v.open("/premium/article.html?x=1").wantPage(t, http.StatusPaymentRequired, test.want)
			if w.creations() != 0 {
				t.Error("a session was created for a look")
			}
			pass := "/premium/*"
			if strings.Contains(test.offer, "pass p") {
				pass = "p"
			}
			v.buyPass("/premium/article.html", pass).wantPaid(t)
		})
	}
}

func TestAProgramBuysAndDownloads(t *testing.T) {
	w := newShop(t)
	program := w.visitor()
	program.client.Jar = nil
	var problem struct {
		Type, Pass, Currency, Checkout, StatusURL string
		Status                                    int
		Amount                                    json.Number
		Passes                                    []struct{ Pass, Checkout string }
	}
	answer := program.do(http.MethodGet, "/files/a.txt", nil, nil)
	decode(t, answer, &problem)
	if answer.status != 402 || answer.header.Get("Content-Type") != "application/problem+json" ||
		problem.Amount != "3.00" || problem.Currency != "eur" || problem.Pass != "files" || len(problem.Passes) != 2 {
		t.Fatalf("%d %s", answer.status, answer.body)
	}
	var checkout struct{ Session, CheckoutURL, StatusURL, StatusToken string }
	answer = program.do(http.MethodPost, problem.Checkout, nil, nil)
	decode(t, answer, &checkout)
	if answer.status != http.StatusCreated || checkout.StatusURL != problem.StatusURL || w.creations() != 1 {
		t.Fatalf("%d %s", answer.status, answer.body)
	}
	status := func(token string) (int, string, string) {
		var got struct{ State, AccessToken, TokenType string }
		header := http.Header{"Accept": {"application/json"}}
		if token != "" {
			header.Set("Authorization", "Bearer "+token)
		}
		answer := program.do(http.MethodGet, checkout.StatusURL, header, nil)
		decode(t, answer, &got)
		return answer.status, got.State, got.AccessToken
	}
	for _, stranger := range []string{"", "x", "eyJhbGciOiJub25lIn0.e30."} {
		if code, _, token := status(stranger); code != http.StatusUnauthorized || token != "" {
			t.Errorf("status for %q: %d", stranger, code)
		}
	}
	if code, state, token := status(checkout.StatusToken); code != 200 || state != "waiting" || token != "" {
		t.Errorf("before the payment: %d %s", code, state)
	}
	w.visitor().pay(w.visitor().browse(checkout.CheckoutURL), cardGood)
	w.delivered()
	code, state, token := status(checkout.StatusToken)
	if code != 200 || state != "paid" || token == "" {
		t.Fatalf("after the payment: %d %s", code, state)
	}
	header := http.Header{"Authorization": {"Bearer " + token}}
	program.do(http.MethodGet, "/files/a.txt", header, nil).wantPaid(t)
	if answer := program.do(http.MethodGet, "/files/b.txt", header, nil); answer.status != 402 {
		t.Errorf("another file: %d", answer.status)
	}
	if err := w.sandbox.Refund(w.lastPayment().ID); err != nil {
		t.Fatal(err)
	}
	w.delivered()
	if answer := program.do(http.MethodGet, "/files/a.txt", header, nil); answer.status != 402 {
		t.Errorf("after a refund: %d", answer.status)
	}
	if _, state, token := status(checkout.StatusToken); state != "refunded" || token != "" {
		t.Errorf("after a refund: %s", state)
	}
}

func TestC2AnotherSiteStartsNoCheckout(t *testing.T) {
	w := newShop(t)
	for _, from := range []string{"cross-site", "same-site"} {
		header := http.Header{"Sec-Fetch-Site": {from}}
		if answer := w.visitor().do(http.MethodPost, "/premium/?axra_checkout=day", header, nil); answer.status != http.StatusForbidden {
			t.Errorf("%s: %d", from, answer.status)
		}
	}
	if w.creations() != 0 {
		t.Errorf("%d sessions", w.creations())
	}
}

func decode(t *testing.T, answer reply, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(answer.body), into); err != nil {
		t.Fatalf("%d %v\n%s", answer.status, err, answer.body)
	}
}

// cookie is the value of the browser's cookie for a page whose name contains part.
func (v *visitor) cookieFor(target, part string) string {
	v.w.t.Helper()
	_, value := v.findCookie(target, part)
	return value
}

func (v *visitor) cookieNameFor(target, part string) string {
	v.w.t.Helper()
	name, _ := v.findCookie(target, part)
	return name
}

func (v *visitor) findCookie(target, part string) (name, value string) {
	v.w.t.Helper()
	address, err := url.Parse(v.w.site + target)
	if err != nil {
		v.w.t.Fatal(err)
	}
	for _, cookie := range v.client.Jar.Cookies(address) {
		if strings.Contains(cookie.Name, part) {
			return cookie.Name, cookie.Value
		}
	}
	v.w.t.Fatalf("no cookie %s for %s", part, target)
	return "", ""
}

func (w *world) log() string {
	w.t.Helper()
	raw, err := os.ReadFile(w.logs)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(raw)
}

func TestWhoHasOnePassMayBuyAnother(t *testing.T) {
	w := newShop(t)
	v := w.visitor()
	v.buyPass("/premium/article.html", "day").wantPaid(t)
	v.open("/archive/").wantCheckout(t, w)
	if answer := v.open("/premium/article.html?axra_checkout=day"); answer.location() != "/premium/article.html" {
		t.Errorf("asked to pay for what is paid: %d %s", answer.status, answer.location())
	}
	v.buyPass("/premium/article.html", "month").wantPaid(t)
	v.open("/archive/").wantPaid(t)
	if answer := v.open("/premium/article.html?axra_checkout=month"); answer.location() != "/premium/article.html" {
		t.Errorf("asked to pay for what is paid: %d %s", answer.status, answer.location())
	}
}

func TestFilesWithEverydayNamesAreSold(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: strings.Replace(fiveLines, "access 30d", "per_path", 1)})
	for _, name := range []string{"My Book.txt", "größe.txt", "50% off.txt", "C++ guide.txt", "a&b=c.txt", "it's (1).txt", "v1.2.tar.gz", "名前.txt"} {
		w.write("premium/"+name, marker)
		target := (&url.URL{Path: "/premium/" + name}).String()
		t.Run(name, func(t *testing.T) {
			v := w.visitor()
			v.buy(target, cardGood).wantPaid(t)
			v.open(target).wantPaid(t)
		})
	}
}

// G12: headers of one gate do not let those of another by.
func TestG12EachGateStripsItsOwnHeaders(t *testing.T) {
	config := strings.Replace(shop, "axra_paywall /archive/* {", "axra_paywall /archive/* {\n\t\trequest_headers X-Other-", 1)
	config = strings.Replace(config, "{header.X-Axra-Paid}|", "{header.X-Other-User}{header.X-Axra-Paid}|", 1)
	w := newWorld(t, worldOptions{Caddyfile: config})
	v := w.visitor()
	v.buyPass("/premium/article.html", "day").wantPaid(t)
	forged := navigation.Clone()
	forged.Set("X-Other-User", "forged")
	if answer := v.do(http.MethodGet, "/premium/headers", forged, nil); !strings.HasPrefix(answer.body, "MARK true|") {
		t.Errorf("the application sees %q", answer.body)
	}
}
