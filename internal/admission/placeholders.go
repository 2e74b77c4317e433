package admission

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/urlpath"
)

// tokenVar is the request variable with the *access.Token by which a gate last admitted a request; nil if it passed
// gates without paying. The matcher axra_paid reads it.
const tokenVar = "axra.token"

// TokenOf returns the token by which a gate has admitted a request; nil if none has.
func TokenOf(r *http.Request) *access.Token {
	token, _ := caddyhttp.GetVar(r.Context(), tokenVar).(*access.Token)
	return token
}

// SetToken makes the placeholders describe a purchase. With nil they still describe the purchase of an outer gate, or
// if there is none, say that nothing was paid: otherwise a literal `{http.axra.paid}` would be passed on.
func SetToken(r *http.Request, token *access.Token) {
	vars, ok := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	if !ok {
		return
	}
	_, isSet := vars[tokenVar].(*access.Token)
	if isSet && token == nil {
		return
	}
	vars[tokenVar] = token
	if isSet {
		return
	}
	if replacer, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		replacer.Map(func(key string) (any, bool) {
			token, _ := vars[tokenVar].(*access.Token)
			return placeholder(token, key)
		})
	}
}

// placeholder returns the value of a placeholder that describes the purchase; token is nil if there is none.
func placeholder(token *access.Token, key string) (value any, isKnown bool) {
	if key == "http.auth.user.id" && token != nil {
		return userID(token.Purchase), true // tried last, so an authentication handler takes precedence
	}
	name, found := strings.CutPrefix(key, "http.axra.")
	if !found {
		return nil, false
	}
	if name == "paid" {
		return token != nil, true
	}
	value, isKnown = describe(token)[name]
	return value, isKnown
}

// describe tells who has paid; everything is empty if nobody has.
func describe(token *access.Token) map[string]string {
	if token == nil {
		return map[string]string{"pass": "", "purchase": "", "until": "", "user": ""}
	}
	return map[string]string{"pass": token.Pass, "purchase": token.Purchase, "until": until(token), "user": userID(token.Purchase)}
}

// until returns the end of access in RFC 3339; empty for no expiry.
func until(token *access.Token) string {
	end := token.End()
	if end.IsZero() {
		return ""
	}
	return end.UTC().Format(time.RFC3339)
}

// userID returns a name for the purchase that reveals nothing about its id, since Caddy writes it into access logs.
func userID(purchaseID string) string {
	sum := sha256.Sum256([]byte(purchaseID))
	return "axra-" + hex.EncodeToString(sum[:8])
}

// addLinks makes `{http.axra.link./feed/1.mp3}` the private address of that path, for feeds that list episodes.
func (a *Admission) addLinks(r *http.Request, site *gate.Site, token *access.Token) {
	replacer, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return
	}
	replacer.Map(func(key string) (any, bool) {
		target, found := strings.CutPrefix(key, "http.axra.link.")
		if !found || !strings.HasPrefix(target, "/") {
			return nil, false
		}
		address, err := a.PrivateAddress(site, token, urlpath.EscapeTarget(target))
		if err != nil {
			a.LogLimited("a private address could not be signed", zap.Error(err))
		}
		return address, true
	})
}
