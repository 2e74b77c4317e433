package preflight

import (
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/urlpath"
)

// checkLogs finds logs whose readers find addresses that open purchases.
func (c *checker) checkLogs(r *report) {
	for i := range c.logs {
		fields := strings.Join(c.keptSecrets(&c.logs[i]), ", ")
		for _, at := range c.gates {
			// Whoever reads a visitor's address can use the purchase in another browser.
			isOpen := at.gate.HasLinks || at.gate.Takeover ||
				slices.ContainsFunc(at.gate.Products, func(p *gate.Product) bool { return p.Config.Devices != 1 })
			if fields != "" && isOpen && slices.ContainsFunc(loggersOf(at.server.Logs, at.host), func(name string) bool { return accepts(&c.logs[i], name) }) {
				r.warn(at.host, "add the filter of docs/reference.md, \"Logs\", to the global option `log` and to each `log` with a `format` or `output` of its own",
					"its logs keep secret addresses (private addresses, links for other devices, returns from the checkout) in %s", fields)
			}
		}
	}
}

// keptSecrets names the fields of a request in which a log shows addresses that open purchases.
func (c *checker) keptSecrets(log *caddy.CustomLog) (fields []string) {
	encoder := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
	if log.EncoderRaw != nil {
		module, err := c.loaded.LoadModule(&log.BaseLog, "EncoderRaw")
		if err != nil {
			return nil // Caddy has loaded it
		}
		encoder = module.(zapcore.Encoder)
		if defaulted, ok := module.(caddy.ConfiguresFormatterDefault); ok {
			_ = defaulted.ConfigureDefaultFormat(caddy.DiscardWriter{})
		}
	}
	address := func(secret string) string {
		return "/?" + urlpath.ParamSession + "=" + secret + "&" + urlpath.ParamDevice + "=" + secret + "&" + urlpath.ParamLink + "=" + secret
	}
	request := &http.Request{Method: http.MethodGet, RequestURI: address("in-uri"), Header: http.Header{"Referer": {"https://example.com" + address("in-referer")}}}
	response := http.Header{"Location": {address("in-location")}}
	line, err := encoder.EncodeEntry(zapcore.Entry{Message: "handled request"}, []zap.Field{
		zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: request}), zap.Object("resp_headers", caddyhttp.LoggableHTTPHeader{Header: response}),
	})
	for _, field := range [][2]string{{"in-uri", "request>uri"}, {"in-referer", "request>headers>Referer"}, {"in-location", "resp_headers>Location"}} {
		if err == nil && strings.Contains(line.String(), field[0]) {
			fields = append(fields, field[1])
		}
	}
	return fields
}

// accepts reports whether a log takes what a logger of requests logs, by the rules of [caddy.CustomLog].
func accepts(log *caddy.CustomLog, logger string) bool {
	return slices.ContainsFunc([]string{"http.log.access.", "http.log.error."}, func(kind string) bool {
		longest := func(namespaces []string) (length int) {
			for _, namespace := range namespaces {
				if namespace == "*" || strings.HasPrefix(kind+logger+".", namespace+".") {
					length = max(length, len(namespace))
				}
			}
			return length
		}
		return longest(log.Include) > longest(log.Exclude) || len(log.Include) == 0 && longest(log.Exclude) == 0
	})
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
