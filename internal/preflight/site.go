package preflight

import (
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"

	"github.com/caddy-axra/paywall/internal/gate"
)

// site is a host name of a server.
type site struct {
	name     string // of the server
	server   *caddyhttp.Server
	host     string // "" for any
	describe func(caddyhttp.MiddlewareHandler) any
	samples  []string            // paths for the patterns of all matchers
	prefixes []string            // that handle_path and `uri strip_prefix` remove; and ""
	traced   map[string][]*trace // by method
}

// location is a position of a handler in a site.
type location struct {
	*site
	handler  any                     // described
	gate     *Gate                   // nil for the others
	matchers []caddyhttp.MatcherSets // around it, its own last
}

// locate finds the plugin's handlers in all sites of all servers.
func (c *checker) locate(servers map[string]*caddyhttp.Server) {
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		gate.Walk(servers[name], func(handler caddyhttp.MiddlewareHandler, matchers []caddyhttp.MatcherSets) {
			at, list := location{handler: c.Describe(handler), matchers: matchers}, new([]*location)
			switch h := at.handler.(type) {
			case *Gate:
				at.gate, at.matchers, list = h, append(slices.Clip(matchers), h.Matcher.Sets), &c.gates
			case *Webhook:
				list = &c.webhooks
			case *KeySet:
				list = &c.keySets
			}
			hosts := gate.HostsAround(at.matchers)
			if len(hosts) == 0 {
				hosts = []string{""}
			}
			for _, host := range hosts {
				here := at
				here.site = c.site(name, servers[name], strings.ReplaceAll(host, "*", sample))
				*list = append(*list, &here)
				here.samples = append(here.samples, samplesOf(here.patterns())...)
				if r, ok := handler.(*rewrite.Rewrite); ok && r.StripPathPrefix != "" && !hasPlaceholder(r.StripPathPrefix) {
					here.prefixes = append(here.prefixes, "/"+strings.Trim(r.StripPathPrefix, "/"))
				}
			}
		})
	}
}

// site returns the site of a host, a new one if need be.
func (c *checker) site(name string, server *caddyhttp.Server, host string) *site {
	if i := slices.IndexFunc(c.sites, func(s *site) bool { return s.name == name && s.host == host }); i >= 0 {
		return c.sites[i]
	}
	s := &site{name: name, server: server, host: host, describe: c.Describe, prefixes: []string{""}, traced: make(map[string][]*trace)}
	c.sites = append(c.sites, s)
	return s
}

const (
	sample     = "axra-check" // replaces a star in a pattern
	unmatched  = "/" + sample // a path that no pattern names
	maxSamples = 2000         // traced for a site and method
)

// patterns are those of the path matchers around, the innermost first, except patterns for all paths.
func (l *location) patterns() (patterns []string) {
	for _, sets := range slices.Backward(l.matchers) {
		for _, matcher := range slices.Concat(sets...) {
			if m, ok := matcher.(*caddyhttp.MatchPath); ok {
				patterns = append(patterns, *m...)
			}
		}
	}
	return slices.DeleteFunc(patterns, func(p string) bool { return p == "*" || p == "/*" || hasPlaceholder(p) })
}

func hasPlaceholder(pattern string) bool { return strings.Contains(pattern, "{") }

// samplesOf are paths that match patterns of Caddy's path matcher.
func samplesOf(patterns []string) (samples []string) {
	for _, pattern := range patterns {
		samples = append(samples, "/"+strings.TrimPrefix(strings.ReplaceAll(pattern, "*", sample), "/"))
		if folder, isFolder := strings.CutSuffix(pattern, "/*"); isFolder && !strings.Contains(folder, "*") {
			samples = append(samples, folder+"/")
		}
	}
	return samples
}

// traces follow requests for all samples of the site: as they are, behind each prefix that is stripped, and, if they begin
// with a star, in every folder.
func (s *site) traces(method string) []*trace {
	if s.traced[method] != nil {
		return s.traced[method]
	}
	samples := append(slices.Clip(s.samples), unmatched, "/")
	folders := slices.Clone(s.prefixes)
	for _, path := range samples {
		if folder, isFolder := strings.CutSuffix(path, "/"); isFolder {
			folders = append(folders, folder)
		}
	}
	seen := make(map[string]bool)
	for i, folder := range folders {
		for _, path := range samples {
			isSample := i < len(s.prefixes) || strings.HasPrefix(path, unmatched)
			if path = folder + path; isSample && !seen[path] && len(seen) < maxSamples {
				seen[path] = true
				s.traced[method] = append(s.traced[method], s.trace(method, path))
			}
		}
	}
	return s.traced[method]
}

// find returns the first request that a condition is true of, nil if there is none.
func (s *site) find(method string, is func(*trace) bool) *trace {
	for _, t := range s.traces(method) {
		if is(t) {
			return t
		}
	}
	return nil
}

// request returns a request that reaches the handler before anything answers or, failing that, one that should. It is nil
// if that depends on more than paths.
func (l *location) request(method string) (t *trace, isReached bool) {
	t = l.find(method, func(t *trace) bool { return slices.Contains(t.gates, l.gate) || l.describe(t.answer) == l.handler })
	if t != nil {
		return t, true
	}
	t = l.find(method, func(t *trace) bool { return slices.Contains(t.shadows, l.handler) })
	if t == nil && l.isPathOnly() {
		t = l.trace(method, append(samplesOf(l.patterns()), unmatched)[0])
	}
	return t, false
}

// isPathOnly reports whether all matchers around the handler ask for hosts and known paths.
func (l *location) isPathOnly() bool {
	return !slices.ContainsFunc(slices.Concat(slices.Concat(l.matchers...)...), func(matcher any) bool {
		switch m := matcher.(type) {
		case *caddyhttp.MatchHost, *caddyhttp.MatchProtocol:
			return false
		case *caddyhttp.MatchPath:
			return slices.ContainsFunc(*m, hasPlaceholder)
		}
		return true
	})
}

// matches reports whether all matchers around the handler match a path.
func (l *location) matches(method, path string) bool {
	r := NewRequest(l.server, method, l.host, path)
	return !slices.ContainsFunc(l.matchers, func(sets caddyhttp.MatcherSets) bool {
		match, err := sets.AnyMatchWithError(r)
		return err != nil || !match
	})
}
