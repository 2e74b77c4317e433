package preflight

import (
	"net/http"
	"slices"
	"strings"

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
		t := at.request(http.MethodGet)
		switch {
		case !at.isReachedBy(t) && !at.isPathOnly(http.MethodGet):
			c.note("whether %s of %s is reached: not all matchers before it are about paths", gate.subject(), at.host)
		case !at.isReachedBy(t) && !at.matches(http.MethodGet, t.path):
			r.fail(gate.subject(), fixAround, "no request reaches it: what is around it does not match %s%s", at.host, t.path)
		case !at.isReachedBy(t):
			r.fail(gate.subject(), fixOrder, "it is never reached: for %s%s %s answers before it", at.host, t.path, t.answerer())
		default:
			c.checkAnswersBefore(r, at.site, gate)
		}
	}
	r.orOK("", "every gate comes before what it protects")
}

// checkAnswersBefore finds handlers that answer some of a gate's requests before it.
func (c *checker) checkAnswersBefore(r *report, s *site, gate *Gate) {
	if t := s.freeBefore(gate, true); t != nil {
		r.fail(gate.subject(), fixOrder, "%s answers %s%s before it, for free", t.answerer(), s.host, t.path)
	}
	if t := s.freeBefore(gate, false); t != nil {
		r.warn(gate.subject(), fixOrder+"; if the answer is meant for everybody, exempt its path in the gate's matcher",
			"%s answers %s%s before it", t.answerer(), s.host, t.path)
	}
}

// freeBefore returns a request of the gate's that a handler before it answers for anybody: with the site's content
// (a file server or a proxy), or with something else.
func (s *site) freeBefore(gate *Gate, isContent bool) *trace {
	return s.find(http.MethodGet, func(t *trace) bool {
		_, isProxy := t.answer.(*reverseproxy.Handler)
		return slices.Contains(t.shadows, any(gate)) && t.isFree() && !t.redirects() && s.describe(t.answer) == nil && (isProxy || t.isFile()) == isContent
	})
}

// checkOverlap finds gates behind another one that sells something else.
func (c *checker) checkOverlap(r *report) {
	for at, inner := range handlers[*Gate](c.sites) {
		outerOf := func(t *trace) *Gate {
			if i := slices.Index(t.gates, inner); i > 0 && !t.gates[i-1].sellsSameAs(inner) {
				return t.gates[i-1]
			}
			return nil
		}
		if t := at.find(http.MethodGet, func(t *trace) bool { return outerOf(t) != nil }); t != nil {
			r.warn(inner.subject(), "exempt the path in the matcher of one of them (`not path …`), or let both sell the same passes if one payment is enough",
				"%s%s is also behind gate %s, which is probably a mistake: a visitor has to pay twice", t.host, t.path, outerOf(t).Name)
		}
	}
	r.orOK("", "no path is behind two gates that sell different things")
}

func (g *Gate) sellsSameAs(other *Gate) bool {
	return len(g.Products) == len(other.Products) &&
		!slices.ContainsFunc(g.Products, func(p *gate.Product) bool { return other.Product(p.Name) == nil })
}

// checkCaches finds what could store a paid page and serve it to others.
func (c *checker) checkCaches(r *report) {
	for at, gate := range handlers[*Gate](c.sites) {
		t := at.request(http.MethodGet)
		if !at.isReachedBy(t) {
			continue
		}
		if len(t.caches) > 0 {
			r.warn(gate.subject(), "write `order "+t.caches[0]+" after axra_paywall` in the global options, or put it behind the gate in a `route`",
				"%s stands before it: paid pages stay private only as long as it respects `Cache-Control: private`", t.caches[0])
		}
		for _, h := range t.headers {
			if value := publicCacheControl(h); value != "" {
				r.warn(at.host+t.path, "write Cache-Control in a `header` of its own, without `>` and without deletions beside it",
					"a deferred `header` sets Cache-Control %q after the gate, so shared caches may keep paid pages", value)
			}
		}
	}
	r.orOK("", "nothing in this Caddy makes gated answers public")
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

// checkKeySets finds key sets that answer in place of the site.
func (c *checker) checkKeySets(r *report) {
	for at := range handlers[*KeySet](c.sites) {
		if at.takesAll(http.MethodGet) {
			r.fail(at.host, "give it a path: `axra_jwks /.well-known/jwks.json`", "axra_jwks has no path, so it answers every request of the site")
		} else {
			r.ok(at.host, "the public keys have a path of their own")
		}
	}
}
