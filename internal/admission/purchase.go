package admission

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"golang.org/x/net/http/httpguts"

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
		return details["user"](token), true // tried last, so an authentication handler takes precedence
	}
	name, isOurs := strings.CutPrefix(key, "http.axra.")
	if isOurs && name == "paid" {
		return token != nil, true
	}
	detail, isKnown := details[name]
	if !isKnown || !isOurs {
		return nil, false
	}
	if token == nil {
		return "", true
	}
	return detail(token), true
}

// details are what placeholders and request headers tell about who has paid.
var details = map[string]func(*access.Token) string{
	"pass":     func(t *access.Token) string { return t.Pass },
	"purchase": func(t *access.Token) string { return t.Purchase },
	"until": func(t *access.Token) string { // empty for no expiry
		if t.End().IsZero() {
			return ""
		}
		return t.End().UTC().Format(time.RFC3339)
	},
	"user": func(t *access.Token) string { return userID(t.Purchase) },
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

// DefaultRequestHeaders is the default prefix of the request headers that describe the purchase.
const DefaultRequestHeaders = "X-Axra-"

// RequestHeaders is the prefix of the request headers that describe the purchase to an application; empty: none are set.
type RequestHeaders string

// Check reports whether the prefix can begin a header name; the error names the fix.
func (h RequestHeaders) Check() error {
	prefix := string(h)
	if prefix != "" && (!httpguts.ValidHeaderFieldName(prefix) || !strings.HasSuffix(prefix, "-") || len(prefix) < 3) {
		return errors.New("request_headers takes a prefix of header names that ends in a hyphen: write `request_headers X-Axra-`")
	}
	return nil
}

// setVar names the request variable that marks the headers as set by a gate, so that a nested gate does not strip them.
func (h RequestHeaders) setVar() string { return "axra.headers." + normalized(string(h)) }

// Strip removes these headers from what a client sent, in every spelling that an application may accept, and from those
// that a proxy is to remove because Connection names them (RFC 9110, section 7.6.1).
func (h RequestHeaders) Strip(r *http.Request) {
	if h == "" || caddyhttp.GetVar(r.Context(), h.setVar()) == true {
		return
	}
	prefix := normalized(string(h))
	isOurs := func(name string) bool { return strings.HasPrefix(normalized(strings.TrimSpace(name)), prefix) }
	maps.DeleteFunc(r.Header, func(name string, _ []string) bool { return isOurs(name) })
	for i, named := range r.Header["Connection"] {
		r.Header["Connection"][i] = strings.Join(slices.DeleteFunc(strings.Split(named, ","), isOurs), ",")
	}
}

// Set describes the purchase to an application behind the gate.
func (h RequestHeaders) Set(r *http.Request, token *access.Token) {
	if h == "" {
		return
	}
	r.Header.Set(string(h)+"Paid", "true")
	for name, detail := range details {
		if value := detail(token); value != "" {
			r.Header.Set(string(h)+name, value)
		}
	}
	caddyhttp.SetVar(r.Context(), h.setVar(), true)
}

// normalized maps the spellings of a header name to one: CGI and many applications turn hyphens into underscores.
func normalized(name string) string { return strings.ToLower(hyphens.Replace(name)) }

var hyphens = strings.NewReplacer("_", "-", ".", "-")
