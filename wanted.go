package paywall

import (
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-axra/paywall/session"
)

// maxWanted bounds, in bytes, the page that is remembered.
const maxWanted = 512

func (s site) wantedCookie() string { return s.prefix("/") + "axra_w" }

// rememberWanted notes the page that the visitor wants now, when an open checkout is
// gone on with: Axra leads back to the one for which it was opened.
func (v *visit) rememberWanted(entry session.Pending) {
	if len(v.target) > maxWanted {
		return
	}
	value := entry.CookieName("") + "." + base64.RawURLEncoding.EncodeToString([]byte(v.target))
	http.SetCookie(v.w, v.site.cookie(v.site.wantedCookie(), value, entry.Expires()))
}

// goToWanted makes that page the one to go to, once. Whoever else may have set the
// cookie leads to a page of this site.
func (v *visit) goToWanted(entry session.Pending) {
	for _, value := range cookieValues(v.r.Header["Cookie"], []string{v.site.wantedCookie()}, 1) {
		checkout, encoded, _ := strings.Cut(value, ".")
		target, err := base64.RawURLEncoding.DecodeString(encoded)
		if checkout != entry.CookieName("") || err != nil || len(target) > maxWanted {
			continue
		}
		v.target = samePath(string(target))
		http.SetCookie(v.w, v.site.cookie(v.site.wantedCookie(), "", time.Time{}))
	}
}
