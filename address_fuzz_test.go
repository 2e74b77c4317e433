package paywall

import (
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// FuzzReturnAddress: whatever is asked for, the way back leads to this site (R1),
// and brings the page's path and query back byte for byte.
func FuzzReturnAddress(f *testing.F) {
	for _, seed := range []string{
		"/premium/article.html?a=1&b=%20x", "//evil.example/x", `/\evil.example`, "/?axra_session=x", "/a?axra_query=L2V2aWw", "/a?axra_query=%zz&x",
		"/?{SESSION_ID}", "/a?", "/%2f%2fevil", "/a;b?c=d&&=", "/\tevil", "/a?q=\x80\xff", "/../..//evil?axra_try=1&axra_here=1",
	} {
		f.Add(seed)
	}
	for _, seed := range []string{
		"/a?axra_query=YXhyYV9zZXNzaW9uPXg", "/a?x#y", "/a?b c", "/a?axra_query=YiM&axra_link=x&c", "/a?axra_place=1&axra_program=1;x",
	} {
		f.Add(seed)
	}
	const origin = "https://example.com"
	f.Fuzz(func(t *testing.T, raw string) {
		address, err := url.ParseRequestURI(raw)
		if err != nil || address.Host != "" || !strings.HasPrefix(address.Path, "/") {
			return
		}
		target := cleanTarget(address)
		if query, _ := cleanQuery(address.RawQuery); len(ownParams(query)) > 0 {
			t.Fatalf("%q: the handlers behind see %q", raw, query)
		}
		if name := linkTarget(target); name != linkTarget(escaped(target)) {
			t.Fatalf("%q: a private address of %q is one of %q", raw, name, linkTarget(escaped(target)))
		}
		for _, way := range []string{target, withParams(target, paramRestart, "1")} {
			if !strings.HasPrefix(way, "/") || strings.HasPrefix(way, "//") || strings.HasPrefix(way, `/\`) || strings.ContainsAny(way, "\r\n\t") {
				t.Fatalf("%q leads to %q", raw, way)
			}
		}
		back := returnAddress(origin, target, paramSession, "cs_1")
		if !strings.HasPrefix(back, origin+"/") {
			t.Fatalf("%q: success URL %q", raw, back)
		}
		parsed, err := url.Parse(back)
		if err != nil {
			t.Fatalf("%q: success URL %q: %v", raw, back, err)
		}
		if parsed.Host != "example.com" || ownParams(parsed.RawQuery).Get(paramSession) != "cs_1" {
			t.Fatalf("%q: success URL %q", raw, back)
		}
		if got := cleanTarget(parsed); got != target {
			t.Fatalf("%q goes as %q and comes back as %q", raw, target, got)
		}
	})
}

// FuzzCaddyfile: no Caddyfile makes the parsers panic, and an error names its line.
func FuzzCaddyfile(f *testing.F) {
	for _, seed := range []string{
		"axra {\n\tapi_key {env.A}\n\twebhook_secret {env.B} {env.C}\n\tendpoint http://localhost:1/api\n}",
		"axra {\n\tsignature {\n\t\theader X\n\t\tscheme body\n\t}\n\tlimit_total 1 1m\n}", "axra x", "axra {\n\tstorage\n}",
		"axra_paywall {\n\tprice 5.00 usd\n\taccess 30d\n\tmetadata a {b}\n}", "axra_paywall {\n\tprice 5 jpy\n\texpires_in 1s\n}", "axra_webhook {\n}",
		"axra_paywall {\n\tprice 1e9 usd\n}", "axra {\n\tsite_url http://user:x@h/\n}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if !utf8.ValidString(raw) {
			return
		}
		for _, into := range []caddyfile.Unmarshaler{new(App), new(Handler), new(Webhook)} {
			tokens, err := caddyfile.Tokenize([]byte(raw), "Caddyfile")
			if err != nil || len(tokens) == 0 {
				return
			}
			if err := into.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens)); err != nil && !strings.Contains(err.Error(), "Caddyfile:") {
				t.Fatalf("%q: the error names no line: %v", raw, err)
			}
		}
	})
}
