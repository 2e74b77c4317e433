package preflight

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/certmagic"
)

// checkLogs finds logs that record addresses that open purchases.
func (c *checker) checkLogs(r *report) {
	const fix = "add the filter of docs/reference.md, \"Logs\", to the global option `log` " +
		"and to each `log` with a `format` or `output` of its own"
	for _, name := range slices.Sorted(maps.Keys(c.logs)) {
		log := c.logs[name]
		takes := func(logger string) bool {
			isAround := func(namespace string) bool { return strings.HasPrefix("http.log.access."+logger+".", namespace+".") }
			return len(log.Include) == 0 || slices.ContainsFunc(log.Include, isAround) // what it excludes, errors repeat
		}
		fields := unfiltered(log)
		for _, at := range c.places[paywall] {
			if len(fields) > 0 && slices.ContainsFunc(loggersOf(at.site.server.Logs, at.site.host), takes) {
				r.warn(at.site.host, fix, "its logs keep secret addresses in %s: private addresses, "+
					"links for other devices, returns from the checkout", strings.Join(fields, ", "))
			}
		}
	}
}

// unfiltered names the fields in which addresses occur and that the format of a log does not filter.
func unfiltered(log *caddy.CustomLog) []string {
	if bytes.Contains(log.WriterRaw, []byte(`"discard"`)) {
		return nil
	}
	var format struct{ Fields map[string]any }
	_ = json.Unmarshal(log.EncoderRaw, &format) // other formats have no such fields
	fields := []string{"request>uri", "request>headers>Referer", "resp_headers>Location"}
	return slices.DeleteFunc(fields, func(field string) bool { return format.Fields[field] != nil })
}

// loggersOf names the loggers of requests for a host, as Caddy chooses them.
func loggersOf(logs *caddyhttp.ServerLogConfig, host string) (names []string) {
	if logs == nil {
		return nil
	}
	matches := func(pattern string) bool { return certmagic.MatchWildcard(host, pattern) }
	for pattern, others := range logs.LoggerNames {
		if matches(pattern) {
			names = append(names, others...)
		}
	}
	if names == nil && !logs.SkipUnmappedHosts && !slices.ContainsFunc(logs.SkipHosts, matches) {
		names = []string{logs.DefaultLoggerName}
	}
	return names
}
