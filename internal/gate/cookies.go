package gate

import (
	"crypto/sha256"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/token"
)

// Marks in the names of cookies.
const (
	CookieMark       = "axra_"   // every cookie of a gate
	accessCookieMark = "axra_t_" // every cookie with an access token
)

// CookiePrefix begins the name of a cookie with this path. The prefix __Host- makes browsers refuse a cookie that a
// sibling domain or plain http tries to plant (RFC 6265bis, section 4.1.3). It requires the path /.
func (s *Site) CookiePrefix(path string) string {
	switch {
	case !s.Secure:
		return ""
	case path == "/":
		return "__Host-"
	}
	return "__Secure-"
}

// accessCookieName names a cookie with an access token. The name includes the site, because browsers share cookies
// between all ports of a host. Cookies for several paths share a name and differ in their path.
func (s *Site) accessCookieName(path string, of ...string) string {
	sum := sha256.Sum256([]byte(s.Origin + "\n" + strings.Join(of, "\n")))
	return fmt.Sprintf("%s%s%x", s.CookiePrefix(path), accessCookieMark, sum[:4])
}

// AccessCookie returns the name of the cookie for a token, and its path in each spelling that a browser may use for the
// address.
func (s *Site) AccessCookie(issued token.Access, address *url.URL) (name string, paths []string) {
	switch {
	case issued.Resource == terms.AllPaths:
		return s.accessCookieName("/", issued.Pass), []string{"/"}
	case strings.HasPrefix(issued.Resource, "key:"):
		return s.accessCookieName("/", issued.Pass, issued.Resource), []string{"/"}
	}
	paths = urlpath.CookiePaths(address)
	return s.accessCookieName(paths[0], issued.Pass), paths
}

// Cookie returns a cookie that lasts for the given time.
func (s *Site) Cookie(name, value string, life time.Duration) *http.Cookie {
	return &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: max(1, int(life/time.Second)),
		HttpOnly: true, Secure: s.Secure, SameSite: http.SameSiteLaxMode,
	}
}

// ExpiredCookie returns a cookie that deletes the one of that name.
func (s *Site) ExpiredCookie(name string) *http.Cookie {
	cookie := s.Cookie(name, "", 0)
	cookie.MaxAge = -1
	return cookie
}

// AccessCookies are the names and values of the cookies with access tokens of any gate (RFC 6265, section 5.4). It finds
// them by one search for their mark, because most headers are full of other cookies.
func AccessCookies(headers []string) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for _, header := range headers {
			for at := strings.Index(header, accessCookieMark); at >= 0; at = strings.Index(header, accessCookieMark) {
				var pair string
				pair, header, _ = strings.Cut(header[strings.LastIndexByte(header[:at], ';')+1:], ";")
				name, value, ok := strings.Cut(strings.Trim(pair, " \t"), "=") // browsers take other white space for part of a name
				if ok && strings.Contains(name, accessCookieMark) && !yield(name, strings.Trim(value, `"`)) {
					return
				}
			}
		}
	}
}
