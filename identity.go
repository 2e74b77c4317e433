package paywall

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http/httpguts"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/webhook"
)

// DefaultRequestHeaders begins the names of the request headers that tell an
// application who has paid.
const DefaultRequestHeaders = "X-Axra-"

// identifiedVar, with the beginning of their names, marks a request to which a gate
// has added its headers.
const identifiedVar = "axra.identified."

func checkRequestHeaders(prefix string) error {
	if !httpguts.ValidHeaderFieldName(prefix) || !strings.HasSuffix(prefix, "-") || len(prefix) < 3 {
		return errors.New("request_headers takes the beginning of header names, with a hyphen at its end: write `request_headers X-Axra-`")
	}
	return nil
}

// userID tells purchases apart without giving away their ids: Caddy writes it into
// access logs.
func userID(purchaseID string) string {
	sum := sha256.Sum256([]byte(purchaseID))
	return "axra-" + hex.EncodeToString(sum[:8])
}

func shorten(id string) string { return webhook.ShortID(id) }

// stripHeaders takes away what a client sent under the names of our headers, in
// every spelling that an application may take for them.
func (h *Handler) stripHeaders(r *http.Request) {
	if h.RequestHeaders == "" {
		return
	}
	prefix := plainName(h.RequestHeaders)
	if caddyhttp.GetVar(r.Context(), identifiedVar+prefix) == true {
		return
	}
	for name := range r.Header {
		if strings.HasPrefix(plainName(name), prefix) {
			delete(r.Header, name)
		}
	}
}

// plainName: CGI turns a hyphen into an underscore, and so do many applications.
func plainName(name string) string {
	return strings.ToLower(hyphens.Replace(name))
}

var hyphens = strings.NewReplacer("_", "-", ".", "-")

// identify tells an application behind the gate who has paid.
func (h *Handler) identify(r *http.Request, v *access.Token) {
	if h.RequestHeaders == "" {
		return
	}
	for name, value := range map[string]string{
		"Paid": "true", "Pass": v.Pass, "Purchase": v.Purchase, "Until": untilText(v), "User": userID(v.Purchase),
	} {
		if value != "" {
			r.Header.Set(h.RequestHeaders+name, headerText(value))
		}
	}
	caddyhttp.SetVar(r.Context(), identifiedVar+plainName(h.RequestHeaders), true)
}

// untilText is the end of access in RFC 3339; empty for access without expiry.
func untilText(t *access.Token) string {
	end := t.End()
	if end.IsZero() {
		return ""
	}
	return end.UTC().Format(time.RFC3339)
}

// placeholder is the value of a placeholder that says who has paid; t is nil where nobody has.
func placeholder(t *access.Token, key string) (value any, known bool) {
	if key == "http.auth.user.id" && t != nil {
		return userID(t.Purchase), true // asked last: what an authentication handler sets goes before
	}
	name, found := strings.CutPrefix(key, "http.axra.")
	if !found {
		return nil, false
	}
	if name == "paid" {
		return t != nil, true
	}
	switch name {
	case "pass", "purchase", "until", "user":
		if t == nil {
			return "", true
		}
	}
	switch name {
	case "pass":
		return t.Pass, true
	case "purchase":
		return t.Purchase, true
	case "until":
		return untilText(t), true
	case "user":
		return userID(t.Purchase), true
	}
	return nil, false
}

// headerText keeps names of passes in other scripts out of a header's way
// (RFC 9110, section 5.5).
func headerText(value string) string {
	return strings.Map(func(c rune) rune {
		if c < 0x20 || c > 0x7e {
			return '?'
		}
		return c
	}, value)
}
