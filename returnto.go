package paywall

import (
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/session"
)

// maxReturnTo is the length in bytes of the longest target that is remembered.
const maxReturnTo = 512

func (s site) returnToCookie() string { return s.prefix("/") + "axra_w" }

// rememberReturnTo stores the page that the visitor wants now, when an open checkout is reused: Axra leads back to the
// page for which it was opened.
func (v *visit) rememberReturnTo(entry session.Pending) {
	if len(v.target) > maxReturnTo {
		return
	}
	value := entry.CookieName("") + "." + base64.RawURLEncoding.EncodeToString([]byte(v.target))
	http.SetCookie(v.w, v.site.cookie(v.site.returnToCookie(), value, entry.Expires()))
}

// restoreReturnTo makes that page the target, once. Whoever set the cookie, it leads to a page of this site.
func (v *visit) restoreReturnTo(entry session.Pending) {
	for _, value := range cookieValues(v.r.Header["Cookie"], []string{v.site.returnToCookie()}, 1) {
		checkout, encoded, _ := strings.Cut(value, ".")
		target, err := base64.RawURLEncoding.DecodeString(encoded)
		if checkout != entry.CookieName("") || err != nil || len(target) > maxReturnTo {
			continue
		}
		v.target = urlpath.Local(string(target))
		http.SetCookie(v.w, v.site.cookie(v.site.returnToCookie(), "", time.Time{}))
	}
}
