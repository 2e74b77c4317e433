package checkout_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func TestFreeSamplesEnd(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(preview(2)))
	v := s.visitor()
	for range 3 {
		first := v.open("/premium/1.html")
		first.wantPaid()
		if got := first.header.Get("Cache-Control"); got != "private" && got != "private, no-cache" {
			t.Errorf("a free sample says Cache-Control %q", got)
		}
	}
	v.open("/premium/2.html").wantPaid()
	v.open("/premium/3.html").wantCheckout()
	v.open("/premium/1.html").wantPaid()
	read := http.Header{"Sec-Fetch-Site": {"same-origin"}, "Referer": {origin + "/premium/1.html"}}
	for _, header := range []http.Header{
		nil, but(read, "Sec-Fetch-Dest", "image"), but(read, "Sec-Fetch-Dest", "empty"), but(read, "Sec-Fetch-Dest", "image", "Sec-Fetch-Site", "cross-site"),
	} {
		v.do(http.MethodGet, "/premium/3.html", header).wantRefused(http.StatusPaymentRequired)
	}
	s.pass(31 * day)
	v.open("/premium/3.html").wantPaid()
}

func TestAFreeSampleIsThePageThatWasRead(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(preview(2)), newGateConfig("/other/*", []product{sold("other", "5.00")}, preview(1)))
	v := s.visitor()
	for range 3 {
		if answer := v.open("/premium/missing.html"); answer.status != http.StatusNotFound {
			t.Errorf("a missing page: %d", answer.status)
		}
	}
	v.open(article + "?id=1").wantPaid()
	v.open(article + "?id=2").wantPaid() // an application's other page
	v.open(article + "?id=3").wantCheckout()
	v.open(article + "?id=1").wantPaid()
	v.open(article + "?id=2").wantPaid()
	v.open("/other/1.html").wantPaid() // another gate's
	answer := v.do(http.MethodGet, article+"?id=1", but(navigation, "X-Original-Url", other))
	if strings.Contains(answer.body, marker) {
		t.Errorf("G9: %d", answer.status)
	}
}

func TestFreeSamplesAreForBrowsersThatKeepCookies(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(preview(1)))
	free := 0
	for range 50 {
		if s.visitor().open(article).status == http.StatusOK {
			free++
		}
	}
	if free != 30 {
		t.Errorf("%d free pages for visitors without a cookie", free)
	}
}

// T6: a sample's cookie is no access token, nor another gate's.
func TestT6APreviewCookieOpensNothingElse(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(preview(2)), newGateConfig("/other/*", []product{sold("other", "1.00")}, preview(1)))
	v := s.visitor()
	v.open(article).wantPaid()
	raw := v.cookie(article, "axra_f_").Value
	s.program().do(http.MethodGet, article, bearer(raw)).wantRefused(http.StatusPaymentRequired)
	cheat := s.visitor()
	cheat.open("/other/x").wantPaid()
	forged := cheat.cookie("/other/x", "axra_f_").Name + "=" + raw
	cheat.open("/other/y").wantCheckout()
	s.program().do(http.MethodGet, "/other/y", but(navigation, "Cookie", forged)).wantPaid() // as to a new visitor
}

// G8: no connection to a free page is upgraded.
func TestG8NoFreePageIsUpgraded(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(preview(3)))
	s.content = caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		w.WriteHeader(http.StatusSwitchingProtocols)
		return nil
	})
	upgrade := but(navigation, "Connection", "Upgrade", "Upgrade", "websocket", "Sec-Fetch-Dest", "image")
	s.visitor().do(http.MethodGet, "/premium/socket", upgrade).wantRefused(http.StatusPaymentRequired)
}
