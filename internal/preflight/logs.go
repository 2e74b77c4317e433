package preflight

import (
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/urlpath"
)

// checkLogs finds logs whose readers find addresses that open purchases.
func (c *checker) checkLogs(r *report) {
	for at, gate := range handlers[*Gate](c.sites) {
		if !gate.givesAddresses() {
			continue
		}
		if field := c.loggedSecret(loggersOf(at.server.Logs, at.host)); field != "" {
			r.warn(at.host, "add the filter of docs/reference.md, \"Logs\", to the global option `log` and to each `log` with a `format` or `output` of its own",
				"its logs keep secret addresses (private addresses, links for other devices, returns from the checkout) in %s", field)
		}
	}
	r.orOK("", "no log keeps an address that opens a purchase")
}

// givesAddresses reports whether whoever reads a visitor's address can use the purchase.
func (g *Gate) givesAddresses() bool {
	return g.HasLinks || g.Takeover || slices.ContainsFunc(g.Products, func(p *gate.Product) bool { return p.Config.Devices != 1 })
}

// loggersOf names the loggers of requests for a host, as Caddy chooses them.
func loggersOf(logs *caddyhttp.ServerLogConfig, host string) []string {
	if logs == nil {
		return nil
	}
	if names, ok := logs.LoggerNames[host]; ok {
		return names
	}
	matches := func(pattern string) bool { return certmagic.MatchWildcard(host, pattern) }
	for pattern, names := range logs.LoggerNames {
		if matches(pattern) {
			return names
		}
	}
	if logs.SkipUnmappedHosts || slices.ContainsFunc(logs.SkipHosts, matches) {
		return nil
	}
	return []string{logs.DefaultLoggerName}
}

// loggedSecret logs a request with secret parameters, and returns the field in which a log shows them, "" for none.
func (c *checker) loggedSecret(loggers []string) string {
	secret := "/?" + urlpath.ParamSession + "=" + sample + "&" + urlpath.ParamDevice + "=" + sample + "&" + urlpath.ParamLink + "=" + sample
	request := func(uri, referer string) zap.Field {
		r := &http.Request{Method: http.MethodGet, RequestURI: uri, Header: http.Header{"Referer": {referer}}}
		return zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: r})
	}
	for _, logger := range loggers {
		for _, f := range []struct {
			name  string
			field zap.Field
		}{
			{"request>uri", request(secret, "")},
			{"request>headers>Referer", request("/", "https://example.com"+secret)},
			{"resp_headers>Location", zap.Object("resp_headers", caddyhttp.LoggableHTTPHeader{Header: http.Header{"Location": {secret}}})},
		} {
			logged.take()
			for _, kind := range []string{"log.access", "log.error"} {
				c.logger.Named(kind).Named(logger).Error("handled request", f.field)
			}
			if strings.Contains(logged.take(), "="+sample) {
				return f.name
			}
		}
	}
	return ""
}
