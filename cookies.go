package paywall

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/token"
)

// cookieNames are the names of a gate's cookies. The prefix __Host- makes
// browsers refuse a cookie that a sibling domain or plain http tries to plant
// (RFC 6265bis, section 4.1.3).
type cookieNames struct {
	access  string // carries the access token of the pass
	pending string // begins the name of each pending cookie
}

// newCookieNames tells sites apart as well: browsers keep one jar for all ports of a
// host.
func newCookieNames(site site, pass string) *cookieNames {
	prefix := ""
	if site.secure {
		prefix = "__Host-"
	}
	sum := sha256.Sum256([]byte(site.origin + "\n" + pass))
	return &cookieNames{
		access:  prefix + "axra_t_" + hex.EncodeToString(sum[:4]),
		pending: prefix + "axra_p_",
	}
}

func (h *Handler) names(site site) *cookieNames {
	if known, ok := h.cookies.Load(site.origin); ok {
		return known.(*cookieNames) //nolint:forcetypeassert // only this function stores
	}
	names := newCookieNames(site, h.Pass)
	h.cookies.Store(site.origin, names)
	return names
}

func (s site) cookie(name, value string, expires time.Time) *http.Cookie {
	cookie := &http.Cookie{
		Name: name, Value: value, Path: "/",
		HttpOnly: true, Secure: s.secure, SameSite: http.SameSiteLaxMode,
	}
	if value == "" {
		cookie.MaxAge = -1
		return cookie
	}
	cookie.MaxAge = max(1, int(expires.Sub(now())/time.Second))
	return cookie
}

// cookieValues returns the values of the cookies of a name, at most limit. It
// makes no copy and ignores all other cookies, however many there are.
func cookieValues(headers []string, name string, limit int) []string {
	var found []string
	eachCookie(headers, func(cookie, value string) bool {
		if cookie == name {
			found = append(found, value)
		}
		return len(found) < limit
	})
	return found
}

// eachCookie calls visit for each cookie (RFC 6265, section 5.4) until it
// returns false.
func eachCookie(headers []string, visit func(name, value string) bool) {
	for _, header := range headers {
		for len(header) > 0 {
			var pair string
			pair, header, _ = strings.Cut(header, ";")
			name, value, ok := strings.Cut(strings.Trim(pair, " \t"), "=") // no other white space: a browser takes it for part of a name
			if ok && !visit(name, strings.Trim(value, `"`)) {
				return
			}
		}
	}
}

// Bounds of the pending cookies of one browser. Caddy refuses requests with more
// than 16 KB of headers, and the site has cookies of its own.
const (
	maxPending      = 40      // that are looked at
	maxPendingBytes = 9 << 10 // that are kept: about 24 checkouts under way
)

// pendingCookies are the checkouts under way of one browser, oldest first.
type pendingCookies struct {
	all   []session.Pending // for any gate
	here  []session.Pending // for this gate on this site
	bytes int               // of all our cookies
}

func (h *Handler) readPending(r *http.Request, site site) pendingCookies {
	var found pendingCookies
	seen := 0
	prefix := h.names(site).pending
	scope := session.Scope(site.origin, h.Pass, terms.WholePass)
	eachCookie(r.Header["Cookie"], func(name, value string) bool {
		if !strings.HasPrefix(name, prefix) {
			if strings.HasPrefix(name, strings.TrimSuffix(prefix, "p_")+"t_") {
				found.bytes += len(name) + len(value) // what is bought leaves less room
			}
			return true
		}
		seen++
		entry, err := session.DecodePending(h.app.shared.keyring, value)
		if err != nil || entry.CookieName(prefix) != name {
			return seen < maxPending
		}
		found.all = append(found.all, entry)
		found.bytes += len(name) + len(value)
		if entry.Scope == scope {
			found.here = append(found.here, entry)
		}
		return seen < maxPending
	})
	for _, entries := range [][]session.Pending{found.all, found.here} {
		slices.SortStableFunc(entries, func(a, b session.Pending) int { return a.ExpiresAt.Compare(b.ExpiresAt) })
	}
	return found
}

// giveToken sets the cookie with an access token.
func (h *Handler) giveToken(w http.ResponseWriter, site site, access token.Access) error {
	raw, access, err := h.app.shared.keyring.SignAccess(access, h.app.SigningAlgorithm)
	if err != nil {
		return err
	}
	http.SetCookie(w, site.cookie(h.names(site).access, raw, access.Expires))
	return nil
}

func (h *Handler) keepPending(w http.ResponseWriter, site site, entry session.Pending) error {
	raw, err := entry.Encode(h.app.shared.keyring)
	if err != nil {
		return err
	}
	http.SetCookie(w, site.cookie(entry.CookieName(h.names(site).pending), raw, entry.Expires()))
	return nil
}

func (h *Handler) dropPending(w http.ResponseWriter, site site, entry session.Pending) {
	http.SetCookie(w, site.cookie(entry.CookieName(h.names(site).pending), "", time.Time{}))
}
