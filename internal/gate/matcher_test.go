package gate

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/internal/urlpath"
)

func (c Coverage) String() string {
	return [...]string{"not covered", "covered", "ambiguous"}[c]
}

// newGate is the matcher of a gate with the matchers of a named matcher's block, one on each line.
func newGate(t testing.TB, matchers string) *Matcher {
	t.Helper()
	d := caddyfile.NewTestDispenser("@gate {\n" + matchers + "\n}")
	d.Next()
	set, err := caddyhttp.ParseCaddyfileNestedMatcherSet(d)
	if err != nil {
		t.Fatalf("matchers %q: %v", matchers, err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	config := struct {
		Raw caddyhttp.RawMatcherSets `caddy:"namespace=http.matchers"`
	}{caddyhttp.RawMatcherSets{set}}
	loaded, err := ctx.LoadModule(&config, "Raw")
	if err != nil {
		t.Fatalf("matchers %q: %v", matchers, err)
	}
	var sets caddyhttp.MatcherSets
	if err := sets.FromInterface(loaded); err != nil {
		t.Fatal(err)
	}
	return NewMatcher(sets)
}

// newRequest reads a request as the server does, and prepares it as Caddy does.
// The lines are header fields.
func newRequest(target string, lines ...string) (*http.Request, error) {
	host := "Host: example.com"
	for i, line := range lines {
		if strings.HasPrefix(line, "Host:") {
			host, lines = line, append(append([]string{}, lines[:i]...), lines[i+1:]...)
			break
		}
	}
	head := "GET " + target + " HTTP/1.1\r\n" + strings.Join(append([]string{host}, lines...), "\r\n") + "\r\n\r\n"
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head)))
	if err != nil {
		return nil, err
	}
	return caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), nil), nil
}

// The gates of the tables, by what the Caddyfile says.
const (
	paidTree       = "path /paid/*"
	paidExact      = "path /paid"
	paidFolder     = "path /paid/"
	paidPrefix     = "path /paid*"
	paidPage       = "path /paid.html"
	paidPDFs       = "path *.pdf"
	paidScripts    = "path *.php"
	butFree        = "not path /free/*"
	butFreePages   = "not path / /login /über-uns /style.css *.js"
	paidPattern    = "path_regexp ^/paid(/|$)"
	paidStarts     = "expression {http.request.uri.path}.startsWith('/paid/')"
	paidOnHost     = "path /paid/*\nhost paid.example.com"
	paidButPreview = "path /paid/*\nnot path /paid/preview /paid/preview/*"
)

// TestCoverageOfObfuscations: a path that leads behind a gate in somebody's reading is covered or refused.
func TestCoverageOfObfuscations(t *testing.T) {
	t.Parallel()
	for _, group := range []struct {
		id      string
		gates   []string
		want    Coverage
		targets []string
	}{
		{"G1", []string{paidTree, paidFolder, paidExact, paidPrefix, paidPattern}, Covered, []string{"/paid", "/paid/", "/paid?x=/free", "/Paid", "/paid//"}},
		{"G1 root", []string{"path /"}, Covered, []string{"/", "//", "/index.html", "/index.php", "/INDEX.HTML", "/.", "http://example.com", "http://example.com?x"}},
		{"G1 index", []string{paidTree, paidFolder, paidExact, paidPrefix, paidPattern}, Covered, []string{
			"/paid/index.html", "/paid/index.htm", "/paid/index.txt", "/paid/index.php", "/paid/Index.HTML", "/paid/index.html/",
			"/paid/index.html.gz", "/paid/index.html.br", "/paid/default.aspx",
		}},
		{"G1 ending", []string{paidExact, paidPrefix}, Covered, []string{"/paid.html", "/paid.htm", "/paid.php", "/paid.HTML", "/paid.html.gz", "/paid.html/", "/paid.php/a"}},
		{"G1 sidecar", []string{paidPage}, Covered, []string{
			"/paid.html", "/paid.html/", "/paid.html.gz", "/paid.html.br", "/paid.html.zst", "/paid.html.GZ", "/PAID.html.Zst", "//paid.html.gz",
		}},
		{"G1 by ending", []string{paidPDFs}, Covered, []string{"/a.pdf", "/a/b.PDF", "/a.pdf/", "/a.pdf.gz", "/a.pdf.zst", "/a.%70df", "/a.pdf%2f", "/x.html/../a.pdf"}},
		{"G1 script", []string{paidScripts}, Covered, []string{"/a.php", "/a.php/", "/a.php/b", "/a.php/b/c.css", "/A.PHP/b", "/a%2ephp%2fb"}},
		{"G1 folder by ending", []string{"path *.html"}, Covered, []string{"/", "/a/", "/a", "/v1.0/"}},

		{"G2", []string{paidTree, paidPattern, paidStarts}, Ambiguous, []string{
			"/paid;v=1/a", "/paid;/a", "/paid;a;b/c", "/;/paid/a", "/;x/paid/a", "/x/..;/paid/a", "/x/..;v=1/paid/a", "/x/.;/..;/paid/a",
			"/x;y/..;z/paid;w/a", "/paid%3b/a", "/paid%3Bv=1/a", "/paid%253bx/a", "/x/%2e%2e;/paid/a", "/x/..%3b/paid/a", "/free/..;/paid/a",
			"/paid;%2f/a", "/paid;jsessionid=1",
		}},
		{"G2 exact", []string{paidExact, paidFolder, paidPattern}, Ambiguous, []string{"/paid;v=1", "/paid;", "/paid;/", "/;/paid"}},
		{"G2 by ending", []string{paidPDFs}, Ambiguous, []string{"/a.pdf;v=1", "/a.pdf;x.png", "/a.pdf%3b.html", "/a.pdf;/"}},
		{"G2 not", []string{butFree}, Ambiguous, []string{"/free/..;/a", "/free/..;x/a", "/free/%2e%2e;/a"}},

		{"G3", []string{paidTree, paidPattern, paidStarts}, Ambiguous, []string{
			`/paid\a`, `/\paid\a`, "/paid%5ca", "/paid%5Ca", "/%5cpaid%5ca", `/x\..\paid\a`, "/x%5c..%5cpaid%5ca", "/paid%255ca", `/x/..\paid/a`, `/.\paid/a`,
		}},
		{"G3 exact", []string{paidExact, paidFolder, paidPattern}, Ambiguous, []string{`/\paid`, "/%5cpaid", `/paid\`, `/x\..\paid`}},
		{"G3 not", []string{butFree}, Ambiguous, []string{`/free/..\a`, "/free/..%5ca", "/free/%2e%2e%5ca", "/free/x%5c..%5c..%5ca"}},

		{"G4", []string{paidTree, paidPattern, paidStarts}, Ambiguous, []string{
			"/paid%00/a", "/%00paid/a", "/paid%2500/a", "/pa%00id/a", "/paid%00", "/x/..%00/paid/a", "/paid%00.html", "/paid%c0%80/a", "/paid%01/a", "/paid%0a/a",
			"/paid%0d%0a/a", "/paid%7f/a", "/paid%09/a", "/paid%e2%80%8b/a", "/paid%c2%ad/a", "/pa%ef%bb%bfid/a",
		}},
		{"G4 by ending", []string{paidPDFs}, Ambiguous, []string{"/a.pdf%00", "/a.pdf%00.png", "/a.pdf%2500.png", "/a.pdf%0a", "/a.pdf%00/"}},

		{"G5", []string{paidTree, paidPattern}, Covered, []string{
			"//paid/a", "///paid/a", "/./paid/a", "/x/../paid/a", "/x/%2e%2e/paid/a", "/x/%2E%2e/paid/a", "/x/.%2e/paid/a", "/../paid/a", "/../../paid/a", "/paid%2fa",
			"/paid%2Fa", "/PAID/a", "/%70aid/a", "/%50AID/a", "/%2fpaid/a", "/%2f%2fpaid/a", "/x%2f..%2fpaid%2fa", "/x/..%2fpaid/a", "/paid/./a", "/paid//a", "/paid/x/../a",
			"/%2e/paid/a", "http://example.com/paid/a", "http://other.example/paid/a", "http://example.com//paid/a",
		}},
		{"G5 expression", []string{paidStarts}, Covered, []string{"/paid/a", "//paid/a", "/./paid/a", "/x/../paid/a", "/PAID/a", "/%70aid/a", "/paid"}},
		{"G5 encoded twice and more", []string{paidTree, paidPattern, paidStarts, paidExact}, Ambiguous, []string{
			"/%2570aid", "/%252570aid", "/%25252570aid", "/%2525252570aid", "/%252525252570aid", "/x%252f..%252fpaid", "/x/%252e%252e/paid",
			"/x/%25252e%25252e/paid", "/%252fpaid", "/%25%37%30aid", "/%252F%2570aid",
		}},
		{"G5 as IIS", []string{paidTree, paidPattern, paidStarts}, Ambiguous, []string{
			"/paid%25u002fa", "/%25u0070aid/a", "/x/%25u002e%25u002e/paid/a", "/paid%25U002Fa", "/paid%25u2215a", "/%25uff50aid/a", "/paid%25u005ca",
		}},
		{"G5 overlong", []string{paidTree, paidPattern, paidStarts}, Ambiguous, []string{
			"/paid%c0%afa", "/paid%e0%80%afa", "/paid%f0%80%80%afa", "/x/%c0%ae%c0%ae/paid/a", "/x/..%c1%9cpaid/a", "/%c1%b0aid/a", "/%e0%81%b0aid/a",
			"/%f0%80%81%b0%c1%a1id/a", "/paid%25c0%25afa", "/x%c0%af..%c0%afpaid%c0%afa",
		}},
		{"G5 look-alikes", []string{paidTree, paidPattern, paidStarts}, Ambiguous, []string{
			"/ｐａｉｄ/a", "/%ef%bd%90aid/a", "/paid／a", "/paid＼a", "/paid∕a", "/paid⁄a", "/x/．．/paid/a", "/x/‥/paid/a", "/x/。。/paid/a", "/ⓟaid/a", "/𝐩aid/a", "/ＰＡＩＤ/a",
			"/%EF%BC%8570aid/a", "/paid%e2%88%96a",
		}},
		{"G5 dots and spaces at the end", []string{paidTree, paidPattern, paidStarts}, Ambiguous, []string{
			"/paid./a", "/paid../a", "/paid%20/a", "/paid%20%20./a", "/paid.%20.%20/a", "/x/..%20/paid/a", "/paid%09/a",
			"/%20/paid/a", "/.../paid/a", "/paid%c2%a0/a", "/paid%e3%80%80/a", "/%20paid/a", "/paid.;v/a",
		}},
		{"G5 by ending", []string{paidPDFs}, Ambiguous, []string{"/a.pdf.", "/a.pdf%20", "/a.pdf...", "/a.pdf::$DATA", "/a.pdf:x", "/a.pdf%3a%3a$DATA", "/a%252epdf", "/a.pd%2566", "/a.pdf.gz.", "/a.pdf%23.html", "/a.pdf%3f.html", "/a．pdf"}},
		{"G5 streams", []string{paidTree, paidExact, paidPattern}, Ambiguous, []string{"/paid:x", "/paid::$DATA", "/paid%3a$i30:$INDEX_ALLOCATION"}},
		{"G5 query and fragment inside", []string{paidTree, paidExact, paidPattern}, Ambiguous, []string{"/paid%3fa", "/paid%23a", "/paid#a", "/paid%253fa", "/paid%2523"}},
		{"G5 steps out", []string{paidTree, paidPattern, paidStarts}, Ambiguous, []string{
			"/paid/../public", "/paid/a/../../public", "/paid/%2e%2e/public", "/paid/x/..%2f..%2fpublic", "/PAID/../public", "/paid/a;/../../public", "/paid/a;%2f..%2f..%2f..%2fpublic",
		}},
		{"G5 not", []string{butFree}, Ambiguous, []string{"/free/%252e%252e/a", "/free/..%252fa", "/free/%c0%ae%c0%ae/a", "/free/..%00/a", "/free/..%20/a", "/free/．．/a"}},
		{"G5 not, covered", []string{butFree}, Covered, []string{"/free", "/free/../a", "/free/%2e%2e/a", "/free/..%2fa", "/freex/a", "/fre%00e/a", "/free;/a", "/free%5ca", "/a", "/"}},
		{"without a path", []string{paidTree, paidExact, paidPDFs}, Ambiguous, []string{"http:paid/a", "http:a.pdf", "x:%2fpaid/a"}},
	} {
		for _, gate := range group.gates {
			m := newGate(t, gate)
			t.Run(group.id+"/"+gate, func(t *testing.T) {
				for _, target := range group.targets {
					expectCoverage(t, m, target, group.want)
				}
			})
		}
	}
}

// expectCoverage fails where the verdict differs. A request that Go's own server
// refuses, or that is covered where it is expected to be Ambiguous, is as good.
func expectCoverage(t *testing.T, m *Matcher, target string, want Coverage, lines ...string) {
	t.Helper()
	r, err := newRequest(target, lines...)
	if err != nil {
		if want == NotCovered {
			t.Errorf("%s: %v", target, err)
		}
		return
	}
	if got := coverageOf(t, m, r); got != want && (want != Ambiguous || got != Covered) {
		t.Errorf("%s %s is %s, want %s", target, lines, got, want)
	}
}

// coverageOf fails, and names the request, where coverage panics or returns an error.
func coverageOf(t *testing.T, m *Matcher, r *http.Request) (got Coverage) {
	t.Helper()
	defer func() {
		if reason := recover(); reason != nil {
			t.Errorf("%s: panic: %v", r.RequestURI, reason)
		}
	}()
	got, err := m.Coverage(r)
	if err != nil {
		t.Errorf("%s: %v", r.RequestURI, err)
	}
	return got
}

// TestCoverageOfHonestPaths: the addresses of an ordinary site stay open beside a gate.
func TestCoverageOfHonestPaths(t *testing.T) {
	t.Parallel()
	honest := []string{
		"/", "/index.html", "/about", "/about/", "/style.css", "/img/logo@2x.png", "/favicon.ico", "/.well-known/security.txt", "/robots.txt",
		"/Annual%20Report%202026.html", "/a+b", "/c++/", "/100%25", "/100%25%20free", "/50%25-off/", "/price-is-5%E2%82%AC", "/caf%C3%A9", "/caf%E9", "/über-uns/",
		"/%E6%97%A5%E6%9C%AC%E8%AA%9E/%E8%B3%AA%E5%95%8F%EF%BC%9A%E3%81%93%E3%82%8C%E3%81%AF%EF%BC%9F", "/%D0%BF%D1%80%D0%B8%D0%B2%D0%B5%D1%82", "/%F0%9F%98%80/%F0%9F%91%A8%E2%80%8D%F0%9F%91%A9",
		"/@user", "/@user/posts:1", "/wiki/Category:Paid", "/wiki/Paid_(disambiguation)", "/a,b,c", "/a;b=c", "/list;page=2/item;id=3", "/a=b&c=d", "/it's", "/a!b*c", "/~user/", "/a..b", "/v1.0/", "/v1.0",
		"/What%3F%20Why%3A%20a%20%22guide%22%3B%20part%20%231%E2%80%A6%20%28100%25%29", "/AC%2FDC", "/a%5Cb", "/wait...", "/Dr.%20Who", "/2026-11-22T13:33:09+00:00", "/a//b", "/a/./b", "/a/../b",
		"/Wer%3A%20was%3F/Teil%20%231%3B%20%E2%80%9EZitat%E2%80%9C/%C2%BD%20%E2%84%96%201%E2%80%A6", "/magnet:?xt=urn", "/unpaid/a", "/prepaid", "/paid-plans", "/paidx/a", "/x/paid/a", "/api/v1/users/1;admin=true",
		"/search?q=/paid/a&next=..%2fpaid", "/free/a", "/" + strings.Repeat("long-title-", 300), "/" + strings.Repeat("%E6%97%A5", 600),
	}
	for _, gate := range []string{paidTree, paidExact, paidFolder, paidPage, paidPDFs, paidScripts, paidPattern, paidStarts, paidOnHost, paidButPreview} {
		m := newGate(t, gate)
		for _, target := range honest {
			expectCoverage(t, m, target, NotCovered)
		}
	}
	for gate, targets := range map[string][]string{
		butFree: {
			"/free/", "/free/a", "/FREE/a", "/free/a%20b", "/free/a;b", "/free/%C3%BC", "/free/100%25", "/free/a:b", "/free//a", "/free/a/../b", "/free/a.css.gz", "/free/index.html",
			"/free/%EF%BC%88%E5%85%A8%E8%A7%92%EF%BC%89", "/free/a%2Fb", "/free/@a", "/free/a%3Fb",
		},
		butFreePages:           {"/", "/login", "/LOGIN", "/login?next=/paid", "/%C3%BCber-uns", "/style.css", "/js/app.js", "/js/app.min.js"},
		paidButPreview:         {"/paid/preview", "/paid/preview/", "/paid/preview/a%20b", "/paid/Preview/%C3%BC"},
		"path *.txt":           {"/about", "/img/logo.png", "/a.html"},
		"path *.html":          {"/img/logo.png", "/style.css"},
		"path /paid/* *.pdf":   {"/paid.pdfx", "/pdf", "/a.pdfs/b"},
		"not path_regexp ^/F/": {"/F/a", "/F/a%20b"},
	} {
		m := newGate(t, gate)
		for _, target := range targets {
			expectCoverage(t, m, target, NotCovered)
		}
	}
}

// FB1: what follows a script's name, or is all of a query, is a path by which applications route; it is gated like that
// path.
func TestFB1CoverageOfWhatFollowsAScript(t *testing.T) {
	t.Parallel()
	for gate, targets := range map[string]map[string]Coverage{
		"path /premium /premium/* /blog/section/*": {
			"/index.php/premium/post": Covered, "/index.php/premium": Covered, "/index.php/premium/index.html": Covered, "/index.php//premium/post": Covered,
			"/INDEX.PHP/premium/post": Covered, "/app.php7/premium/post": Covered, "/cgi-bin/app.cgi/premium/post": Covered, "/app.pl/premium/post": Covered,
			"/app.phtml/premium/post": Covered, "/Default.aspx/premium/post": Covered, "/index.cfm/premium/post": Covered, "/app.jsp/premium/post": Covered,
			"/app.py/premium/post": Covered, "/app.rb/premium/post": Covered, "/isapi.dll/premium/post": Covered, "/app.psgi/premium/post": Covered,
			"/sub/index.php/premium/post": Covered, "/blog/index.php/section/post": Covered, "/blog/public/index.php/section/post": Covered,
			"/index.php/a.php/premium/post": Covered, "/index.php%2Fpremium/post": Covered, "/index.php/free/../premium/post": Covered,
			"/index%2Ephp/premium/post": Covered, "/index.php/%70remium/post": Covered, "/?/premium/post": Covered, "/?/index.php/premium/post": Covered,
			"/index.php?/premium/post&x=1": Covered, "/index.php?/%70remium/post": Covered,
			"/?/premium;x/post": Ambiguous, "/A.php/b.php/%c0%af..;/premium/post": Ambiguous, "/index.php;x/premium/post": Ambiguous,
			"/index.php%5Cpremium/post": Ambiguous, "/a.php/b.php/c.php/d.php/e.php/f.php/premium/post": Ambiguous,
			"/index.php": NotCovered, "/index.php/about": NotCovered, "/docs/v1.2/premium/post": NotCovered, "/index.php?q=/premium/post": NotCovered,
		},
		"not path / /index.php /assets/* /free/*": {
			"/assets/index.php/premium/post": Covered, "/?/premium/post": Covered, "/index.php?/premium/post": Covered,
			"/assets/app.js": NotCovered, "/assets/index.php/free/post": NotCovered, "/index.php": NotCovered, "/": NotCovered,
		},
	} {
		m := newGate(t, gate)
		for target, want := range targets {
			expectCoverage(t, m, target, want)
		}
	}
}

// TestCoverageExceptions: what a `not` exempts is no way around the rest.
func TestCoverageExceptions(t *testing.T) {
	t.Parallel()
	for gate, targets := range map[string]map[string]Coverage{
		butFreePages: {
			"/a": Covered, "/login/": Covered, "/login/a": Covered, "/login;/a": Covered, "/style.css.gz": Covered, "/index.html": Covered,
			"/a;.js": Ambiguous, "/a%00.js": Ambiguous, "/a%23.js": Ambiguous, "/a%3f.js": Ambiguous,
		},
		paidButPreview: {
			"/paid/a": Covered, "/paid/previews": Covered, "/paid/preview/../a": Covered, "/paid/preview/..;/a": Ambiguous, "/paid/preview/%252e%252e/a": Ambiguous,
			`/paid/preview/..\a`: Ambiguous, "/paid;/a": Ambiguous, "/paid": Covered,
		},
	} {
		m := newGate(t, gate)
		for target, want := range targets {
			expectCoverage(t, m, target, want)
		}
	}
}

// TestCoverageG9: headers that name another path do not open the gate, and neither
// do those that name the same one close anything.
func TestCoverageG9(t *testing.T) {
	t.Parallel()
	m := newGate(t, paidTree)
	for _, name := range urlpath.OverrideHeaders {
		for _, value := range []string{
			"/paid/a", "paid/a", "/paid", "//paid/a", "/paid/a?x=1", "http://example.com/paid/a", "https://example.com//paid/a", "/%70aid/a", "/%2570aid/a", `/x/..\paid\a`, "/x/..;/paid/a", "/PAID/a",
		} {
			expectCoverage(t, m, "/free", Ambiguous, name+": "+value)
			expectCoverage(t, m, "/free", Ambiguous, strings.ToLower(name)+": /other", strings.ToUpper(name)+": "+value)
		}
		for _, value := range []string{"/", "/free", "/free?x=/paid/a", "http://example.com/free", "/free%20a"} { // an honest proxy
			expectCoverage(t, m, "/free", NotCovered, name+": "+value)
		}
		expectCoverage(t, m, "/paid/a", Covered, name+": /free")
		expectCoverage(t, newGate(t, butFree), "/free/a%20b;c", NotCovered, name+": /free/a%20b;c?d")
	}
	for _, line := range []string{"X-Forwarded-Host: other.example", "X-HTTP-Method-Override: HEAD", "X-Forwarded-Proto: ftp", "Referer: /paid/a"} {
		expectCoverage(t, m, "/paid/a", Covered, line)
		expectCoverage(t, m, "/free", NotCovered, line)
	}
}

// TestCoverageG10: the address before a rewrite counts as well as the one after it.
func TestCoverageG10(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		gate, target, rewritten string
		want                    Coverage
	}{
		{paidTree, "/paid/a", "/files/a", Covered},                 // rewrite
		{paidTree, "/pretty", "/paid/a", Covered},                  // rewrite
		{paidTree, "/shop/paid/a", "/paid/a", Covered},             // handle_path
		{paidTree, "/shop/paid", "/paid", Covered},                 // handle_path
		{paidTree, "/shop/..;/paid/a", "/..;/paid/a", Ambiguous},   // handle_path
		{paidTree, "/shop/free", "/free", NotCovered},              // handle_path
		{paidTree, "/paid;x/a", "/files/a", Ambiguous},             // rewrite
		{paidTree, "/%2570aid/a", "/index.php", Ambiguous},         // try_files … /index.php
		{paidTree, "/about", "/about.html", NotCovered},            // try_files {path} {path}.html
		{paidExact, "/paid", "/paid.html", Covered},                // try_files {path} {path}.html
		{paidExact, "/paid.html", "/paid.html", Covered},           // try_files {path} {path}.html
		{paidPage, "/paid", "/paid.html", Covered},                 // try_files {path} {path}.html
		{butFree, "/shop/free/a", "/free/a", NotCovered},           // handle_path
		{butFree, "/shop/free/a%20b;c", "/free/a b;c", NotCovered}, // handle_path
		{butFree, "/shop/a", "/a", Covered},                        // handle_path
		{butFree, "/shop/free/..;/a", "/free/..;/a", Ambiguous},    // handle_path
		{paidStarts, "/paid/a", "/404.html", Covered},              // handle_errors
	} {
		if got := coverageOf(t, newGate(t, test.gate), rewrite(request(t, test.target), test.rewritten)); got != test.want {
			t.Errorf("%s of %s as %s: %s, want %s", test.gate, test.target, test.rewritten, got, test.want)
		}
	}
}

// TestCoverageG11: the spelling of the host changes nothing.
func TestCoverageG11(t *testing.T) {
	t.Parallel()
	m := newGate(t, paidOnHost)
	for _, host := range []string{"paid.example.com", "PAID.Example.COM", "paid.example.com.", "paid.example.com:8443", "paid.example.com.:8443"} {
		expectCoverage(t, m, "/paid/a", Covered, "Host: "+host)
		expectCoverage(t, m, "/paid;x/a", Ambiguous, "Host: "+host)
		expectCoverage(t, m, "/free", NotCovered, "Host: "+host)
	}
	expectCoverage(t, m, "/paid/a", NotCovered, "Host: example.com")
}

// TestCoveragePlaceholders: matchers that read placeholders of other handlers read
// them for other paths too.
func TestCoveragePlaceholders(t *testing.T) {
	t.Parallel()
	m := newGate(t, "expression {plan} != 'free'")
	r := request(t, "/a%20b")
	replacer := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	began := caddyhttp.GetVar(r.Context(), "start_time")
	replacer.Set("plan", "free") // as the directive map does
	if got, err := m.Coverage(r); err != nil || got != NotCovered {
		t.Errorf("got %s (%v), want not covered", got, err)
	}
	if caddyhttp.GetVar(r.Context(), "start_time") != began {
		t.Error("asking about other paths changed the variables of the request")
	}
	replacer.Set("plan", "paid")
	if got, err := m.Coverage(r); err != nil || got != Covered {
		t.Errorf("got %s (%v), want covered", got, err)
	}
}

// TestCoverageFails: a matcher that fails does not open the gate.
func TestCoverageFails(t *testing.T) {
	t.Parallel()
	m := newGate(t, "expression {http.request.uri.path}.size() > int({http.request.header.X-N})")
	if got, err := m.Coverage(request(t, "/a", "X-N: none")); err == nil || got == NotCovered {
		t.Errorf("got %s and no error", got)
	}
}

// countingMatcher counts how often it is asked.
type countingMatcher struct{ asked int }

func (m *countingMatcher) Match(*http.Request) bool { m.asked++; return false }

// FB6: a long path that has to be decoded is refused before that costs anything.
func TestFB6AHostilePathIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	for name, target := range map[string]string{
		"overlong slashes": "/x/" + strings.Repeat("%c0%af..;/", 700), "semicolons": "/x/" + strings.Repeat(";/", 4000),
		"colons": "/x/" + strings.Repeat("a:b;c%20./", 700), "full-width letters": "/x/" + strings.Repeat("%EF%BD%90", 880),
	} {
		asked := new(countingMatcher)
		m := NewMatcher(caddyhttp.MatcherSets{{asked}})
		if got, err := m.Coverage(request(t, target)); got != Ambiguous || err != nil || asked.asked != 1 {
			t.Errorf("%s: coverage %d, %v; the matcher was asked %d times", name, got, err, asked.asked)
		}
		if IsUnambiguous(request(t, target)) {
			t.Errorf("%s: it can be sold", name)
		}
	}
	if got, err := NewMatcher(caddyhttp.MatcherSets{{new(countingMatcher)}}).Coverage(request(t, "/x/"+strings.Repeat("%E4%B8%AD", 200))); got != NotCovered || err != nil {
		t.Errorf("a long title: coverage %d, %v", got, err)
	}
}

// TestObfuscationsAreDecodedOnce: FB6, several gates share what a hostile path takes milliseconds to decode.
func TestObfuscationsAreDecodedOnce(t *testing.T) {
	r := httptest.NewRequest("GET", "/x/"+strings.Repeat("%25c0%25af..;/", 100), nil)
	r = r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, map[string]any{}))
	paths := urlpath.Suspicious(r.URL)
	began := time.Now()
	first, ok := obfuscationsOf(r, paths)
	if took := time.Since(began); took < 100*time.Microsecond {
		t.Fatalf("the path is not hostile: %v", took)
	}
	second, again := obfuscationsOf(r, paths)
	if ok != again || len(first) != len(second) || len(first) > 0 && &first[0] != &second[0] {
		t.Error("the obfuscations were decoded again")
	}
}
