package paywall

import (
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/session"
)

// A request that several gates match needs each of them. What an inner gate has added to
// an address reaches it by the outer one, which has let the visitor in.

// innerGateVar holds the last gate that has left what was added to an address to a gate
// behind it.
const innerGateVar = "axra.inner_gate"

// passageVar holds the last passage of a request.
const passageVar = "axra.passage"

// passage is a gate that a request has come by.
type passage struct {
	gate   *Handler
	by     *verified // what has let the request through, at this gate or one before; nobody where none has
	before *passage
}

// lastPassage is nil where the request has come by no gate.
func lastPassage(r *http.Request) *passage {
	last, _ := caddyhttp.GetVar(r.Context(), passageVar).(*passage)
	return last
}

// note makes a passage the last one of a request, and the placeholders speak of it. They are
// made when somebody asks.
func (p *passage) note(r *http.Request) {
	vars, ok := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	if !ok {
		return
	}
	_, told := vars[passageVar].(*passage)
	vars[passageVar] = p
	if told {
		return
	}
	if replacer, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		replacer.Map(func(key string) (any, bool) {
			last, ok := vars[passageVar].(*passage)
			if !ok { // the configuration has set a variable of this name
				return nobody.placeholder(key)
			}
			return last.by.placeholder(key)
		})
	}
}

// passUnpaid notes that a request comes by the gate as it came. The placeholders go on to speak
// of another gate that has let it through; otherwise they keep a literal `{http.axra.paid}`
// out of what later handlers pass on.
func (h *Handler) passUnpaid(r *http.Request) {
	if last := lastPassage(r); last != nil {
		(&passage{gate: h, by: last.by, before: last}).note(r)
		return
	}
	h.unpaid.note(r)
}

// gatesSeen are the gates that the request has come to, this one among them.
func (v *visit) gatesSeen() []*Handler {
	seen := []*Handler{v.Handler}
	for last := lastPassage(v.r); last != nil; last = last.before {
		if !slices.Contains(seen, last.gate) {
			seen = append(seen, last.gate)
		}
	}
	return seen
}

// gatesBehind are the other gates that cover the request and have not seen it yet.
func (v *visit) gatesBehind() []*Handler {
	var behind []*Handler
	seen := v.gatesSeen()
	for _, gate := range v.app.allGates() {
		if slices.Contains(seen, gate) {
			continue
		}
		if _, err := gate.site(v.r); err != nil {
			continue // of another site
		}
		if reach, err := gate.reach(v.r); err == nil && reach == covered {
			behind = append(behind, gate)
		}
	}
	return behind
}

// gatesThatCover are all gates that the visitor has to pass for the request.
func gatesThatCover(v *visit) []*Handler {
	found := v.gatesBehind()
	for _, gate := range v.gatesSeen() {
		if reach, err := gate.reach(v.r); err == nil && reach == covered {
			found = append(found, gate)
		}
	}
	return found
}

// isForInnerGate reports whether what was added to the address is for a gate behind this
// one. Programs buy at the outermost gate that is shut: they have one token to send.
func (v *visit) isForInnerGate(known *verified) bool {
	if !acceptsHTML(v.r) && !v.isPoll() || len(v.params) == 0 || v.isForThisGate(known) {
		return false
	}
	return len(v.gatesBehind()) > 0
}

// isForThisGate reports whether the gate makes something of what was added to the
// address, other than taking it away.
func (v *visit) isForThisGate(known *verified) bool {
	sells := func(pass string) bool { return v.saleOf(pass) != nil }
	pending := v.readPending(v.r, v.site).here
	switch id := v.params.Get(paramSession); {
	case v.params.Has(paramCheckout):
		return v.params.Get(paramCheckout) == "" || sells(v.params.Get(paramCheckout))
	case v.params.Has(paramReceipt):
		pass := v.params.Get(paramReceipt)
		return sells(pass) || !slices.ContainsFunc(v.gatesBehind(), func(gate *Handler) bool { return gate.saleOf(pass) != nil })
	case v.params.Has(paramDevice):
		pass := v.readDeviceLink().Pass
		return pass == "" || sells(pass)
	case id != "":
		return slices.ContainsFunc(pending, func(entry session.Pending) bool { return entry.Session == id })
	case v.params.Has(paramCancelled):
		return len(pending) > 0
	case v.params.Has(paramRestart):
		return v.isUsedUp(known)
	}
	return false
}
