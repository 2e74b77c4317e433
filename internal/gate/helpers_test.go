package gate

import (
	"net/http"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-axra/paywall/internal/access/accesstest"
)

// request is a request for a target, as Caddy prepares it. The lines are header fields.
func request(t testing.TB, target string, lines ...string) *http.Request {
	t.Helper()
	r, err := newRequest(target, lines...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// rewrite changes the path as the directive `rewrite` does.
func rewrite(r *http.Request, path string) *http.Request {
	if path != "" {
		r.URL.Path, r.URL.RawPath = path, ""
	}
	return r
}

// mapPath defines a placeholder by the path of the request, as the directive `map` does.
func mapPath(r *http.Request, placeholder string, table map[string]string) *http.Request {
	replacer := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	replacer.Map(func(key string) (any, bool) {
		if key != placeholder {
			return nil, false
		}
		if value, ok := table[r.URL.Path]; ok {
			return value, true
		}
		return table["default"], true
	})
	return r
}

// product is a product that is valid.
func product(t testing.TB, name string, config ProductConfig) *Product {
	t.Helper()
	p, err := NewProduct(name, config)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// fiveDollars is a price.
var fiveDollars = Price{Amount: "5.00", Currency: "usd"}

// gateOf is a gate on a node that sells the products at the paths of the matchers.
func gateOf(t testing.TB, n *accesstest.Node, matchers string, products ...*Product) *Gate {
	t.Helper()
	g := &Gate{Products: products, SiteURL: accesstest.Site, Matcher: NewMatcher(nil)}
	if matchers != "" {
		g.Matcher = newGate(t, matchers)
	}
	if n != nil {
		g.Tokens = &Tokens{Cache: n.Cache, Keys: n.Keys, Algorithm: "HS256", Bounds: accesstest.Bounds, Clock: n.Now, OnGrace: func() {}}
	}
	g.Provision()
	return g
}
