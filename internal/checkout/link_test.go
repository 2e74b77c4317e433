package checkout_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/pagetest"
)

// privateAddress is that of a page, from its receipt.
func (v *visitor) privateAddress(target string) string {
	v.s.t.Helper()
	separator := "?"
	if strings.Contains(target, "?") {
		separator = "&"
	}
	shown := v.open(target + separator + "axra_receipt")
	for node := range pagetest.Nodes(v.s.t, shown.body) {
		if value := pagetest.Attribute(node, "value"); node.Data == "input" && strings.Contains(value, "axra_link=") {
			return value
		}
	}
	v.s.t.Fatalf("no private address on the receipt:\n%s", plain(shown))
	return ""
}

// linkParam is the parameter of a private address.
func linkParam(address string) string {
	_, raw, _ := strings.Cut(address, "axra_link=")
	return "axra_link=" + raw
}

func TestAPrivateAddressWorksWithoutCookies(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(links(0)))
	v, player := s.visitor(), s.program()
	v.buy(article).wantPaid()
	address := v.privateAddress(article)
	for name, header := range map[string]http.Header{"a player": nil, "a browser": navigation} {
		for range 2 { // verified, and remembered
			answer := player.do(http.MethodGet, address, header)
			answer.wantPaid()
			if answer.header.Get("Set-Cookie") != "" || answer.header.Get("Cache-Control") == "" || answer.header.Get("Referrer-Policy") != "no-referrer" {
				t.Errorf("%s: %v", name, answer.header)
			}
		}
	}
	if answer := player.do(http.MethodGet, address, http.Header{"Range": {"bytes=5-8"}}); answer.status != http.StatusPartialContent {
		t.Errorf("a range: %d", answer.status)
	}
	if answer := player.do(http.MethodHead, address, nil); answer.status != http.StatusOK {
		t.Errorf("HEAD: %d", answer.status)
	}
	s.pass(29 * day)
	player.get(address).wantPaid()
	v.buyLonger(article)
	s.pass(29 * day)
	player.get(address).wantPaid()
	s.pass(3 * day)
	player.get(address).wantRefused(http.StatusPaymentRequired)
}

// FD9: feed readers know an episode by its address.
func TestFD9APrivateAddressStaysTheSame(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(links(0)))
	v := s.visitor()
	v.buy(article).wantPaid()
	first := v.privateAddress(article)
	s.pass(20 * day)
	if again := v.privateAddress(article); again != first {
		t.Errorf("%s becomes %s", first, again)
	}
}

// T4: a private address opens that address, for reading. T6: its token is no other token, and no other token is its.
func TestT4T6APrivateAddressOpensNothingElse(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(links(0)), newGateConfig("/dear/*", []product{sold("dear", "500")}, links(0)))
	v, player := s.visitor(), s.program()
	v.buy(article).wantPaid()
	address, app := v.privateAddress(article), v.privateAddress("/premium/app?id=1")
	key, appKey, access := linkParam(address), linkParam(app), v.cookie(article, "axra_t_")
	raw := strings.TrimPrefix(key, "axra_link=")
	for _, request := range []struct {
		method, target string
		header         http.Header
	}{
		{"GET", other + "?" + key, nil},
		{"GET", "/dear/article.html?" + key, nil},
		{"GET", "/premium/?" + key, nil},
		{"GET", article + "/../other.html?" + key, nil},
		{"GET", article + ";/../other.html?" + key, nil},
		{"GET", article + "%2f..%2fother.html?" + key, nil},
		{"GET", article + "?id=2&" + key, nil},
		{"GET", article + "?" + key + "A", nil},
		{"GET", article + "?" + key[:len(key)-1], nil},
		{"GET", article + "?axra_link=", nil},
		{"GET", article + "?axra_link=" + strings.Repeat("A", 12<<10), nil},
		{"GET", article + "?axra_link=" + access.Value, nil},
		{"GET", "/premium/app?id=2&" + appKey, nil},
		{"GET", "/premium/app?id=2&" + appKey + "&axra_query=aWQ9MQ", nil},
		{"GET", "/premium/app?id=1&id=2&" + appKey, nil},
		{"GET", "/premium/app?" + appKey, nil},
		{"GET", address, http.Header{"X-Original-Url": {other}}}, // G9
		{"POST", address, nil},
		{"PUT", address, nil},
		{"DELETE", address, nil},
		{"PROPFIND", address, nil},
		{"GET", article, http.Header{"Cookie": {access.Name + "=" + raw}}},
		{"GET", article, bearer(raw)},
	} {
		for _, first := range []bool{false, true} { // remembered or not
			if first {
				player.get(address).wantPaid()
			}
			answer := player.do(request.method, request.target, request.header)
			if strings.Contains(answer.body, marker) || answer.status < 400 || answer.header.Get("Set-Cookie") != "" {
				t.Errorf("%s %.80s: %d", request.method, request.target, answer.status)
			}
		}
	}
	for _, query := range []string{"id=1&" + appKey, "id=1&axra_try=1;id=2&" + appKey, "id=1&" + appKey + "&axra_query=aWQ9Mg"} {
		if answer := player.get("/premium/app?" + query); answer.body != marker+" /premium/app?id=1" {
			t.Errorf("%s: %d %.100s", query, answer.status, answer.body)
		}
	}
	for _, more := range []string{"&axra_receipt=1", "&axra_checkout=member&axra_extend=1", "&axra_restart=1"} {
		answer := player.open(address + more)
		if strings.Contains(answer.body, "axra_device") || answer.header.Get("Set-Cookie") != "" {
			t.Errorf("%s gives a receipt or a cookie away: %d", more, answer.status)
		}
	}
}

func TestT7APrivateAddressEndsWithThePayment(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(links(time.Hour)))
	v, player := s.visitor(), s.program()
	id := v.start(article)
	v.browse(s.pay(id)).wantPaid()
	address := v.privateAddress(article)
	player.get(address).wantPaid()
	s.pass(2 * time.Hour)
	player.get(address).wantRefused(http.StatusPaymentRequired)
	fresh := v.privateAddress(article)
	player.get(fresh).wantPaid()
	s.configure(member())
	player.get(fresh).wantRefused(http.StatusPaymentRequired) // the owner has switched them off
	s.configure(member(links(time.Hour)))
	player.get(fresh).wantPaid()
	s.refund(id)
	player.get(fresh).wantRefused(http.StatusPaymentRequired)
	s.wantCreated(1)
}

func TestWhoComesByAnEndedPrivateAddressIsToldWhatToDo(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(links(time.Hour)))
	v, outsider := s.visitor(), s.visitor()
	v.buy(article).wantPaid()
	address := v.privateAddress(article)
	s.pass(2 * time.Hour)
	ended := outsider.open(address)
	ended.wantPage(http.StatusPaymentRequired, "copy a new address from the receipt")
	outsider.open(link(t, ended, "Go to the page")).wantCheckout()
	v.browse(address).wantPaid() // it is theirs
}

func TestDownloadsByPrivateAddressAreCounted(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(links(0), downloads(2)))
	v, manager := s.visitor(), s.program()
	v.buy(article).wantPaid()
	address := v.privateAddress(article)
	manager.get(address).wantPaid() // in the same window
	s.pass(25 * time.Hour)
	manager.get(address).wantPaid()
	s.pass(25 * time.Hour)
	manager.get(address).wantRefused(http.StatusPaymentRequired)
	v.open(article).wantPage(http.StatusPaymentRequired, "download")
	v.open(receiptPage).wantPage(http.StatusOK, "2 of 2")
	v.buy(article + "?axra_restart=1").wantPaid()
}

// D3: a private address outlives its access, so it opens nothing that the ledger does not confirm.
func TestD3APrivateAddressThatWasNeverLookedUpStaysShutWhileTheLedgerFails(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(links(0)))
	v, player := s.visitor(), s.program()
	v.buy(article).wantPaid()
	address := v.privateAddress(article)
	player.get(address).wantPaid()
	s.breakLedger()
	s.pass(time.Minute)
	player.get(address).wantPaid() // for the time of grace
	s.restart(member(links(0)))
	player.get(address).wantRefused(http.StatusServiceUnavailable)
	s.pass(60 * day)
	player.get(address).wantRefused(http.StatusServiceUnavailable)
}
