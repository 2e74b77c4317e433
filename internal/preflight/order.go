package preflight

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-axra/paywall/internal/gate"
)

// checkOrder finds gates that come too late, and key sets that answer instead of the site.
func (c *checker) checkOrder(r *report) {
	for _, at := range c.places[keySet] {
		if at.takesAll(http.MethodGet) {
			r.fail(at.subject(), "give it a path: `axra_jwks /.well-known/jwks.json`", "axra_jwks answers every request")
		}
	}
	const fix = "write axra_paywall at the level of the site, where it comes before what answers; " +
		"in `route` and `handle`, write it first, in the one that takes its paths"
	for _, at := range c.places[paywall] {
		if at.reached(http.MethodGet) == nil {
			if t := at.missed(http.MethodGet); t == nil || t.answerer() != "redir" { // a whole host may be redirected
				r.unreached(at, t, fix)
			}
			continue
		}
		isLate := func(t *trace) bool { return t.isFree() && slices.Contains(t.late, at.handler) }
		content := at.site.find(http.MethodGet, func(t *trace) bool { return isLate(t) && t.isContent() })
		text := at.site.find(http.MethodGet, func(t *trace) bool { return isLate(t) && t.answerer() == "respond" })
		if t := cmp.Or(content, text); t != nil {
			r.add(severity(content == nil), at.subject(), "unless that is meant for everybody: "+fix,
				"%s answers %s before it, for free", t.answerer(), t.address())
		}
	}
}

// checkOverlap finds gates behind another one that sells something else.
func (c *checker) checkOverlap(r *report) {
	for _, at := range c.places[paywall] {
		opensNot := func(p *gate.Product) bool { return at.gate.Product(p.Name) == nil }
		t := at.site.find(http.MethodGet, func(t *trace) bool {
			i := slices.Index(t.gates, at.gate)
			return i > 0 && slices.ContainsFunc(t.gates[i-1].Products, opensNot)
		})
		if t != nil {
			r.warn(at.subject(), "exempt the path in the matcher of one (`not path …`), or let both sell the same passes",
				"%s is also behind another gate, so a visitor has to pay twice", t.address())
		}
	}
}

// checkCaches finds what could store a paid page and serve it to others.
func (c *checker) checkCaches(r *report) {
	for _, at := range c.places[paywall] {
		if t := at.reached(http.MethodGet); t != nil && len(t.caches) > 0 {
			r.warn(at.subject(), "write `order … after axra_paywall` for a cache; "+
				"for a `header`, write it alone, without `>` and without deletions beside it",
				"shared caches may keep paid pages because of %s before the gate", strings.Join(t.caches, " and "))
		}
	}
}
