package gate

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/access/accesstest"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/token"
)

// shop is a gate that sells two passes, single files and keys, and a visitor who may own some of them.
type shop struct {
	*Gate
	node  *accesstest.Node
	site  *Site
	t     testing.TB
	owned []string // Cookie and Authorization lines
}

func newShop(t testing.TB) *shop {
	n := accesstest.New(t)
	g := gateOf(t, n, "",
		product(t, "day", ProductConfig{Price: fiveDollars}), product(t, "month", ProductConfig{Price: fiveDollars}),
		product(t, "file", ProductConfig{Price: fiveDollars, PerPath: true}),
		product(t, "key", ProductConfig{Price: fiveDollars, PerPath: true, Key: "{http.request.uri.query.sku}"}))
	return &shop{Gate: g, node: n, site: g.Site(request(t, "/")), t: t}
}

// cookie names a token's cookie as it was set at the address.
func (s *shop) cookie(raw, product, resource, target string) string {
	name, _ := s.site.AccessCookie(token.Access{Pass: product, Resource: resource}, request(s.t, target).URL)
	return name + "=" + raw
}

// own gives the visitor a purchase in a cookie.
func (s *shop) own(product, resource, target string, edit ...func(*ledger.Holding)) {
	s.owned = append(s.owned, "Cookie: "+s.cookie(s.node.Sell(product, resource, edit...), product, resource, target))
}

func (s *shop) bear(scheme, raw string) {
	s.owned = append(s.owned, "Authorization: "+scheme+" "+raw)
}

func status(status ledger.Status) func(*ledger.Holding) {
	return func(h *ledger.Holding) { h.Status = status }
}

func counted(h *ledger.Holding) { h.DownloadLimit = 2 }

func endsIn(n *accesstest.Node, life time.Duration) func(*ledger.Holding) {
	return func(h *ledger.Holding) { h.EndsAt = n.Now().Add(life) }
}

var errDown = errors.New("the disk is gone")

// The first purchase that opens the gate counts; else the one that says most about why none does.
func TestTheTokenThatCounts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		target   string
		own      func(s *shop)
		products []string // only these count
		want     access.Decision
		product  string // of the token
	}{
		{"nothing", "/a", func(*shop) {}, nil, access.None, ""},
		{"other cookies", "/a", func(s *shop) { s.owned = []string{"Cookie: a=b; __Host-axra_t_0=x; axra_p_1=y"} }, nil, access.None, ""},
		{"a pass", "/a", func(s *shop) { s.own("day", "*", "/") }, nil, access.Open, "day"},
		{"the first of two passes", "/a", func(s *shop) { s.own("month", "*", "/"); s.own("day", "*", "/") }, nil, access.Open, "month"},
		{"a pass that does not count", "/a", func(s *shop) { s.own("day", "*", "/") }, []string{"month"}, access.None, ""},
		{"one of those that count", "/a", func(s *shop) { s.own("day", "*", "/"); s.own("month", "*", "/") }, []string{"file", "month"}, access.Open, "month"},
		{"T4 another product", "/a", func(s *shop) { s.bear("Bearer", s.node.Sell("year", "*")) }, nil, access.None, ""},
		{"T4 another site", "/a", func(s *shop) {
			s.bear("Bearer", s.node.Sell("day", "*", func(h *ledger.Holding) { h.Site = "https://other.example" }))
		}, nil, access.None, ""},
		{"a file", "/a", func(s *shop) { s.own("file", "/a", "/a") }, nil, access.Open, "file"},
		{"a file in another spelling", "/A/../a/index.html", func(s *shop) { s.own("file", "/a", "/a") }, nil, access.Open, "file"},
		{"T4 another file", "/b", func(s *shop) { s.own("file", "/a", "/a") }, nil, access.None, ""},
		{"a key", "/a?sku=1", func(s *shop) { s.own("key", "key:1", "/") }, nil, access.Open, "key"},
		{"T4 another key", "/a?sku=2", func(s *shop) { s.own("key", "key:1", "/") }, nil, access.None, ""},
		{"a key that was sold as a pass", "/a", func(s *shop) { s.own("key", "*", "/") }, nil, access.Open, "key"},
		{"as a program", "/a", func(s *shop) { s.bear("Bearer", s.node.Sell("day", "*")) }, nil, access.Open, "day"},
		{"as a program in other letters", "/a", func(s *shop) { s.bear("bearer", "  "+s.node.Sell("day", "*")) }, nil, access.Open, "day"},
		{"by another scheme", "/a", func(s *shop) { s.bear("Basic", s.node.Sell("day", "*")) }, nil, access.None, ""},
		{"T5 cut off", "/a", func(s *shop) { s.bear("Bearer", s.node.Sell("day", "*")[1:]) }, nil, access.None, ""},
		{"two cookies of one name, the first forged", "/a", func(s *shop) {
			s.owned = []string{"Cookie: " + s.cookie("x.y.z", "day", "*", "/") + "; c=d; " + s.cookie(s.node.Sell("day", "*"), "day", "*", "/")}
		}, nil, access.Open, "day"},
		{"T5 behind more cookies than are looked at", "/a", func(s *shop) {
			s.owned = []string{"Cookie: " + strings.Repeat(s.cookie("x.y.z", "day", "*", "/")+"; ", maxCandidates) + s.cookie(s.node.Sell("day", "*"), "day", "*", "/")}
		}, nil, access.None, ""},
		{"refunded", "/a", func(s *shop) { s.own("day", "*", "/", status(ledger.Refunded)) }, nil, access.Closed, "day"},
		{"T7 refunded, beside another pass", "/a", func(s *shop) { s.own("day", "*", "/", status(ledger.Refunded)); s.own("month", "*", "/") }, nil, access.Open, "month"},
		{"two are closed", "/a", func(s *shop) {
			s.own("day", "*", "/", status(ledger.Refunded))
			s.own("month", "*", "/", status(ledger.Disputed))
		}, nil, access.Closed, "day"},
		{"expired", "/a", func(s *shop) { s.own("day", "*", "/", endsIn(s.node, time.Hour)); s.node.Pass(time.Hour) }, nil, access.None, ""},
		{"counted", "/a", func(s *shop) { s.own("file", "/a", "/a", counted) }, nil, access.Open, "file"},
		{"counted, beside a pass", "/a", func(s *shop) { s.own("file", "/a", "/a", counted); s.own("day", "*", "/") }, nil, access.Open, "day"},
		{"D3 unknown", "/a", func(s *shop) { s.own("day", "*", "/"); s.node.Pass(11 * time.Minute) }, nil, access.Unknown, "day"},
		{"D3 unknown, and closed", "/a", func(s *shop) {
			s.own("day", "*", "/", status(ledger.Refunded))
			s.FindToken(s.visit("/a"), s.site)
			s.own("month", "*", "/")
			s.node.Pass(11 * time.Minute)
		}, nil, access.Unknown, "month"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t)
			test.own(s)
			verdict, found := s.FindToken(s.visit(test.target), s.site, test.products...)
			product := ""
			if found != nil {
				product = found.Pass
			}
			if verdict != test.want || product != test.product {
				t.Errorf("verdict %d by %q, want %d by %q", verdict, product, test.want, test.product)
			}
		})
	}
}

// visit is a request with what the visitor owns.
func (s *shop) visit(target string) *http.Request {
	return request(s.t, target, append(s.owned, "X-None: 0")...)
}

// T4: what was bought by path stays that path's when the gate sells paths no more.
func TestT4AFileIsNoPassForAmbiguousAddresses(t *testing.T) {
	t.Parallel()
	n := accesstest.New(t)
	g := gateOf(t, n, "", product(t, "file", ProductConfig{Price: fiveDollars}))
	raw := n.Sell("file", "/a")
	for target, want := range map[string]access.Decision{
		"/a": access.Open, "/a/": access.Open, "/b": access.None, "/b;/../a": access.None, `/a\..\b`: access.None, "/a%00/../b": access.None, "/a%2f..%2fb": access.None,
	} {
		r := request(t, target, "Authorization: Bearer "+raw)
		if verdict, _ := g.FindToken(r, NewSite(accesstest.Site)); verdict != want {
			t.Errorf("%s: verdict %d, want %d", target, verdict, want)
		}
	}
	r := request(t, "/a", "Authorization: Bearer "+raw, "X-Original-Url: /b")
	if verdict, _ := g.FindToken(r, NewSite(accesstest.Site)); verdict != access.None {
		t.Errorf("another path in a header: verdict %d", verdict)
	}
}

func TestD3RequestsInGraceAreCounted(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	graces := 0
	s.Tokens.OnGrace = func() { graces++ }
	s.own("day", "*", "/")
	for _, step := range []struct {
		pass time.Duration
		want int
	}{{0, 0}, {accesstest.Bounds.Recheck, 0}, {time.Second, 1}, {time.Second, 2}, {accesstest.Bounds.Grace, 2}} {
		s.node.Pass(step.pass)
		if s.FindToken(s.visit("/a"), s.site); graces != step.want {
			t.Errorf("after %s more: %d requests in grace, want %d", step.pass, graces, step.want)
		}
	}
}

// T4, T6 and G6: a private address opens itself, for reading, and nothing else.
func TestT4T6G6FB7APrivateAddressOpensItself(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.HasLinks = true
	h := ledger.Holding{}
	h.ID, h.Site, h.Product, h.Resource, h.Status = "linked", accesstest.Site, "day", terms.AllPaths, ledger.Active
	s.node.Set(h)
	address, err := s.Tokens.PrivateAddress(s.site, s.node.Access(h), "/feed?id=1", s.node.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	key := strings.TrimPrefix(address, accesstest.Site+"/feed?id=1&axra_link=")
	verdict := func(method, target string, lines ...string) access.Decision {
		r := request(t, target, append(lines, "X-None: 0")...)
		r.Method = method
		verdict, _ := s.FindToken(r, s.site)
		return verdict
	}
	for _, test := range []struct {
		name, method, target string
		want                 access.Decision
	}{
		{"itself", "GET", "/feed?id=1&axra_link=" + key, access.Open},
		{"itself again", "GET", "/feed?id=1&axra_link=" + key, access.Open},
		{"its header", "HEAD", "/feed?id=1&axra_link=" + key, access.Open},
		{"FB7 with what a newsletter appends", "GET", "/feed?id=1&axra_link=" + key + "&utm_source=x&fbclid=y", access.Open},
		{"another page appended", "GET", "/feed?id=1&axra_link=" + key + "&id=2", access.None},
		{"another query", "GET", "/feed?id=2&axra_link=" + key, access.None},
		{"more of a query", "GET", "/feed?id=1&id=2&axra_link=" + key, access.None},
		{"another path", "GET", "/other?id=1&axra_link=" + key, access.None},
		{"an ambiguous path", "GET", "/other;/../feed?id=1&axra_link=" + key, access.None},
		{"forged", "GET", "/feed?id=1&axra_link=" + key[:len(key)-2], access.None},
		{"to write", "POST", "/feed?id=1&axra_link=" + key, access.None},
		{"without", "GET", "/feed?id=1", access.None},
	} {
		if got := verdict(test.method, test.target); got != test.want {
			t.Errorf("%s: verdict %d, want %d", test.name, got, test.want)
		}
	}
	if verdict("GET", "/feed?id=1", "Authorization: Bearer "+key) != access.None {
		t.Error("T6: it is taken for an access token")
	}
	if verdict("GET", "/feed?id=1&axra_link="+s.node.Sell("day", "*")) != access.None {
		t.Error("T6: an access token is taken for a private address")
	}
	other := request(t, "/feed?id=1&axra_link="+key)
	if got, _ := s.FindToken(other, NewSite("https://other.example")); got != access.None {
		t.Error("it opens another site")
	}
	s.HasLinks = false
	if verdict("GET", "/feed?id=1&axra_link="+key) != access.None {
		t.Error("it opens a gate without private addresses")
	}
	s.HasLinks = true
	s.node.Refund("linked")
	if verdict("GET", "/feed?id=1&axra_link="+key) != access.Closed {
		t.Error("it opens after a refund")
	}
}

func TestD3AnOpenDownloadCountsBeforeAPrivateAddressThatCannotBeRead(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.HasLinks = true
	s.own("file", "/feed", "/feed", counted)
	s.FindToken(s.visit("/feed"), s.site) // it is read
	linked := token.Access{Site: accesstest.Site, Pass: "day", Resource: terms.AllPaths, Purchase: "never read"}
	address, err := s.Tokens.PrivateAddress(s.site, linked, "/feed", s.node.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	s.node.Fail(errDown)
	target := strings.TrimPrefix(address, accesstest.Site)
	if verdict, found := s.FindToken(s.visit(target), s.site); verdict != access.Open || found.Pass != "file" {
		t.Errorf("verdict %d by %+v", verdict, found)
	}
	if verdict, _ := s.FindToken(request(t, target), s.site); verdict != access.Unknown {
		t.Errorf("the private address alone: verdict %d", verdict)
	}
}

// A token lasts longer than its access, which may be extended on another device meanwhile.
func TestTheCookieThatAPurchaseIsGiven(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	until := s.node.Now().Add(time.Hour)
	for _, test := range []struct {
		name    string
		granted token.Access
		want    time.Duration
		cookies int
	}{
		{"with an end", token.Access{Pass: "day", Resource: "*", Until: until}, time.Hour + token.Lapse, 1},
		{"counted", token.Access{Pass: "file", Resource: "/it's", Until: until, Downloads: 2}, time.Hour, 2},
		{"without an end", token.Access{Pass: "day", Resource: "*"}, 400 * 24 * time.Hour, 1},
	} {
		test.granted.Site, test.granted.Purchase = accesstest.Site, "1"
		w := httptest.NewRecorder()
		if err := s.Tokens.Give(w, request(t, "/it%27s"), s.site, test.granted); err != nil {
			t.Fatal(err)
		}
		cookies := w.Result().Cookies()
		if len(cookies) != test.cookies {
			t.Fatalf("%s: cookies %v", test.name, cookies)
		}
		for _, cookie := range cookies {
			if got, err := s.node.Keys.VerifyAccess(cookie.Value, accesstest.Site); err != nil || got.Pass != test.granted.Pass {
				t.Errorf("%s: %+v %v", test.name, got, err)
			}
			if time.Duration(cookie.MaxAge)*time.Second != test.want || !cookie.Secure || !cookie.HttpOnly {
				t.Errorf("%s: %s", test.name, cookie)
			}
		}
	}
	s.Tokens.Keys = token.NewKeyring(nil)
	w := httptest.NewRecorder()
	if err := s.Tokens.Give(w, request(t, "/"), s.site, token.Access{}); err == nil || len(w.Result().Cookies()) > 0 {
		t.Errorf("without keys: %v", err)
	}
	if _, err := s.Tokens.PrivateAddress(s.site, token.Access{}, "/", until); err == nil {
		t.Error("a private address without keys")
	}
}

func TestTheTimeOfARequestIsWhenItCame(t *testing.T) {
	t.Parallel()
	at := time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)
	if got := Clock(func() time.Time { return at }).Of(request(t, "/")); !got.Equal(at) {
		t.Errorf("a clock of its own says %s", got)
	}
	r := request(t, "/")
	if first := Clock(nil).Of(r); !first.Equal(Clock(nil).Of(r)) || time.Since(first) > time.Minute {
		t.Errorf("the request came at %s", first)
	}
	if got := Clock(nil).Of(httptest.NewRequest(http.MethodGet, "/", nil)); time.Since(got) > time.Minute {
		t.Errorf("a request that Caddy has not prepared came at %s", got)
	}
}
