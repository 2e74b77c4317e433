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
			for _, header := range []http.Header{navigation, clients["C2 crawler"].header, asked} {
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
