package paywall

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/page"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/terms"
)

// checkout opens a session at Axra and sends the browser there.
func (v *visit) checkout() error {
	if len(v.target) > maxTarget {
		return v.showView(page.View{Kind: page.TooLong})
	}
	if err := v.app.client.Ready(); err != nil {
		return v.unavailable(err) // before it costs anybody's budget
	}
	clientIP, _ := caddyhttp.GetVar(v.r.Context(), caddyhttp.ClientIPVarKey).(string)
	if wait, ok := v.app.limiter.Allow(clientIP); !ok {
		v.app.count(checkouts, "limited")
		return v.showView(page.View{Kind: page.TooMany, NextURL: v.target, RetryAfter: min(wait, time.Hour)})
	}
	opened, err := v.app.client.Create(v.r.Context(), v.order())
	if err != nil {
		return v.unavailable(err)
	}
	entry := session.Pending{
		Session: opened.Session, CheckoutURL: opened.URL, ExpiresAt: opened.ExpiresAt,
		Scope: session.Scope(v.site.origin, v.Pass, terms.WholePass), Price: v.price.String(),
	}
	if err := v.keepPending(v.w, v.site, entry); err != nil {
		// Without the cookie the payment could not be given to this browser.
		return v.unavailable(err)
	}
	v.forgetOldest()
	v.app.count(checkouts, "created")
	v.logger.Debug("checkout session created", zap.String("session", shorten(opened.Session)), zap.String("pass", v.Pass))
	leave(v.w, opened.URL)
	return nil
}

// forgetOldest keeps the cookies of a browser that never pays from piling up.
// Cancelled checkouts go first, those that the visitor came back from last.
func (v *visit) forgetOldest() {
	excess := v.pending.bytes - maxPendingBytes
	if excess <= 0 {
		return
	}
	each := v.pending.bytes / max(1, len(v.pending.all))
	for _, state := range []session.State{session.Cancelled, session.Started, session.Returned} {
		for _, entry := range v.pending.all {
			if excess <= 0 || entry.State != state || v.app.stageOf(entry) == processing {
				continue
			}
			v.dropPending(v.w, v.site, entry)
			excess -= each
		}
	}
}

func (v *visit) unavailable(err error) error {
	if v.r.Context().Err() != nil {
		return caddyhttp.Error(499, errors.New("axra_paywall: the visitor left"))
	}
	v.app.count(checkouts, "failed")
	v.app.complainCheckout.Do(func() {
		v.logger.Error("no checkout session could be created", zap.Error(err))
	})
	return v.showView(page.View{Kind: page.Unavailable, NextURL: v.target, RetryAfter: session.RetryAfter(err)})
}

func (v *visit) order() session.Order {
	order := session.Order{
		Terms: terms.Terms{
			Installation: v.app.shared.keyring.Installation(), Site: v.site.origin,
			Pass: v.Pass, Resource: terms.WholePass, Price: v.price, Access: v.access,
		},
		SuccessURL:    returnAddress(v.site.origin, v.target, paramSession, sessionPlaceholder),
		CancelURL:     returnAddress(v.site.origin, v.target, paramCancelled, "1"),
		Description:   v.placeholders(v.Description),
		CustomerEmail: v.placeholders(v.CustomerEmail),
		ExpiresIn:     time.Duration(v.ExpiresIn),
		Metadata:      make(map[string]string, len(v.Metadata)),
	}
	if own := v.placeholders(v.CancelURL); own != "" {
		order.CancelURL = own
		if strings.HasPrefix(own, "/") {
			order.CancelURL = v.site.origin + samePath(own)
		}
	}
	for name, value := range v.Metadata {
		order.Metadata[name] = v.placeholders(value)
	}
	return order
}

// placeholders replaces what is known for this request.
func (v *visit) placeholders(text string) string {
	if !strings.Contains(text, "{") {
		return text
	}
	replacer, ok := v.r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return text
	}
	return replacer.ReplaceAll(text, "")
}

// shorten makes an id fit for a log: enough to find it by, not enough to use.
func shorten(id string) string {
	if len(id) <= 12 {
		return id
	}
	return id[:12] + "…"
}

// isPoll reports whether the waiting page's script asks about a session.
func (v *visit) isPoll() bool {
	return v.r.Method == http.MethodGet && v.params.Has(paramSession) && !acceptsHTML(v.r) &&
		strings.Contains(v.r.Header.Get("Accept"), "application/json")
}
