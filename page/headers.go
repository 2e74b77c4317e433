package page

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

func setHeaders(h http.Header, v View, lang string, length int) {
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(length))
	h.Set("Content-Language", lang)
	h.Set("Cache-Control", "no-store")
	addVary(h, "Accept-Language", "Cookie")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	if v.hasForm() {
		h.Set("Referrer-Policy", "strict-origin") // with no-referrer a browser posts "Origin: null"
	}
	h.Set("X-Robots-Tag", "noindex")
	h.Set("Content-Security-Policy", v.contentSecurityPolicy())
	if v.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(ceil(v.RetryAfter, time.Second), 10))
	}
}

// addVary adds the names that Vary does not have yet.
func addVary(h http.Header, names ...string) {
	var have []string
	for _, value := range h.Values("Vary") {
		for name := range strings.SplitSeq(value, ",") {
			have = append(have, strings.ToLower(strings.TrimSpace(name)))
		}
	}
	for _, name := range names {
		if !slices.Contains(have, strings.ToLower(name)) {
			h.Add("Vary", name)
		}
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
