package gate

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
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
// sibling domain or plain http tries to plant (RFC 6265bis, section 4.1.3). It requires the path /, so cookies of
// single paths have __Secure-.
func (s *Site) CookiePrefix(path string) string {
	switch {
	case !s.Secure:
		return ""
	case path == "/":
		return "__Host-"
	default:
		return "__Secure-"
	}
}

// accessCookieName names a cookie with an access token. The name tells sites apart as well, because browsers keep one
// jar for all ports of a host. Purchases of several paths share a name and differ in their path.
func (s *Site) accessCookieName(path string, of ...string) string {
	sum := sha256.Sum256([]byte(s.Origin + "\n" + strings.Join(of, "\n")))
	return s.CookiePrefix(path) + accessCookieMark + hex.EncodeToString(sum[:4])
}

// accessCookieNames are the names under which tokens of the products come. A product that is sold by path today may
// have been sold as a whole, so each has both names.
func (s *Site) accessCookieNames(products []*Product) []string {
	var names []string
	for _, p := range products {
		names = append(names, s.accessCookieName("/", p.Name), s.accessCookieName("/…", p.Name))
	}
	return slices.Compact(names) // without prefixes, the two are one
}

// keyCookieNames are the names of cookies for what is sold by a key.
func (s *Site) keyCookieNames(r *http.Request, products []*Product) []string {
	var names []string
	for _, p := range products {
		if p.Config.Key == "" {
			continue
		}
		if resource, err := p.Resource(r); err == nil {
			names = append(names, s.accessCookieName("/", p.Name, resource))
		}
	}
	return names
}

// AccessCookie returns where the token of a purchase goes: the cookie's name, and its path in each spelling that a
// browser may have for the address.
func (s *Site) AccessCookie(granted token.Access, address *url.URL) (name string, paths []string) {
	switch {
	case granted.Resource == terms.WholePass:
		return s.accessCookieName("/", granted.Pass), []string{"/"}
	case strings.HasPrefix(granted.Resource, "/"), strings.HasPrefix(granted.Resource, "sha256:"):
		paths = urlpath.CookiePaths(address)
		return s.accessCookieName(paths[0], granted.Pass), paths
	default:
		return s.accessCookieName("/", granted.Pass, granted.Resource), []string{"/"}
	}
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

// EachAccessCookie calls visit for each cookie with an access token (RFC 6265, section 5.4) until it returns false. It
// finds them by one search for their mark, because most headers are full of other cookies.
func EachAccessCookie(headers []string, visit func(name, value string) bool) {
	for _, header := range headers {
		for {
			at := strings.Index(header, accessCookieMark)
			if at < 0 {
				break
			}
			begin := strings.LastIndexByte(header[:at], ';') + 1
			pair, rest, _ := strings.Cut(header[begin:], ";")
			header = rest
			if name, value, ok := cutCookie(pair); ok && strings.Contains(name, accessCookieMark) && !visit(name, value) {
				return
			}
		}
	}
}

func cutCookie(pair string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(strings.Trim(pair, " \t"), "=") // browsers take other white space for part of a name
	if strings.IndexByte(value, '"') >= 0 {
		value = strings.Trim(value, `"`)
	}
	return name, value, ok
}

// IsAccessCookie reports whether a cookie of this name carries an access token of some gate.
func IsAccessCookie(name string) bool { return strings.Contains(name, accessCookieMark) }
