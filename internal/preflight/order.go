package preflight

import (
	"net/http"
	"slices"

	"github.com/caddy-axra/paywall/internal/gate"
)

// checkOrder finds gates that come too late, and key sets that answer instead of the site.
func (c *checker) checkOrder(r *report) {
	const fix = "write axra_paywall at the level of the site, where it comes before what answers; in `route` and `handle`, write it first"
	for _, at := range c.keySets {
		if at.matches(http.MethodGet, unmatched) {
			r.fail(at.host, "give it a path: `axra_jwks /.well-known/jwks.json`", "axra_jwks has no path, so it answers every request of the site")
		}
	}
	for _, at := range c.gates {
		t, isReached := at.request(http.MethodGet)
		switch free := at.freeBefore(); {
		case t == nil:
			r.note("whether %s of %s is reached: not all matchers before it are about paths", at.gate.subject(), at.host)
		case !isReached:
			at.explainUnreached(r, at.gate.subject(), t, fix)
		case free != nil && free.isContent():
			r.fail(at.gate.subject(), fix, "%s answers %s%s before it, for free", free.answerer(), at.host, free.path)
		case free != nil:
			r.warn(at.gate.subject(), fix+"; if the answer is meant for everybody, exempt its path in the gate's matcher",
				"%s answers %s%s before it", free.answerer(), at.host, free.path)
		}
	}
}

// explainUnreached reports that a request, and no other, reaches a handler.
func (l *location) explainUnreached(r *report, subject string, t *trace, fix string) {
	if l.matches(t.request.Method, t.path) {
		r.fail(subject, fix, "it is never reached: for %s%s, %s answers before it", l.host, t.path, t.answerer())
		return
	}
	r.fail(subject, "take it out of the `handle` or `route` around it, or correct the paths of one of them",
		"no request reaches it: what is around it does not match %s%s", l.host, t.path)
}

// freeBefore returns a request of the gate's that something before it answers for anybody, with content if there is one.
func (l *location) freeBefore() (free *trace) {
	for _, t := range l.traces(http.MethodGet) {
		isFree := slices.Contains(t.shadows, l.handler) && t.isFree() && t.answerer() != "redir" && l.describe(t.answer) == nil
		if isFree && (free == nil || t.isContent() && !free.isContent()) {
			free = t
		}
	}
	return free
}

// checkOverlap finds gates behind another one that sells something else.
func (c *checker) checkOverlap(r *report) {
	for _, at := range c.gates {
		for _, t := range at.traces(http.MethodGet) {
			i := slices.Index(t.gates, at.gate)
			if i > 0 && !t.gates[i-1].sellsSameAs(at.gate) {
				r.warn(at.gate.subject(), "exempt the path in the matcher of one of them (`not path …`), or let both sell the same passes if one payment is enough",
					"%s%s is also behind gate %s, which is probably a mistake: a visitor has to pay twice", t.host, t.path, t.gates[i-1].Name)
				break
			}
		}
	}
}

func (g *Gate) sellsSameAs(other *Gate) bool {
	return len(g.Products) == len(other.Products) &&
		!slices.ContainsFunc(g.Products, func(p *gate.Product) bool { return other.Product(p.Name) == nil })
}

// checkCaches finds what could store a paid page and serve it to others.
func (c *checker) checkCaches(r *report) {
	for _, at := range c.gates {
		t, isReached := at.request(http.MethodGet)
		if !isReached {
			continue
		}
		for _, cache := range t.caches {
			r.warn(at.gate.subject(), "write `order "+cache+" after axra_paywall` in the global options, or put it behind the gate in a `route`",
				"%s is in front of it: paid pages stay private only as long as it respects `Cache-Control: private`", cache)
		}
		if t.cacheControl != "" {
			r.warn(at.host+t.path, "write Cache-Control in a `header` of its own, without `>` and without deletions beside it",
				"a deferred `header` sets Cache-Control %q after the gate, so shared caches may keep paid pages", t.cacheControl)
		}
	}
}
