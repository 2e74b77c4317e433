package preflight

import (
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-axra/paywall/internal/gate"
)

// Fixes that several findings name.
const (
	fixAround = "take it out of the `handle` or `route` around it, or correct the paths of one of them"
	fixOrder  = "write axra_paywall at the level of the site, where it comes before what answers; in `route` and `handle`, write it first"
)

// checkOrder finds gates that come too late.
func (c *checker) checkOrder(r *report) {
	for at, gate := range handlers[*Gate](c.sites) {
		if at.behind(gate) == nil {
			c.explainUnreached(r, at, gate)
			continue
		}
		told := make(map[string]bool)
		for _, t := range at.traces(http.MethodGet) {
			name := t.answerer()
			if !slices.Contains(t.shadows, any(gate)) || !t.isFree() || t.redirects() || t.describe(t.answer) != nil || told[name] {
				continue
			}
			told[name] = true
			if _, isProxy := t.answer.(*reverseproxy.Handler); isProxy || t.isFile() {
				r.fail(gate.subject(), fixOrder, "%s answers %s%s before it, for free", name, at.host, t.path)
				continue
			}
			r.warn(gate.subject(), fixOrder+"; if the response is meant for everyone, exempt its path in the gate's matcher",
				"%s answers %s%s before it", name, at.host, t.path)
		}
	}
	r.orOK("every gate comes before what it protects")
}

// explainUnreached is about a gate that no sample reaches.
func (c *checker) explainUnreached(r *report, at *location, gate *Gate) {
	t := at.find(http.MethodGet, func(t *trace) bool { return slices.Contains(t.shadows, any(gate)) })
	if t == nil {
		t = at.trace(http.MethodGet, append(at.samples(), "/"+sample)[0])
	}
	switch {
	case !at.isPathOnly(http.MethodGet):
		c.note("whether %s of %s is reached: not all matchers before it are about paths", gate.subject(), at.host)
	case !at.matches(http.MethodGet, t.path):
		r.fail(gate.subject(), fixAround, "no request reaches it: what is around it does not match %s%s", at.host, t.path)
	default:
		r.fail(gate.subject(), fixOrder, "it is never reached: for %s%s %s answers before it", at.host, t.path, t.answerer())
	}
}

// Overlap is a path behind two gates that sell different products.
type Overlap struct {
	Outer, Nested *Gate
	Host, Path    string
}

// Overlaps finds gates behind one another, each pair once.
func Overlaps(servers map[string]*caddyhttp.Server, describe func(caddyhttp.MiddlewareHandler) any) []Overlap {
	return overlaps(sitesOf(servers, describe))
}

func overlaps(sites []*site) []Overlap {
	var found []Overlap
	told := make(map[[2]*Gate]bool)
	for at := range handlers[*Gate](sites) {
		for _, t := range at.traces(http.MethodGet) {
			for n := 1; n < len(t.gates); n++ {
				outer, nested := t.gates[n-1], t.gates[n]
				if !told[[2]*Gate{outer, nested}] && !outer.sellsSameAs(nested) {
					told[[2]*Gate{outer, nested}] = true
					found = append(found, Overlap{outer, nested, t.host, t.path})
				}
			}
		}
	}
	return found
}

func (g *Gate) sellsSameAs(other *Gate) bool {
	return len(g.Products) == len(other.Products) &&
		!slices.ContainsFunc(g.Products, func(p *gate.Product) bool { return other.Product(p.Name) == nil })
}

func (c *checker) checkOverlap(r *report) {
	for _, two := range overlaps(c.sites) {
		r.warn(two.Nested.subject(), "exempt the path in the matcher of one of them (`not path …`), or let both sell the same passes if one payment is enough",
			"%s%s is also behind gate %s, which is probably a mistake: a visitor has to pay twice", two.Host, two.Path, two.Outer.Name)
	}
	r.orOK("no path is behind two gates that sell different things")
}

// checkCaches finds what could store a paid page and serve it to others.
func (c *checker) checkCaches(r *report) {
	for at, gate := range handlers[*Gate](c.sites) {
		t := at.behind(gate)
		if t == nil {
			continue
		}
		if len(t.caches) > 0 {
			r.warn(gate.subject(), "write `order "+t.caches[0]+" after axra_paywall` in the global options, or put it behind the gate in a `route`",
				"%s is in front of it: paid pages stay private only as long as it respects `Cache-Control: private`", t.caches[0])
		}
		for _, h := range t.headers {
			if value := publicCacheControl(h); value != "" {
				r.warn(at.host+t.path, "write Cache-Control in a `header` of its own, without `>` and without deletions beside it",
					"a deferred `header` sets Cache-Control %q after the gate, so shared caches may keep paid pages", value)
			}
		}
	}
	r.orOK("nothing in this Caddy makes gated answers public")
}

// publicCacheControl is the Cache-Control that a header directive sets after the gate has made the answer private.
func publicCacheControl(h *headers.Handler) string {
	if h.Response == nil || h.Response.HeaderOps == nil || !h.Response.Deferred && h.Response.Require == nil {
		return ""
	}
	for _, values := range []http.Header{h.Response.Set, h.Response.Add} {
		value := strings.ToLower(values.Get("Cache-Control"))
		if value != "" && !strings.Contains(value, "private") && !strings.Contains(value, "no-store") {
			return value
		}
	}
	return ""
}

// checkKeySets finds key sets that answer instead of the site.
func (c *checker) checkKeySets(r *report) {
	found := false
	for at := range handlers[*KeySet](c.sites) {
		found = true
		if at.takesAll(http.MethodGet) {
			r.fail(at.host, "give it a path: `axra_jwks /.well-known/jwks.json`", "axra_jwks has no path, so it answers every request of the site")
		}
	}
	if found {
		r.orOK("the public keys have a path of their own")
	}
}
