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

// tokenVar is the request variable with the token by which a gate last admitted a request: a *access.Token, nil if the
// request passed gates without having to pay. The matcher axra_paid reads it.
const tokenVar = "axra.token"

// TokenOf returns the token by which a gate has admitted a request; nil if none has.
func TokenOf(r *http.Request) *access.Token {
	token, _ := caddyhttp.GetVar(r.Context(), tokenVar).(*access.Token)
	return token
}

// SetToken makes the placeholders describe a purchase. With nil they keep describing the purchase that an earlier gate
// admitted the request by; without one they say that nothing was paid, so that no literal `{http.axra.paid}` is passed
// on.
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

// placeholder returns the value of a placeholder that tells who has paid; token is nil if nobody has.
func placeholder(token *access.Token, key string) (value any, isKnown bool) {
	if key == "http.auth.user.id" && token != nil {
		return userID(token.Purchase), true // asked last, so an authentication handler takes precedence
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

// until is the end of access in RFC 3339; empty for access without expiry.
func until(token *access.Token) string {
	end := token.End()
	if end.IsZero() {
		return ""
	}
	return end.UTC().Format(time.RFC3339)
}

// userID tells purchases apart without giving away their ids: Caddy writes it into access logs.
func userID(purchaseID string) string {
	sum := sha256.Sum256([]byte(purchaseID))
	return "axra-" + hex.EncodeToString(sum[:8])
}

// LinkPlaceholders makes `{http.axra.link./feed/1.mp3}` the private address to that path, for feeds that name their
// episodes.
type LinkPlaceholders struct {
	Address    func(site *gate.Site, token *access.Token, target string) (string, error)
	LogLimited func(message string, fields ...zap.Field)
}

// Add adds the placeholders to a request.
func (l *LinkPlaceholders) Add(r *http.Request, site *gate.Site, token *access.Token) {
	replacer, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return
	}
	replacer.Map(func(key string) (any, bool) {
		target, found := strings.CutPrefix(key, "http.axra.link.")
		if !found || !strings.HasPrefix(target, "/") {
			return nil, false
		}
		address, err := l.Address(site, token, urlpath.EscapeTarget(target))
		if err != nil {
			l.LogLimited("a private address could not be signed", zap.Error(err))
			return "", true
		}
		return address, true
	})
}
