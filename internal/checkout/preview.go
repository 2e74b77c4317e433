package checkout

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-axra/paywall/internal/admission"
	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/response"
	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/token"
)

// Preview lets visitors read some pages for free. The pages are counted in a signed
// cookie, so clearing cookies resets the count; new visitors from one client address
// are limited to ten times the number within the same time, at least 30. Pictures and
// styles that free pages load must not be covered by the gate: exclude them in its
// matcher.
type Preview struct {
	// Pages is how many pages a visitor may read for free, 1 to 50.
	Pages int `json:"pages"`

	// Per is the time within which they may be read, from the first one on.
	Per caddy.Duration `json:"per"`
}

const maxPreviewPages = 50

// ErrPreviewSyntax says how a preview is written.
var ErrPreviewSyntax = fmt.Errorf("preview takes 1 to %d pages and a time: write `preview 3 per 30d`", maxPreviewPages)

// Check reports whether the numbers are within bounds; the error names the fix.
func (p *Preview) Check() error {
	if p != nil && (p.Pages < 1 || p.Pages > maxPreviewPages || p.Per <= 0) {
		return ErrPreviewSyntax
	}
	return nil
}

// Rates limit visitors who come without the cookie.
func (p *Preview) Rates() (perClient, total session.Rate) {
	return session.Rate{Events: max(30, 10*p.Pages), Per: time.Duration(p.Per)}, session.Rate{Events: 1_000_000, Per: time.Minute}
}

// previewClaims are the claims of the preview cookie: the pages that a visitor has read for free.
type previewClaims struct {
	jwt.RegisteredClaims
	Scope string   `json:"o"` // site and gate
	Pages []string `json:"p"` // hashes, in the order in which they were read
}

// hashPage makes fifty pages fit into a cookie.
func hashPage(target string) string {
	sum := sha256.Sum256([]byte(target))
	return hex.EncodeToString(sum[:6])
}

func (v *Visit) previewScope() string {
	return session.Scope(v.site.Origin, "preview", v.config.ID)
}

func (v *Visit) previewCookie() string {
	return v.site.CookiePrefix("/") + gate.CookieMark + "f_" + v.previewScope()
}

// readPreview returns what the preview cookie says; nil if there is no valid one.
func (v *Visit) readPreview() *previewClaims {
	claims := new(previewClaims)
	cookie, err := v.r.Cookie(v.previewCookie())
	if err == nil {
		_, err = v.tokens.Keys.Verify(token.Preview, cookie.Value, claims)
	}
	if err != nil || claims.Scope != v.previewScope() {
		return nil
	}
	return claims
}

// servePreview lets a visitor read a page for free, if any are left.
func (v *Visit) servePreview() (done bool, err error) {
	preview := v.config.Preview
	// The handlers behind must not take another page from this request.
	if preview == nil || !gate.IsUnambiguous(v.r) {
		return false, nil
	}
	claims := v.readPreview()
	if claims == nil {
		if _, ok := v.config.Previews.Allow(clientIP(v.r)); !ok {
			return false, nil
		}
		claims = &previewClaims{Scope: v.previewScope(), RegisteredClaims: jwt.RegisteredClaims{
			ExpiresAt: jwt.NewNumericDate(v.now().Add(time.Duration(preview.Per))),
		}}
	}
	var cookie *http.Cookie
	if this := hashPage(urlpath.PageTarget(urlpath.Target(v.address))); !slices.Contains(claims.Pages, this) {
		if len(claims.Pages) >= preview.Pages {
			return false, nil
		}
		claims.Pages = append(claims.Pages, this)
		raw, err := v.tokens.Keys.Sign(token.Preview, claims)
		if err != nil {
			return true, caddyhttp.Error(http.StatusInternalServerError, fmt.Errorf("counting a free page: %w", err))
		}
		cookie = v.site.Cookie(v.previewCookie(), raw, claims.ExpiresAt.Sub(v.now()))
	}
	admission.SetToken(v.r, nil)
	if replacer, ok := v.r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		replacer.Set("http.axra.preview.left", max(0, preview.Pages-len(claims.Pages)))
	}
	return true, response.ServePrivate(v.w, v.r, v.next, func(w *response.Writer, status int) int {
		if cookie != nil && (status < 300 || status == http.StatusNotModified) { // a missing page was not read
			http.SetCookie(w, cookie)
		}
		return status
	})
}
