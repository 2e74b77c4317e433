package preflight

import (
	"bytes"
	"maps"
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

// checkLogs finds logs that record addresses that open purchases.
func (c *checker) checkLogs(r *report) {
	for _, name := range slices.Sorted(maps.Keys(c.logs)) {
		fields, err := c.keptSecrets(c.logs[name])
		if err != nil {
			r.fail("log "+name, "correct its `format`", "%v", err)
		}
		for _, at := range c.gates {
			// Whoever reads a visitor's address can use the purchase in another browser.
			isOpen := at.gate.HasLinks || at.gate.Takeover ||
				slices.ContainsFunc(at.gate.Products, func(p *gate.Product) bool { return p.Config.Devices != 1 })
			takes := func(logger string) bool { return accepts(c.logs[name], logger) }
			if len(fields) > 0 && isOpen && slices.ContainsFunc(loggersOf(at.server.Logs, at.host), takes) {
				r.warn(at.host, "add the filter of docs/reference.md, \"Logs\", to the global option `log` and to each `log` with a `format` or `output` of its own",
					"its logs keep secret addresses (private addresses, links for other devices, returns from the checkout) in %s", strings.Join(fields, ", "))
			}
		}
	}
}

// keptSecrets names the fields of a request in which a log shows addresses that open purchases.
func (c *checker) keptSecrets(log *caddy.CustomLog) (fields []string, err error) {
	encoder := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
	if log.EncoderRaw != nil {
		module, err := c.loaded.LoadModule(&log.BaseLog, "EncoderRaw")
		if err != nil {
			return nil, err
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
		if err == nil && !bytes.Contains(log.WriterRaw, []byte(`"discard"`)) && strings.Contains(line.String(), field[0]) {
			fields = append(fields, field[1])
		}
	}
	return fields, err
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
	matches := func(pattern string) bool { return certmagic.MatchWildcard(host, pattern) }
	names, isMapped := logs.LoggerNames[host]
	for pattern, others := range logs.LoggerNames {
		if !isMapped && matches(pattern) {
			names, isMapped = others, true
		}
	}
	if !isMapped && !logs.SkipUnmappedHosts && !slices.ContainsFunc(logs.SkipHosts, matches) {
		names = []string{logs.DefaultLoggerName}
	}
	return names
}
