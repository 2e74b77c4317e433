package paywall

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

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
