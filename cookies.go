package paywall

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/token"
)

// cookieNames are the names of a gate's cookies. The prefix __Host- makes
// browsers refuse a cookie that a sibling domain or plain http tries to plant
// (RFC 6265bis, section 4.1.3); it goes with the path / only, so that the cookies of
// single paths, which are not sent everywhere, have __Secure-.
type cookieNames struct {
	access  []string // carry access tokens of the gate's passes
	pending string   // begins the name of each pending cookie
}

func (s site) prefix(path string) string {
	switch {
	case !s.secure:
		return ""
	case path == "/":
		return "__Host-"
	default:
		return "__Secure-"
	}
}

// accessName is the name of a cookie with an access token. It tells sites apart as
// well: browsers keep one jar for all ports of a host. Purchases of several paths
// have one name, and paths of their own.
func (s site) accessName(path string, of ...string) string {
	sum := sha256.Sum256([]byte(s.origin + "\n" + strings.Join(of, "\n")))
	return s.prefix(path) + accessMark + hex.EncodeToString(sum[:4])
}

// maxOrigins bounds how many origins are remembered: behind a wildcard a client may
// name any number.
const maxOrigins = 1000

func (h *Handler) names(site site) *cookieNames {
	if site.names != nil {
		return site.names
	}
	if known, ok := h.cookies.Load(site.origin); ok {
		return known.(*cookieNames) //nolint:forcetypeassert // only this function stores
	}
	names := &cookieNames{pending: site.prefix("/") + "axra_p_"}
	for _, sale := range h.sales {
		// Both: what the pass sells today need not be what it sold.
		names.access = append(names.access, site.accessName("/", sale.pass), site.accessName("/…", sale.pass))
	}
	names.access = slices.Compact(names.access) // without prefixes the two are one
	if h.origins.Add(1) <= maxOrigins {
		h.cookies.Store(site.origin, names)
	}
	return names
}

// keyNames are the names of the cookies of what is sold by a key.
func (h *Handler) keyNames(r *http.Request, site site) []string {
	var names []string
	for _, sale := range h.sales {
		if sale.Key == "" {
			continue
		}
		if resource, err := sale.resource(r); err == nil {
			names = append(names, site.accessName("/", sale.pass, resource))
		}
	}
	return names
}

// accessCookie is where the token of a purchase goes: a name, and the path in each
// spelling in which a browser may have it.
func (s site) accessCookie(granted token.Access, address *url.URL) (name string, paths []string) {
	switch {
	case granted.Resource == terms.WholePass:
		return s.accessName("/", granted.Pass), []string{"/"}
	case strings.HasPrefix(granted.Resource, "/"), strings.HasPrefix(granted.Resource, "sha256:"):
		paths = urlpath.CookiePaths(address)
		return s.accessName(paths[0], granted.Pass), paths
	default:
		return s.accessName("/", granted.Pass, granted.Resource), []string{"/"}
	}
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

// cookieValues returns the values of the cookies of these names, at most limit.
func cookieValues(headers, names []string, limit int) []string {
	var found []string
	eachCookie(headers, func(cookie, value string) bool {
		if slices.Contains(names, cookie) {
			found = append(found, value)
		}
		return len(found) < limit
	})
	return found
}

// accessMark is in the name of every cookie that carries an access token.
const accessMark = "axra_t_"

// eachAccessCookie is eachCookie for those of accessMark, in the time of one search for
// it: most headers are full of cookies of others.
func eachAccessCookie(headers []string, visit func(name, value string) bool) {
	for _, header := range headers {
		for {
			at := strings.Index(header, accessMark)
			if at < 0 {
				break
			}
			begin := strings.LastIndexByte(header[:at], ';') + 1
			pair, rest, _ := strings.Cut(header[begin:], ";")
			header = rest
			if name, value, ok := cutCookie(pair); ok && strings.Contains(name, accessMark) && !visit(name, value) {
				return
			}
		}
	}
}

// eachCookie calls visit for each cookie (RFC 6265, section 5.4) until it
// returns false.
func eachCookie(headers []string, visit func(name, value string) bool) {
	for _, header := range headers {
		for len(header) > 0 {
			var pair string
			pair, header, _ = strings.Cut(header, ";")
			if name, value, ok := cutCookie(pair); ok && !visit(name, value) {
				return
			}
		}
	}
}

func cutCookie(pair string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(strings.Trim(pair, " \t"), "=") // no other white space: a browser takes it for part of a name
	if strings.IndexByte(value, '"') >= 0 {
		value = strings.Trim(value, `"`)
	}
	return name, value, ok
}

// pendingCookies are the checkouts under way of one browser, oldest first.
type pendingCookies struct {
	all    []session.Pending // for any gate
	here   []session.Pending // for this gate on this site
	bytes  int               // of all these cookies
	bought int               // bytes of the access cookies beside them
}

// without leaves out what a token has given already.
func (p *pendingCookies) without(known *access.Token) {
	p.here = slices.DeleteFunc(p.here, func(entry session.Pending) bool {
		return known != nil && ledger.PurchaseID(entry.Session) == known.Purchase
	})
}

func (h *Handler) readPending(r *http.Request, site site) pendingCookies {
	var found pendingCookies
	seen := 0
	prefix := h.names(site).pending
	scopes := h.scopes(r, site)
	eachCookie(r.Header["Cookie"], func(name, value string) bool {
		if !strings.HasPrefix(name, prefix) {
			if strings.Contains(name, accessMark) {
				found.bought += len(name) + len(value)
			}
			return true
		}
		seen++
		entry, err := session.DecodePending(h.app.keyring, value)
		if err != nil || entry.CookieName(prefix) != name {
			return seen < maxPending
		}
		found.all = append(found.all, entry)
		found.bytes += len(name) + len(value)
		if scopes[entry.Scope] != nil {
			found.here = append(found.here, entry)
		}
		return seen < maxPending
	})
	for _, entries := range [][]session.Pending{found.all, found.here} {
		// Not by slices, which would be compiled for this large struct: 12 kB of the binary.
		sort.SliceStable(entries, func(i, j int) bool { return entries[i].ExpiresAt.Before(entries[j].ExpiresAt) })
	}
	return found
}

// scopes are what a checkout may be for whose payment opens the gate to the request,
// as a whole or for the one resource.
func (h *Handler) scopes(r *http.Request, site site) map[string]*sale {
	scopes := make(map[string]*sale, 2*len(h.sales))
	for _, sale := range h.sales {
		resources := []string{terms.WholePass, pathResource(r)}
		if own, err := sale.resource(r); err == nil {
			resources = append(resources, own)
		}
		for _, resource := range resources {
			scopes[session.Scope(site.origin, sale.pass, resource)] = sale
		}
	}
	return scopes
}

// giveToken sets the cookie with an access token.
func (h *Handler) giveToken(w http.ResponseWriter, r *http.Request, site site, granted token.Access) error {
	raw, granted, err := h.app.keyring.SignAccess(granted, h.app.SigningAlgorithm)
	if err != nil {
		return err
	}
	name, paths := site.accessCookie(granted, originalURL(r))
	expires := granted.Expires
	if expires.Equal(granted.Until) && granted.Downloads == 0 {
		expires = expires.Add(token.Lapse) // the purchase may be extended on another device
	}
	cookie := site.cookie(name, raw, expires)
	for _, path := range paths {
		cookie.Path = path
		http.SetCookie(w, cookie)
	}
	return nil
}

func (h *Handler) keepPending(w http.ResponseWriter, site site, entry session.Pending) error {
	raw, err := entry.Encode(h.app.keyring)
	if err != nil {
		return err
	}
	http.SetCookie(w, site.cookie(entry.CookieName(h.names(site).pending), raw, entry.Expires()))
	return nil
}

func (h *Handler) dropPending(w http.ResponseWriter, site site, entry session.Pending) {
	http.SetCookie(w, site.cookie(entry.CookieName(h.names(site).pending), "", time.Time{}))
}
