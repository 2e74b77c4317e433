package sitetest

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
)

// browserJar compares the paths of cookies with addresses as they are sent, as
// browsers do; cookiejar compares them with what they stand for.
type browserJar struct{ *cookiejar.Jar }

func (j browserJar) Cookies(address *url.URL) []*http.Cookie {
	return j.Jar.Cookies(asSent(address))
}

func (j browserJar) SetCookies(address *url.URL, cookies []*http.Cookie) {
	j.Jar.SetCookies(asSent(address), cookies)
}

func asSent(address *url.URL) *url.URL {
	sent := *address
	sent.Path, sent.RawPath = address.EscapedPath(), ""
	return &sent
}

// Cookies are those of the visitor's browser for the whole site.
func (v *Visitor) Cookies() []*http.Cookie {
	site, err := url.Parse(v.w.Site)
	must(v.w.T, err)
	return v.Client.Jar.Cookies(site)
}

// Cookie is the value of a cookie for the whole site whose name contains part.
func (v *Visitor) Cookie(part string) string {
	v.w.T.Helper()
	return v.cookieFor("/", part)
}

// cookieFor is the value of the browser's cookie for a page whose name contains part.
func (v *Visitor) cookieFor(target, part string) string {
	v.w.T.Helper()
	address, err := url.Parse(v.w.Site + target)
	must(v.w.T, err)
	for _, cookie := range v.Client.Jar.Cookies(address) {
		if strings.Contains(cookie.Name, part) {
			return cookie.Value
		}
	}
	v.w.T.Fatalf("no cookie %s for %s", part, target)
	return ""
}

// Bearer is the header with the visitor's access token for a page.
func (v *Visitor) Bearer(target string) http.Header {
	return http.Header{"Authorization": {"Bearer " + v.cookieFor(target, "axra_t_")}}
}
