package paywall

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/token"
)

// Preview is a number of free samples. They are counted in a signed cookie of the
// visitor, so who clears cookies begins anew; new visitors from one client address
// are bounded to ten times the number within the same time, at least 30.
type Preview struct {
	// Pages is how many pages a visitor may read for free, 1 to 50.
	Pages int `json:"pages"`

	// Per is the time within which they may be read, from the first one on.
	Per caddy.Duration `json:"per"`
}

const maxPreviewPages = 50

func (p *Preview) check() error {
	if p != nil && (p.Pages < 1 || p.Pages > maxPreviewPages || p.Per <= 0) {
		return fmt.Errorf("preview takes 1 to %d pages and a time: write `preview 3 per 30d`", maxPreviewPages)
	}
	return nil
}

// limiter bounds visitors who come without the cookie.
func (p *Preview) limiter(a *App, gate string) *session.Limiter {
	return p.limiterOf(a, limitPreview, max(30, 10*p.Pages), gate)
}

// parts bounds what is fetched as a part of free pages.
func (p *Preview) parts(a *App, gate string) *session.Limiter {
	return p.limiterOf(a, limitPreviewParts, max(300, 100*p.Pages), gate)
}

func (p *Preview) limiterOf(a *App, limit string, events int, gate string) *session.Limiter {
	perClient := session.Rate{Events: events, Per: time.Duration(p.Per)}
	total := session.Rate{Events: 1_000_000, Per: time.Minute}
	return acquire(a, limit, func() *pooled[*session.Limiter] {
		return &pooled[*session.Limiter]{value: newLimiter(perClient, total, limit)}
	}, perClient, gate).value
}

// samples are the pages that a visitor has read for free.
type samples struct {
	jwt.RegisteredClaims
	Scope string   `json:"o"` // site and gate
	Pages []string `json:"p"` // hashes, in the order of reading
}

// sampled hashes a page so that fifty of them fit into a cookie.
func sampled(resource string) string {
	sum := sha256.Sum256([]byte(resource))
	return hex.EncodeToString(sum[:6])
}

// previewScope tells apart gates that sell the same.
func (v *visit) previewScope() string {
	return session.Scope(v.site.origin, "preview", v.label()+"\n"+v.covers)
}

func (v *visit) previewCookie() string {
	return v.site.prefix("/") + "axra_f_" + v.previewScope()
}

// samples reads the cookie; nil where there is none that counts.
func (v *visit) samples() *samples {
	for _, raw := range cookieValues(v.r.Header["Cookie"], []string{v.previewCookie()}, 2) {
		read := new(samples)
		if err := v.app.keyring.Verify(token.Preview, raw, read); err == nil && read.Scope == v.previewScope() {
			return read
		}
	}
	return nil
}

// servePreview lets a visitor read a free sample; served is false where none is
// left.
func (v *visit) servePreview() (served bool, err error) {
	// What lies behind must not take another page from this request.
	if v.Preview == nil || !isUnambiguous(v.r) {
		return false, nil
	}
	read := v.samples()
	if read == nil {
		if _, ok := v.previews.Allow(v.clientIP()); !ok {
			return false, nil
		}
		read = &samples{Scope: v.previewScope(), RegisteredClaims: jwt.RegisteredClaims{
			ExpiresAt: jwt.NewNumericDate(now().Add(time.Duration(v.Preview.Per))),
		}}
	}
	private := newPrivateWriter(v.w)
	if this := sampled(urlpath.PageTarget(urlpath.Target(v.address))); !slices.Contains(read.Pages, this) {
		if len(read.Pages) >= v.Preview.Pages {
			return false, nil
		}
		read.Pages = append(read.Pages, this)
		raw, err := v.app.keyring.Sign(token.Preview, read)
		if err != nil {
			return true, caddyhttp.Error(http.StatusInternalServerError, fmt.Errorf("counting a free sample: %w", err))
		}
		cookie := v.site.cookie(v.previewCookie(), raw, read.ExpiresAt.Time)
		private.before = func(status int) {
			if status < 300 || status == http.StatusNotModified { // a page that is missing was not read
				http.SetCookie(v.w, cookie)
			}
		}
	}
	return true, v.serveFree(private, v.Preview.Pages-len(read.Pages))
}

// servePart serves what a free page is made of: pictures, styles, scripts, fonts.
func (v *visit) servePart() (served bool, err error) {
	if v.Preview == nil || v.r.Method != http.MethodGet || v.r.Header.Get("Sec-Fetch-Site") != "same-origin" ||
		v.r.Header.Get("Upgrade") != "" || !isUnambiguous(v.r) {
		return false, nil
	}
	if !isPart(v.r.Header.Get("Sec-Fetch-Dest")) {
		return false, nil
	}
	read := v.samples()
	if read == nil || !slices.Contains(read.Pages, sampled(v.referringPage())) {
		return false, nil
	}
	if _, ok := v.freeParts.Allow(v.clientIP()); !ok {
		return false, nil
	}
	w := newDecidingWriter(v.w, isPartOfAPage)
	before := v.w.Header().Clone()
	err = unlessRefused(func() bool { return w.refused }, func() error {
		return v.serveFree(newPrivateWriter(w), v.Preview.Pages-len(read.Pages))
	})
	if w.refused {
		restoreHeader(v.w.Header(), before)
		return false, nil
	}
	return true, err
}

func isPart(destination string) bool {
	switch destination {
	case "image", "style", "script", "font":
		return true
	}
	return false
}

// isPartOfAPage refuses what is no picture, style, script or font: anybody can say that
// it is to be one.
func isPartOfAPage(status int, header http.Header) (int, bool) {
	kind, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	return status, status >= 300 || isPartType(strings.ToLower(strings.TrimSpace(kind)))
}

func isPartType(kind string) bool {
	switch kind {
	case "text/css", "text/javascript", "application/javascript", "application/x-javascript", "application/font-woff":
		return true
	}
	return strings.HasPrefix(kind, "image/") || strings.HasPrefix(kind, "font/")
}

// referringPage is the page of this site that the request is a part of, "" if it
// names none.
func (v *visit) referringPage() string {
	page, err := url.Parse(v.r.Referer())
	if err != nil || page.Scheme+"://"+page.Host != v.site.origin {
		return ""
	}
	return urlpath.PageTarget(urlpath.Target(page))
}

func (v *visit) serveFree(private *privateWriter, left int) error {
	setAdmission(v.r, nil)
	if replacer, ok := v.r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		replacer.Set("http.axra.preview.left", max(0, left))
	}
	err := v.next.ServeHTTP(private, v.r)
	if !private.wroteHeader {
		makePrivate(v.w.Header())
	}
	return err
}

func (v *visit) clientIP() string {
	address, _ := caddyhttp.GetVar(v.r.Context(), caddyhttp.ClientIPVarKey).(string)
	return address
}

var errPreviewSyntax = errors.New("preview takes a number of pages and a time: write `preview 3 per 30d`")
