package paywall

import (
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/preflight"
)

// warnNested tells the owner of two gates that cover one request.
func (a *App) warnNested(servers map[string]*caddyhttp.Server) {
	if len(a.allGates()) < 2 {
		return
	}
	for _, two := range preflight.Overlaps(servers, describer()) {
		a.logger.Warn("two gates cover one request, so visitors pay twice, which is probably a mistake: "+
			"exempt the path in the matcher of one of them with `not path`",
			zap.Strings("gates", []string{two.Outer.Name, two.Inner.Name}), zap.String("host", two.Host), zap.String("path", two.Path))
	}
}
