package paywall

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/internal/access"
	gates "github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/token"
)

// Gate is a gate of the running configuration, for what is measured or counted within it.
type Gate struct {
	*Handler
}

// OnlyGate is the gate that stands on a server.
func OnlyGate(server *caddyhttp.Server) (Gate, error) {
	var gate Gate
	gates.Walk(server, func(handler caddyhttp.MiddlewareHandler, _ []caddyhttp.MatcherSets) {
		if h, ok := handler.(*Handler); ok {
			gate.Handler = h
		}
	})
	if gate.Handler == nil {
		return gate, errors.New("there is no gate")
	}
	return gate, nil
}

// Covers reports whether the gate covers a request that Caddy has prepared.
func (g Gate) Covers(r *http.Request) bool {
	found, err := g.gate.Matcher.Coverage(r)
	return err == nil && found == gates.Covered
}

// Opens is the decision about a request that the gate covers.
func (g Gate) Opens(r *http.Request) bool {
	site := g.gate.Site(r)
	if site == nil {
		return false
	}
	verdict, _ := g.gate.FindToken(r, site)
	return verdict == access.Open
}

// Read is what a token says.
func (g Gate) Read(raw, site string) (token.Access, error) {
	return g.app.shared.node.Keys.VerifyAccess(raw, site)
}

// Sign signs what a token shall say.
func (g Gate) Sign(granted token.Access) (string, error) {
	raw, _, err := g.app.shared.node.Keys.SignAccess(granted, g.app.SigningAlgorithm)
	return raw, err
}
