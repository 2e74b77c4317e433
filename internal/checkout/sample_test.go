package checkout_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/internal/gate"
)

// asked is a header that asks for something else than a whole page.
var asked = but(navigation, "Range", "bytes=0-2", "If-Modified-Since", "Fri, 01 Jan 2027 00:00:00 GMT", "Connection", "Upgrade", "Upgrade", "websocket")

// G8: nothing of a teaser is a range, unchanged, or upgraded.
func TestG8ATeaserStandsInForThePage(t *testing.T) {
	t.Parallel()
	indexed := member(teaser("/teasers{http.request.uri.path}"))
	indexed.flow.Teaser.Index = true
	for name, test := range map[string]struct {
		gate         gateConfig
		want, robots string
	}{
		"page":         {member(teaser("/teaser.html")), "free /teaser.html", "noindex"},
		"page by path": {indexed, "free /teasers" + article, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, test.gate)
			s.content = func(w http.ResponseWriter, r *http.Request) error {
				if r.Header.Get("Upgrade") != "" {
					t.Error("a teaser is asked to be upgraded")
				}
				offered := gate.Replace(r, "{http.axra.offer.passes}: {http.axra.offer.member.price} {http.axra.offer.member.checkout}")
				if strings.HasPrefix(r.URL.Path, "/teaser") && offered != "member: 5.00 USD "+article+"?axra_checkout=member" {
					t.Errorf("a teaser offers %s", offered)
				}
				return serveContent(w, r)
			}
			v := s.visitor()
			for _, header := range []http.Header{navigation, clients["C2 FA4 crawler"].header, asked} {
				answer := v.do(http.MethodGet, article, header)
				answer.wantPage(http.StatusPaymentRequired, test.want)
				if got := answer.header.Get("X-Robots-Tag"); got != test.robots {
					t.Errorf("X-Robots-Tag %q", got)
				}
				for _, name := range []string{"Etag", "Last-Modified", "Accept-Ranges", "Content-Range"} {
					if answer.header.Get(name) != "" {
						t.Errorf("a teaser says %s", name)
					}
				}
			}
			s.wantCreated(0)
			if program := s.program().get(article); !strings.Contains(program.body, `"amount":5.00`) {
				t.Errorf("a program gets %d %s", program.status, program.body)
			}
			v.buy(article + "?axra_checkout").wantPaid()
		})
	}
}

// G2, G9: no address and no header leads a teaser to paid bytes.
func TestG2NoTeaserLeadsToPaidBytes(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(teaser("{http.request.uri.path}.teaser")))
	s.content = func(w http.ResponseWriter, r *http.Request) error {
		if r.URL.Path != article+".teaser" {
			return serveContent(w, r)
		}
		_, err := io.WriteString(w, "TEASER "+r.Header.Get("X-Original-Url"))
		return err
	}
	v := s.visitor()
	v.open(article).wantPage(http.StatusPaymentRequired, "TEASER")
	if answer := v.do(http.MethodGet, article, but(navigation, "X-Original-Url", article)); answer.body != "TEASER " {
		t.Errorf("an application is told the paid path in a header: %q", answer.body)
	}
	v.do(http.MethodGet, article, but(navigation, "X-Original-Url", other)).wantRefused(http.StatusBadRequest)
	for _, target := range []string{article + ";x", article + "%3fx", article + "%00", "/premium/x/..%2farticle.html", article + `\x`} {
		v.open(target).wantRefused(http.StatusBadRequest)
	}
}

func TestATeaserThatCannotBeServedLeavesTheBuiltInWay(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]caddyhttp.HandlerFunc{
		"no clean path": serveContent,
		"not found":     func(http.ResponseWriter, *http.Request) error { return caddyhttp.Error(http.StatusNotFound, nil) },
		"an application's error": func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("X-Secret", "1")
			w.WriteHeader(http.StatusNotFound)
			_, err := io.WriteString(w, strings.Repeat("no such page ", 100))
			return err
		},
		"a redirect": func(w http.ResponseWriter, r *http.Request) error {
			http.Redirect(w, r, article, http.StatusFound)
			return nil
		},
		"nothing": func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("X-Secret", "1")
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, member(teaser(map[bool]string{true: "/t/../premium/x", false: "/teaser.html"}[name == "no clean path"])))
			s.content = content
			answer := s.visitor().open(article)
			answer.wantCheckout()
			if answer.header.Get("X-Secret") != "" {
				t.Error("a header of the teaser is left")
			}
		})
	}
}

func TestFreeSamplesEnd(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(preview(2)))
	v := s.visitor()
	for range 3 {
		first := v.open("/premium/1.html")
		first.wantPaid()
		if got := first.header.Get("Cache-Control"); got != "private, no-cache" {
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

func TestFB7AFreeSampleIsThePageThatWasRead(t *testing.T) {
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
	v.open(article + "?id=1&utm_source=x&fbclid=y").wantPaid() // FB7: the same page
	v.open("/other/1.html").wantPaid()                         // another gate's
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
