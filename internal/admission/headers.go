package admission

import (
	"errors"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http/httpguts"

	"github.com/caddy-axra/paywall/internal/access"
)

// DefaultRequestHeaders begins the names of the request headers that tell an application who has paid.
const DefaultRequestHeaders = "X-Axra-"

// RequestHeaders begins the names of the request headers that tell an application who has paid; empty: there are none.
type RequestHeaders string

// Check reports whether the name can begin names of headers; the error names the fix.
func (h RequestHeaders) Check() error {
	prefix := string(h)
	if prefix != "" && (!httpguts.ValidHeaderFieldName(prefix) || !strings.HasSuffix(prefix, "-") || len(prefix) < 3) {
		return errors.New("request_headers takes the beginning of header names, ending in a hyphen: write `request_headers X-Axra-`")
	}
	return nil
}

// setVar is the request variable that marks a request to which a gate has added its headers, which the next gate must
// not remove.
func (h RequestHeaders) setVar() string { return "axra.headers." + normalized(string(h)) }

// Strip removes what a client sent under the names of these headers, in every spelling that an application may take
// for them.
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

// Set tells an application behind the gate who has paid.
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

// normalized makes the spellings of a header's name alike: CGI turns a hyphen into an underscore, and so do many
// applications.
func normalized(name string) string { return strings.ToLower(hyphens.Replace(name)) }

var hyphens = strings.NewReplacer("_", "-", ".", "-")

// ascii replaces what cannot be sent in a header (RFC 9110, section 5.5).
func ascii(value string) string {
	return strings.Map(func(c rune) rune {
		if c < 0x20 || c > 0x7e {
			return '?'
		}
		return c
	}, value)
}
