package paywall

import (
	"maps"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// nestedGates are two gates that cover one request and sell different passes.
type nestedGates struct {
	outer, inner *Handler
	host, path   string // of the request
}

// nested sends requests for sample paths through a server.
func nested(server *caddyhttp.Server, host string, paths []string) []nestedGates {
	var found []nestedGates
	for _, path := range paths {
		gates := follow(server, http.MethodGet, host, path).gates
		for n := 1; n < len(gates); n++ {
			if outer, inner := gates[n-1], gates[n]; outer != inner && !samePasses(outer, inner) {
				found = append(found, nestedGates{outer, inner, host, path})
			}
		}
	}
	return found
}

func samePasses(one, other *Handler) bool {
	names := func(h *Handler) map[string]bool {
		passes := make(map[string]bool)
		for _, product := range h.gate.Products {
			passes[product.Name] = true
		}
		return passes
	}
	return maps.Equal(names(one), names(other))
}

// warnNested tells the owner of two gates that cover one request.
func (a *App) warnNested(servers map[string]*caddyhttp.Server) {
	if len(a.allGates()) < 2 {
		return
	}
	type pair struct{ outer, inner *Handler }
	told := make(map[pair]bool)
	for _, at := range (&examination{servers: servers}).spots(isGate) {
		gate, _ := at.handler.(*Handler)
		for _, two := range nested(at.server, at.host, at.candidates(gate.gate.Matcher.Sets())) {
			if told[pair{two.outer, two.inner}] {
				continue
			}
			told[pair{two.outer, two.inner}] = true
			a.logger.Warn("two gates cover one request, so visitors pay twice, which is probably a mistake: "+
				"exempt the path in the matcher of one of them with `not path`",
				zap.Strings("gates", []string{two.outer.label(), two.inner.label()}), zap.String("host", two.host), zap.String("path", two.path))
		}
	}
}
