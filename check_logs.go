package paywall

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	gates "github.com/caddy-axra/paywall/internal/gate"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-axra/paywall/internal/urlpath"
)

// requestLog is a log of the configuration, with what encodes its lines.
type requestLog struct {
	*caddy.CustomLog
	encoder zapcore.Encoder // nil for one that filters nothing
}

// requestLogs loads the encoders of all logs.
func requestLogs(ctx caddy.Context, logging *caddy.Logging) ([]requestLog, error) {
	configured := map[string]*caddy.CustomLog{caddy.DefaultLoggerName: {}} // which Caddy adds
	if logging != nil {
		for name, log := range logging.Logs {
			configured[name] = log
		}
	}
	var logs []requestLog
	for name, log := range configured {
		found := requestLog{CustomLog: log}
		if log.EncoderRaw != nil {
			module, err := ctx.LoadModule(&log.BaseLog, "EncoderRaw")
			if err != nil {
				return nil, fmt.Errorf("log %s: %w", name, err)
			}
			found.encoder, _ = module.(zapcore.Encoder)
		}
		logs = append(logs, found)
	}
	return logs, nil
}

// accepts reports whether the log takes lines of a logger: the longest name in include or exclude
// that the logger's begins with decides.
func (l requestLog) accepts(logger string) bool {
	longest := func(names []string) int {
		length := 0
		for _, name := range names {
			if name == "*" || strings.HasPrefix(logger+".", name+".") {
				length = max(length, len(name))
			}
		}
		return length
	}
	included, excluded := longest(l.Include), longest(l.Exclude)
	return included > excluded || len(l.Include) == 0 && excluded == 0
}

// sampleValue stands for the value of a parameter that must not be logged.
const sampleValue = "axra-check-sample"

// leaked is the field of a line in which the log shows a secret, "" for none.
func (l requestLog) leaked() string {
	address := "/?" + urlpath.ParamSession + "=" + sampleValue + "&" + urlpath.ParamDevice + "=" + sampleValue + "&" + urlpath.ParamLink + "=" + sampleValue
	line := func(uri, referer, location string) string {
		r := &http.Request{Method: http.MethodGet, RequestURI: uri, Header: http.Header{"Referer": {referer}}}
		fields := []zap.Field{
			zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: r}),
			zap.Object("resp_headers", caddyhttp.LoggableHTTPHeader{Header: http.Header{"Location": {location}}}),
		}
		if l.encoder == nil {
			return uri + referer + location
		}
		text, err := l.encoder.Clone().EncodeEntry(zapcore.Entry{}, fields)
		if err != nil {
			return ""
		}
		return text.String()
	}
	switch {
	case strings.Contains(line(address, "", ""), sampleValue):
		return "request>uri"
	case strings.Contains(line("/", "https://example.com"+address, ""), sampleValue):
		return "request>headers>Referer"
	case strings.Contains(line("/", "", address), sampleValue):
		return "resp_headers>Location"
	}
	return ""
}

// checkLogs finds logs in which anybody who reads them finds addresses that open what was paid for.
func (e *examination) checkLogs() []finding {
	found := &remarks{check: "logs"}
	told := make(map[string]bool)
	for _, at := range e.spots(isGate) {
		gate, _ := at.handler.(*Handler)
		if !gate.givesAddresses() || told[at.host] || !logsAccess(at.server.Logs, at.host) {
			continue
		}
		if field := e.leakedField(at.server.Logs, at.host); field != "" {
			told[at.host] = true
			found.warn(at.host, "add the filter of docs/reference.md, \"Logs\", to the global option `log` and to each `log` with a `format` or `output` of its own",
				"its logs keep secret addresses, of private addresses, other devices and returns from the checkout, in %s", field)
		}
	}
	return found.orOK("no log keeps an address that opens what was paid for")
}

// givesAddresses reports whether who reads an address of a visitor can use the purchase.
func (h *Handler) givesAddresses() bool {
	return h.Links != nil || h.Claim != "" || slices.ContainsFunc(h.gate.Products, func(p *gates.Product) bool { return p.Config.Devices != 1 })
}

// leakedField is where a log of requests for a host shows secrets.
func (e *examination) leakedField(conf *caddyhttp.ServerLogConfig, host string) string {
	for _, name := range loggerNames(conf, host) {
		for _, kind := range []string{"http.log.access", "http.log.error"} {
			logger := strings.TrimSuffix(kind+"."+name, ".")
			for _, log := range e.logs {
				if log.accepts(logger) {
					if field := log.leaked(); field != "" {
						return field
					}
				}
			}
		}
	}
	return ""
}

// loggerNames follows ServerLogConfig.getLoggerHosts.
func loggerNames(conf *caddyhttp.ServerLogConfig, host string) []string {
	if names, ok := conf.LoggerNames[host]; ok {
		return names
	}
	labels := strings.Split(host, ".")
	for i := range labels {
		labels[i] = "*"
		if names, ok := conf.LoggerNames[strings.Join(labels, ".")]; ok {
			return names
		}
	}
	return []string{conf.DefaultLoggerName}
}

// logsAccess follows Server.shouldLogRequest.
func logsAccess(conf *caddyhttp.ServerLogConfig, host string) bool {
	if conf == nil {
		return false
	}
	matches := func(pattern string) bool { return certmagic.MatchWildcard(host, pattern) }
	for pattern := range conf.LoggerNames {
		if matches(pattern) {
			return true
		}
	}
	return !slices.ContainsFunc(conf.SkipHosts, matches) && !conf.SkipUnmappedHosts
}
