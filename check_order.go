package paywall

import (
	"net/http"
	"slices"
	"strings"

	gates "github.com/caddy-axra/paywall/internal/gate"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
)

// checkOrder finds gates that come too late.
func (e *examination) checkOrder() []finding {
	found := &remarks{check: "order"}
	for _, at := range e.spots(isGate) {
		if !e.checkReached(found, at) {
			continue
		}
		e.checkShadows(found, at)
	}
	return found.orOK("every gate comes before what it protects")
}

// checkReached reports whether a request reaches the gate, and why none does.
func (e *examination) checkReached(found *remarks, at spot) bool {
	gate, _ := at.handler.(*Handler)
	var blocked *trail
	path := ""
	for _, candidate := range at.candidates(gate.gate.Matcher.Sets()) {
		t := follow(at.server, http.MethodGet, at.host, candidate)
		if slices.Contains(t.gates, gate) {
			return true
		}
		if blocked == nil && gate.claims(at, candidate) {
			blocked, path = t, candidate
		}
	}
	subject := "gate " + gate.label()
	switch {
	case blocked == nil:
		e.note("whether %s of %s is reached: its matchers are not about paths alone", subject, at.host)
	case !at.leadsTo(http.MethodGet, path):
		found.fail(subject, fixAround, "no request reaches it: what stands around it does not match %s%s", at.host, path)
	default:
		found.fail(subject, fixOrder, "it is never reached: for %s%s %s answers before it", at.host, path, blocked.said())
	}
	return false
}

// Fixes that several findings name.
const (
	fixAround = "take it out of the `handle` or `route` around it, or correct the paths of one of them"
	fixOrder  = "write axra_paywall at the level of the site, where it comes before what answers; in `route` and `handle`, write it first"
)

// claims reports whether the gate's own matchers cover a path.
func (h *Handler) claims(at spot, path string) bool {
	found, err := h.gate.Matcher.Coverage(strangersRequest(at.server, http.MethodGet, at.host, path))
	return err == nil && found == gates.Covered
}

// checkShadows finds paths that the gate covers and that something else answers before.
func (e *examination) checkShadows(found *remarks, at spot) {
	gate, _ := at.handler.(*Handler)
	told := make(map[string]bool)
	for _, path := range e.samples(at.server) {
		t := follow(at.server, http.MethodGet, at.host, path)
		if t.gated() || t.answer == nil || t.redirects() || isWebhook(t.answer) || len(t.guards) > 0 {
			continue
		}
		if !gate.claims(at, path) || !at.onWay(t, path) || told[t.said()] {
			continue
		}
		told[t.said()] = true
		if t.servesContent() {
			found.fail("gate "+gate.label(), fixOrder, "%s answers %s%s before it, for free", t.said(), at.host, path)
		} else {
			found.warn("gate "+gate.label(), fixOrder+"; if the answer is meant for everybody, exempt its path in the gate's matcher", "%s answers %s%s before it", t.said(), at.host, path)
		}
	}
}

// onWay reports whether a request for the path, had nothing answered before, would have
// come to the spot: a `handle` beside that was taken instead is meant so.
func (p spot) onWay(t *trail, path string) bool {
	for _, route := range p.chain {
		if taken := t.groups[route.Group]; route.Group != "" && taken != nil && taken != route {
			return false
		}
	}
	return p.leadsTo(http.MethodGet, path)
}

// samples are paths for every pattern in the routes of a server, and for patterns that
// begin with a star below those of folders.
func (e *examination) samples(server *caddyhttp.Server) []string {
	var all []string
	collectSpots(server, server.Routes, nil, make(map[*caddyhttp.Route]bool), func(handler caddyhttp.MiddlewareHandler, chain []*caddyhttp.Route) {
		all = append(all, samplesOfSets(chain[len(chain)-1].MatcherSets)...)
		if gate, ok := handler.(*Handler); ok {
			all = append(all, samplesOfSets(gate.gate.Matcher.Sets())...)
			if len(gate.gate.Matcher.Sets()) == 0 {
				all = append(all, "/axra-check", "/")
			}
		}
	})
	all = distinct(all)
	const most = 100
	for _, folder := range slices.Clone(all) {
		for _, name := range slices.Clone(all) {
			if len(all) < most*most && strings.HasSuffix(folder, "/") && folder != "/" && strings.HasPrefix(name, "/axra-check.") {
				all = append(all, folder+name[1:])
			}
		}
	}
	return distinct(all[:min(len(all), most*most)])
}

// checkOverlap finds gates one behind the other: both have to be paid.
func (e *examination) checkOverlap() []finding {
	found := &remarks{check: "overlap"}
	type pair struct{ outer, inner *Handler }
	told := make(map[pair]bool)
	for _, at := range e.sites() {
		for _, two := range nested(at.server, at.host, e.samples(at.server)) {
			if told[pair{two.outer, two.inner}] {
				continue
			}
			told[pair{two.outer, two.inner}] = true
			found.warn("gate "+two.inner.label(), "exempt the path in the matcher of one of them (`not path …`), or let both sell the same passes, if one payment is to do",
				"%s%s lies behind gate %s as well, which is probably a mistake: a visitor has to pay twice", two.host, two.path, two.outer.label())
		}
	}
	return found.orOK("no path lies behind two gates that sell different things")
}

// sites are the host names of all servers.
func (e *examination) sites() []spot {
	var all []spot
	seen := make(map[string]bool)
	for _, at := range e.spots(func(caddyhttp.MiddlewareHandler) bool { return true }) {
		key := strings.Join(at.server.Listen, " ") + "\n" + at.host
		if !seen[key] {
			seen[key] = true
			all = append(all, spot{server: at.server, host: at.host})
		}
	}
	return all
}

// checkCaches finds what could keep a paid page and hand it to others.
func (e *examination) checkCaches() []finding {
	found := &remarks{check: "caches"}
	for _, at := range e.spots(isGate) {
		gate, _ := at.handler.(*Handler)
		for _, path := range at.candidates(gate.gate.Matcher.Sets()) {
			t := follow(at.server, http.MethodGet, at.host, path)
			if !slices.Contains(t.gates, gate) {
				continue
			}
			if len(t.caches) > 0 {
				found.warn("gate "+gate.label(), "write `order "+t.caches[0]+" after axra_paywall` into the global options, or put it behind the gate in a `route`",
					"%s stands before it: only while it heeds `Cache-Control: private` does it hand nothing paid to others", t.caches[0])
			}
			checkHeaders(found, at.host+path, t.headers)
			break
		}
	}
	return found.orOK("nothing in this Caddy makes gated answers public")
}

// checkHeaders finds header directives with the last word on Cache-Control.
func checkHeaders(found *remarks, subject string, all []*headers.Handler) {
	for _, h := range all {
		if value := publicLater(h); value != "" {
			found.warn(subject, "write Cache-Control in a `header` of its own, without `>` and without deletions beside it",
				"a deferred `header` sets Cache-Control %q after the gate, so that shared caches may keep what was paid for", value)
		}
	}
}

// publicLater is the value of Cache-Control that a header directive sets when the answer
// is written, after the gate has made it private.
func publicLater(h *headers.Handler) string {
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
