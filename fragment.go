package paywall

import (
	"net/http"
	"net/url"
	"strings"
)

// fragmentCookie is where the script of a page before the checkout keeps the fragment
// of the page's address, which no browser sends to a server.
const fragmentCookie = "axra_h"

// maxFragment bounds, in bytes, the fragment that is brought back.
const maxFragment = 1024

// fragment is "#…" as the browser had it, or "". Whoever else may have set the cookie
// gets no more than a fragment of this page.
func (v *visit) fragment() string {
	for _, value := range cookieValues(v.r.Header["Cookie"], []string{fragmentCookie}, 1) {
		text, err := url.PathUnescape(value)
		rest, found := strings.CutPrefix(text, "#")
		if err != nil || !found || rest == "" || len(text) > maxFragment {
			continue
		}
		return "#" + (&url.URL{Fragment: rest}).EscapedFragment()
	}
	return ""
}

// dropFragment deletes the cookie, which has the page's path.
func (v *visit) dropFragment() {
	if v.fragment() == "" {
		return
	}
	cookie := v.site.cookie(fragmentCookie, "", now()) //nolint:gosec // it deletes one that a script has set
	cookie.Path = v.address.EscapedPath()
	http.SetCookie(v.w, cookie)
}
