package paywall_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// remember does what the script of a page does with the fragment.
func (v *visitor) remember(target, fragment string) {
	address, err := url.Parse(v.w.site + target)
	if err != nil {
		v.w.t.Fatal(err)
	}
	v.client.Jar.SetCookies(address, []*http.Cookie{{Name: "axra_h", Value: url.PathEscape(fragment), Path: address.Path, MaxAge: 86400}})
}

func TestTheFragmentComesBack(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member("keep_fragment")})
	v := w.visitor()
	leaving := v.open("/premium/article.html?x=1")
	leaving.wantPage(t, http.StatusPaymentRequired, "To the checkout")
	if !strings.Contains(leaving.body, `data-cookie="axra_h"`) || !strings.Contains(leaving.header.Get("Content-Security-Policy"), "script-src 'sha256-") {
		t.Error("the page keeps no fragment")
	}
	v.remember("/premium/article.html", "#chapter-2")
	back := v.pay(v.browse(link(t, leaving, "Continue to checkout")), cardGood)
	w.delivered()
	if answer := v.open(back.location()); answer.location() != "/premium/article.html?x=1#chapter-2" {
		t.Errorf("back at %d %q", answer.status, answer.location())
	}
	if answer := v.open("/premium/article.html?axra_here=1"); answer.location() != "/premium/article.html" {
		t.Errorf("later at %q", answer.location())
	}
}

func TestTheReceiptLeadsToTheFragment(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member("receipt", "offer")})
	v := w.visitor()
	offer := v.open("/premium/article.html")
	if !strings.Contains(offer.body, `data-cookie="axra_h"`) {
		t.Error("the offer page keeps no fragment")
	}
	v.remember("/premium/article.html", "#a b")
	receipt := v.buyPass("/premium/article.html", "member")
	if next := link(t, receipt, "Continue to the page"); next != "/premium/article.html#a%20b" {
		t.Errorf("leads to %q", next)
	}
}

func TestR1AFragmentStaysOne(t *testing.T) {
	w := newWorld(t, worldOptions{})
	for value, want := range map[string]string{
		"#x":                            "/premium/article.html#x",
		"#":                             "/premium/article.html",
		"":                              "/premium/article.html",
		"//evil.example":                "/premium/article.html",
		"#//evil.example":               "/premium/article.html#//evil.example",
		"#\r\nSet-Cookie: a=b":          "/premium/article.html#%0D%0ASet-Cookie:%20a=b",
		"#\"><script>":                  "/premium/article.html#%22%3E%3Cscript%3E",
		"#" + strings.Repeat("x", 2000): "/premium/article.html",
		"#:~:text=a,b":                  "/premium/article.html#:~:text=a,b",
	} {
		v := w.visitor()
		v.remember("/premium/article.html", value)
		back := v.pay(v.browse("/premium/article.html"), cardGood)
		w.delivered()
		if answer := v.open(back.location()); answer.location() != want {
			t.Errorf("%.40q leads to %.60q, want %q", value, answer.location(), want)
		}
	}
}
