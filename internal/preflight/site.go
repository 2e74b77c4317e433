package preflight

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/internal/gate"
)

// site is a host name of a server.
type site struct {
	name    string // of the server
	server  *caddyhttp.Server
	host    string // "" for any
	siteURL string // of its gates, if they name one
	gateOf  func(caddyhttp.MiddlewareHandler) *gate.Gate
	samples []string            // paths for the patterns of all matchers
	traced  map[string][]*trace // by method
}

// location is a position of a handler in a site.
type location struct {
	site       *site
	handler    caddyhttp.MiddlewareHandler
	gate       *gate.Gate // nil for other handlers
	patterns   []string   // of the path matchers around it, its own first, except those for all paths
	isPathOnly bool       // the matchers around it ask for hosts and known paths only
}

// locate finds the handlers in all sites of all servers.
func (c *checker) locate(servers map[string]*caddyhttp.Server) {
	c.places = make(map[string][]*location)
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		gate.Walk(servers[name], func(handler caddyhttp.MiddlewareHandler, matchers []caddyhttp.MatcherSets) {
			module, found := caddy.GetModuleName(handler), c.GateOf(handler)
			if found != nil {
				matchers = append(slices.Clip(matchers), found.Matcher.Sets)
			}
			patterns, isPathOnly := readMatchers(matchers)
			hosts := gate.HostsAround(matchers)
			if len(hosts) == 0 {
				hosts = []string{""}
			}
			for _, host := range hosts {
				s := c.site(name, servers[name], strings.ReplaceAll(host, "*", sample))
				s.samples = append(s.samples, samplesOf(patterns)...)
				if found != nil {
					s.siteURL = cmp.Or(s.siteURL, found.SiteURL)
				}
				c.places[module] = append(c.places[module], &location{s, handler, found, patterns, isPathOnly})
			}
		})
	}
}

// site returns the site of a host, a new one if need be.
func (c *checker) site(name string, server *caddyhttp.Server, host string) *site {
	if i := slices.IndexFunc(c.sites, func(s *site) bool { return s.name == name && s.host == host }); i >= 0 {
		return c.sites[i]
	}
	s := &site{name: name, server: server, host: host, gateOf: c.GateOf, traced: make(map[string][]*trace)}
	c.sites = append(c.sites, s)
	return s
}

// readMatchers returns the patterns and isPathOnly of a location.
func readMatchers(around []caddyhttp.MatcherSets) (patterns []string, isPathOnly bool) {
	isPathOnly = true
	for _, sets := range slices.Backward(around) {
		for _, matcher := range slices.Concat(sets...) {
			switch m := matcher.(type) {
			case *caddyhttp.MatchPath:
				patterns = append(patterns, *m...)
			case *caddyhttp.MatchHost, *caddyhttp.MatchProtocol:
			default:
				isPathOnly = false
			}
		}
	}
	hasPlaceholder := func(pattern string) bool { return strings.Contains(pattern, "{") }
	isPathOnly = isPathOnly && !slices.ContainsFunc(patterns, hasPlaceholder)
	isLeftOut := func(pattern string) bool { return pattern == "*" || pattern == "/*" || hasPlaceholder(pattern) }
	return slices.DeleteFunc(patterns, isLeftOut), isPathOnly
}

const (
	sample     = "axra-check" // replaces a star in a pattern
	unmatched  = "/" + sample // a path that no pattern names
	maxSamples = 2000         // traced for a site and method
)

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

// traces follow requests for all samples of the site, as they are and in every folder: patterns may begin with a star,
// and `handle_path` strips a prefix.
func (s *site) traces(method string) []*trace {
	if s.traced[method] != nil {
		return s.traced[method]
	}
	samples := sorted(append(slices.Clip(s.samples), unmatched, "/"))
	paths := slices.Clone(samples)
	for _, folder := range samples {
		for _, path := range samples {
			if strings.HasSuffix(folder, "/") && len(paths) < maxSamples {
				paths = append(paths, strings.TrimSuffix(folder, "/")+path)
			}
		}
	}
	for _, path := range sorted(paths) {
		s.traced[method] = append(s.traced[method], s.trace(method, path))
	}
	return s.traced[method]
}

func sorted(texts []string) []string {
	slices.Sort(texts)
	return slices.Compact(texts)
}

// find returns the first request that a condition is true of, nil if there is none.
func (s *site) find(method string, is func(*trace) bool) *trace {
	if i := slices.IndexFunc(s.traces(method), is); i >= 0 {
		return s.traced[method][i]
	}
	return nil
}

func (l *location) subject() string {
	if l.gate == nil {
		return l.site.host
	}
	return "gate " + l.gate.Products[0].Name
}

// takesAll reports whether the handler answers every request of the site.
func (l *location) takesAll(method string) bool {
	return l.site.trace(method, unmatched).answer == l.handler
}

// reached returns a request that reaches the handler before anything answers, nil if there is none.
func (l *location) reached(method string) *trace {
	return l.site.find(method, func(t *trace) bool {
		return t.answer == l.handler || l.gate != nil && slices.Contains(t.gates, l.gate)
	})
}

// missed returns a request that should reach the handler, where none does; nil if that depends on more than paths.
func (l *location) missed(method string) *trace {
	t := l.site.find(method, func(t *trace) bool { return slices.Contains(t.late, l.handler) })
	if t == nil && l.isPathOnly {
		t = l.site.trace(method, append(samplesOf(l.patterns), unmatched)[0])
	}
	return t
}

// unreached reports that no request reaches a handler, and which one should.
func (r *report) unreached(l *location, t *trace, fix string) {
	if t == nil {
		r.note(l.subject(), "whether a request reaches it: that depends on more than paths")
		return
	}
	r.fail(l.subject(), fix, "no request reaches it: %s is answered by %s", t.address(), t.answerer())
}
