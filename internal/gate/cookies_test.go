package gate

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/token"
)

func TestTheCookieOfAPurchase(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, origin, resource, address string
		prefix                          string
		paths                           []string
	}{
		{"a pass", "https://example.com", terms.AllPaths, "/a", "__Host-axra_t_", []string{"/"}},
		{"a path", "https://example.com", "/a", "/a", "__Secure-axra_t_", []string{"/a"}},
		{"a folder", "https://example.com", "/a", "/a/index.html", "__Secure-axra_t_", []string{"/a"}},
		{"the root", "https://example.com", "/", "/", "__Host-axra_t_", []string{"/"}},
		{"a long path", "https://example.com", "sha256:00", "/a", "__Secure-axra_t_", []string{"/a"}},
		{"a path of several spellings", "https://example.com", "/it's", "/it%27s", "__Secure-axra_t_", []string{"/it%27s", "/it's"}},
		{"a key", "https://example.com", "key:/a", "/a", "__Host-axra_t_", []string{"/"}},
		{"plain http", "http://localhost", terms.AllPaths, "/a", "axra_t_", []string{"/"}},
		{"a path over plain http", "http://localhost", "/a", "/a", "axra_t_", []string{"/a"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			address, err := url.Parse(test.address)
			if err != nil {
				t.Fatal(err)
			}
			name, paths := NewSite(test.origin).AccessCookie(token.Access{Pass: "p", Resource: test.resource}, address)
			if !strings.HasPrefix(name, test.prefix) || !strings.Contains(name, accessCookieMark) || !slices.Equal(paths, test.paths) {
				t.Errorf("%s with %q", name, paths)
			}
		})
	}
}

// Browsers keep one jar for all ports of a host.
func TestCookieNamesTellPurchasesApart(t *testing.T) {
	t.Parallel()
	name := func(origin, pass, resource string) string {
		name, _ := NewSite(origin).AccessCookie(token.Access{Pass: pass, Resource: resource}, &url.URL{Path: "/a"})
		return name
	}
	names := []string{
		name("http://localhost:1", "p", terms.AllPaths), name("http://localhost:2", "p", terms.AllPaths), name("http://localhost:1", "q", terms.AllPaths),
		name("http://localhost:1", "p", "key:1"), name("http://localhost:1", "p", "key:2"),
	}
	slices.Sort(names)
	if len(slices.Compact(names)) != 5 {
		t.Errorf("names %q", names)
	}
	if name("http://localhost:1", "p", "/a") != name("http://localhost:1", "p", "/b") {
		t.Error("paths, which differ in the cookie's path, differ in its name")
	}
}

func TestCookiesAreKeptFromScriptsAndOtherSites(t *testing.T) {
	t.Parallel()
	for origin, secure := range map[string]bool{"https://example.com": true, "http://localhost": false} {
		site := NewSite(origin)
		cookie, expired := site.Cookie("c", "v", time.Hour), site.ExpiredCookie("c")
		if !cookie.HttpOnly || cookie.Secure != secure || cookie.SameSite != http.SameSiteLaxMode || cookie.MaxAge != 3600 || cookie.Path != "/" {
			t.Errorf("%s: %s", origin, cookie)
		}
		if expired.MaxAge != -1 || expired.Value != "" || !expired.HttpOnly || expired.Secure != secure {
			t.Errorf("%s: %s", origin, expired)
		}
	}
	if short := NewSite("https://example.com").Cookie("c", "v", time.Millisecond); short.MaxAge != 1 {
		t.Errorf("a cookie that lives is deleted: %s", short)
	}
}

// FuzzAccessCookies: the quick search finds the cookies that reading them one by one finds, in their order. A browser takes
// white space beyond ASCII for a part of a name, so a sibling domain may plant such a cookie.
func FuzzAccessCookies(f *testing.F) {
	for _, seed := range []string{
		"axra_t_1=a; axra_t_1=b", "x=y; __Host-axra_t_0123abcd=\"a.b.c\" ;q=1", "x=axra_t_1=a", "axra_t_", "axra_t_=;", ";;axra_t_1",
		"a=1;\taxra_t_1=2\n; \u00a0axra_t_2=3", "axra_t_axra_t_=axra_t_", "=axra_t_1", " axra_t_1 = a", "axra_t_1=a\nx=axra_t_2=b; y",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, lines string) {
		headers := strings.Split(lines, "\n")
		var want, got []string
		for pair := range strings.FieldsFuncSeq(lines, func(c rune) bool { return c == ';' || c == '\n' }) {
			name, value, ok := strings.Cut(strings.Trim(pair, " \t"), "=")
			if ok && strings.Contains(name, accessCookieMark) && len(want) < 8 {
				want = append(want, name, strings.Trim(value, `"`))
			}
		}
		for name, value := range AccessCookies(headers) {
			if got = append(got, name, value); len(got) >= 8 {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%q: found %q, want %q", lines, got, want)
		}
	})
}
