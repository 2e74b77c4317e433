package paywall

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/token"
)

// cookieNames are the names of a gate's cookies. The prefix __Host- makes
// browsers refuse a cookie that a sibling domain or plain http tries to plant
// (RFC 6265bis, section 4.1.3).
type cookieNames struct {
	access  string // carries the access token of the pass
	pending string // begins the name of each pending cookie
}

func newCookieNames(secure bool, pass string) cookieNames {
	prefix := ""
	if secure {
		prefix = "__Host-"
	}
	sum := sha256.Sum256([]byte(pass))
	return cookieNames{
		access:  prefix + "axra_" + hex.EncodeToString(sum[:4]),
		pending: prefix + "axra_pending_",
	}
}

func (h *Handler) names(site site) *cookieNames {
	if site.secure {
		return &h.cookies[1]
	}
	return &h.cookies[0]
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
			name, value, ok := strings.Cut(strings.TrimSpace(pair), "=")
			if ok && !visit(name, strings.Trim(value, `"`)) {
				return
			}
		}
	}
}

// maxPending bounds how many checkouts one browser can have under way.
const maxPending = 24

// pendingEntries returns the checkouts under way for the gate that this browser
// started on this site, newest first.
func (h *Handler) pendingEntries(r *http.Request, site site) []session.Pending {
	var mine []session.Pending
	seen := 0
	prefix := h.names(site).pending
	eachCookie(r.Header["Cookie"], func(name, value string) bool {
		if !strings.HasPrefix(name, prefix) || len(value) > token.MaxSize {
			return true
		}
		seen++
		entry, err := session.DecodePending(h.app.shared.keyring, value)
		if err == nil && entry.CookieName(prefix) == name && h.sells(entry, site) {
			mine = insertNewest(mine, entry)
		}
		return seen < 2*maxPending
	})
	return mine
}

func insertNewest(entries []session.Pending, entry session.Pending) []session.Pending {
	at := len(entries)
	for at > 0 && entries[at-1].Started.Before(entry.Started) {
		at--
	}
	entries = append(entries, session.Pending{})
	copy(entries[at+1:], entries[at:])
	entries[at] = entry
	return entries
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
