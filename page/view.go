package page

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// defaultRefresh is the time to the first check of a page that has a PollURL and no Refresh.
const defaultRefresh = 5 * time.Second

// normal returns the view with its defaults filled in and its unsafe URLs removed.
func (v View) normal() View {
	v.Status = cmp.Or(v.Status, v.Kind.Status())
	for _, address := range []*string{&v.NextURL, &v.CheckURL, &v.PollURL, &v.ExtendURL, &v.FormURL, &v.DeviceURL, &v.LinkURL} {
		*address = safeURL(*address)
	}
	if absolute(v.FormURL) || !withButton[v.Kind] {
		v.FormURL = ""
	}
	for _, address := range []*string{&v.DeviceURL, &v.LinkURL} {
		if !absolute(*address) {
			*address = ""
		}
	}
	if v.PollURL != "" && v.Refresh <= 0 {
		v.Refresh = defaultRefresh
	}
	v.Quotes = slices.Clone(v.Quotes)
	for i := range v.Quotes {
		v.Quotes[i].URL = safeURL(v.Quotes[i].URL)
	}
	return v
}

// absolute expects a safe URL.
func absolute(address string) bool {
	return address != "" && address[0] != '/' && address[0] != '?'
}

// safeURL returns the address if following it is harmless, else "". It rejects "//host", which a
// request path with two slashes turns into and which leads to another site.
func safeURL(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	switch {
	case u.Scheme == "http", u.Scheme == "https":
		if u.Host != "" {
			return address
		}
	case strings.HasPrefix(address, "?"):
		return address
	case strings.HasPrefix(address, "/"):
		if len(address) == 1 || (address[1] != '/' && address[1] != '\\') {
			return address
		}
	}
	return ""
}

// hasForm reports whether the page has a button that posts.
func (v View) hasForm() bool {
	return v.FormURL != "" || slices.ContainsFunc(v.Quotes, func(o Quote) bool { return o.URL != "" })
}

func setHeaders(h http.Header, v View, lang string, length int) {
	for name, value := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "Content-Length": strconv.Itoa(length), "Content-Language": lang,
		"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
		"X-Robots-Tag": "noindex", "Content-Security-Policy": v.contentSecurityPolicy(),
	} {
		h.Set(name, value)
	}
	h.Add("Vary", "Accept-Language, Cookie")
	if v.hasForm() {
		h.Set("Referrer-Policy", "strict-origin") // with no-referrer a browser posts "Origin: null"
	}
	if v.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(ceil(v.RetryAfter, time.Second), 10))
	}
}

// contentSecurityPolicy allows only what the page of a normal view contains.
func (v View) contentSecurityPolicy() string {
	script, connect, form := "'none'", "'none'", "'none'"
	if v.PollURL != "" {
		script, connect = scriptHash, "'self'"
	}
	if v.hasForm() {
		// Chromium applies form-action to redirects too.
		form = strings.Join(append([]string{"'self'"}, v.FormTargets...), " ")
	}
	return "default-src 'none'; style-src " + styleHash +
		"; script-src " + script + "; connect-src " + connect +
		"; base-uri 'none'; form-action " + form + "; frame-ancestors 'none'"
}

// cspHash returns the source expression that allows exactly this inline source.
func cspHash(source string) string {
	sum := sha256.Sum256([]byte(source))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
