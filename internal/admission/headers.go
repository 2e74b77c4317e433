package admission

import (
	"errors"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http/httpguts"

	"github.com/caddy-axra/paywall/internal/access"
)

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

// Strip removes these headers from what a client sent, in every spelling that an application may accept.
func (h RequestHeaders) Strip(r *http.Request) {
	if h == "" || caddyhttp.GetVar(r.Context(), h.setVar()) == true {
		return
	}
	prefix := normalized(string(h))
	for name := range r.Header {
		if strings.HasPrefix(normalized(name), prefix) {
			delete(r.Header, name)
		}
	}
}

// Set describes the purchase to an application behind the gate.
func (h RequestHeaders) Set(r *http.Request, token *access.Token) {
	if h == "" {
		return
	}
	r.Header.Set(string(h)+"Paid", "true")
	for name, value := range describe(token) {
		if value != "" {
			r.Header.Set(string(h)+name, ascii(value))
		}
	}
	caddyhttp.SetVar(r.Context(), h.setVar(), true)
}

// normalized maps the spellings of a header name to one: CGI and many applications turn hyphens into underscores.
func normalized(name string) string { return strings.ToLower(hyphens.Replace(name)) }

var hyphens = strings.NewReplacer("_", "-", ".", "-")

// ascii replaces characters that a header cannot carry (RFC 9110, section 5.5).
func ascii(value string) string {
	return strings.Map(func(c rune) rune {
		if c < 0x20 || c > 0x7e {
			return '?'
		}
		return c
	}, value)
}
