package preflight

import (
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"

	"github.com/caddy-axra/paywall/internal/gate"
)

// site is a host name of a server.
type site struct {
	server    *caddyhttp.Server
	host      string // "" for any
	locations []*location
	describe  func(caddyhttp.MiddlewareHandler) any
	known     map[string][]*trace // by method
}

// location is the position of a handler in a site.
type location struct {
	*site
	handler  any                     // described, if it is the plugin's
	matchers []caddyhttp.MatcherSets // around it, its own last
}

// sitesOf finds the sites of all servers.
func sitesOf(servers map[string]*caddyhttp.Server, describe func(caddyhttp.MiddlewareHandler) any) []*site {
	var sites []*site
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		byHost := make(map[string]*site)
		gate.Walk(servers[name], func(handler caddyhttp.MiddlewareHandler, matchers []caddyhttp.MatcherSets) {
			described := describe(handler)
			switch kind := described.(type) {
			case *Gate:
				matchers = append(slices.Clip(matchers), kind.Matcher.Sets)
			case nil:
				described = handler
			}
			hosts := gate.HostsAround(matchers)
			if len(hosts) == 0 {
				hosts = []string{""}
			}
			for _, host := range hosts {
				host = strings.ReplaceAll(host, "*", sample)
				at := byHost[host]
				if at == nil {
					at = &site{server: servers[name], host: host, describe: describe, known: make(map[string][]*trace)}
					byHost[host], sites = at, append(sites, at)
				}
				at.locations = append(at.locations, &location{at, described, matchers})
			}
		})
	}
	return sites
}

// handlers are the locations of handlers of one type, once for each site.
func handlers[T any](sites []*site) iter.Seq2[*location, T] {
	return func(yield func(*location, T) bool) {
		for _, site := range sites {
			for _, at := range site.locations {
				if handler, ok := at.handler.(T); ok && !yield(at, handler) {
					return
				}
			}
		}
	}
}

func hasAny[T any](sites []*site) bool {
	for range handlers[T](sites) {
		return true
	}
	return false
}

// sample replaces a star in a pattern.
const sample = "axra-check"

// samplesOf are paths that a pattern of Caddy's path matcher matches.
func samplesOf(pattern string) []string {
	path := strings.ReplaceAll(pattern, "*", sample)
	if strings.HasPrefix(pattern, "*") {
		path = "/" + path
	}
	if prefix, isPrefix := strings.CutSuffix(pattern, "/*"); isPrefix && !strings.Contains(prefix, "*") {
		return []string{path, prefix + "/"}
	}
	return []string{path}
}

// maxSamples bounds how many requests are traced for a site.
const maxSamples = 2000

// samples are paths for every pattern in the site: as it is, behind each prefix that is stripped, and, if it begins with
// a star, in every folder.
func (s *site) samples() []string {
	var names, folders []string
	for _, at := range s.locations {
		names = append(names, at.samples()...)
	}
	names = distinct(append(names, "/"+sample, "/"))
	for _, name := range names {
		if folder, isFolder := strings.CutSuffix(name, "/"); isFolder {
			folders = append(folders, folder)
		}
	}
	all, prefixes := slices.Clone(names), s.strippedPrefixes()
	for _, name := range names {
		around := prefixes
		if strings.HasPrefix(name, "/"+sample+".") {
			around = slices.Concat(prefixes, folders)
		}
		for _, folder := range around {
			all = append(all, folder+name)
		}
	}
	return all[:min(len(all), maxSamples)]
}

// strippedPrefixes are what handle_path and `uri strip_prefix` remove.
func (s *site) strippedPrefixes() []string {
	var prefixes []string
	for _, r := range handlers[*rewrite.Rewrite]([]*site{s}) {
		if r.StripPathPrefix != "" && !hasPlaceholder(r.StripPathPrefix) {
			prefixes = append(prefixes, "/"+strings.Trim(r.StripPathPrefix, "/"))
		}
	}
	return distinct(prefixes)
}

// traces are those of requests for all samples of the site.
func (s *site) traces(method string) []*trace {
	if s.known[method] == nil {
		for _, path := range s.samples() {
			s.known[method] = append(s.known[method], s.trace(method, path))
		}
	}
	return s.known[method]
}

// find returns the first request that a condition is true of, nil if there is none.
func (s *site) find(method string, is func(*trace) bool) *trace {
	traces := s.traces(method)
	if i := slices.IndexFunc(traces, is); i >= 0 {
		return traces[i]
	}
	return nil
}

// request returns a request that reaches the handler before anything answers or, failing that, one that should. It is nil
// if that depends on more than paths.
func (l *location) request(method string) *trace {
	t := l.find(method, l.isReachedBy)
	if t == nil {
		t = l.find(method, func(t *trace) bool { return slices.Contains(t.shadows, l.handler) })
	}
	if t == nil && l.isPathOnly(method) {
		t = l.trace(method, append(l.samples(), "/"+sample)[0])
	}
	return t
}

func (l *location) isReachedBy(t *trace) bool {
	if gate, isGate := l.handler.(*Gate); isGate {
		return t != nil && slices.Contains(t.gates, gate)
	}
	return t != nil && l.describe(t.answer) == l.handler
}

// patternsOf are those of the path matchers. They do not hold patterns for all paths.
func patternsOf(sets caddyhttp.MatcherSets) (patterns []string) {
	for _, matcher := range slices.Concat(sets...) {
		if m, ok := matcher.(*caddyhttp.MatchPath); ok {
			patterns = append(patterns, *m...)
		}
	}
	return slices.DeleteFunc(patterns, func(p string) bool { return p == "*" || p == "/*" || hasPlaceholder(p) })
}

func hasPlaceholder(pattern string) bool { return strings.Contains(pattern, "{") }

// samples are paths for all patterns around the handler, its own first.
func (l *location) samples() (samples []string) {
	for _, sets := range slices.Backward(l.matchers) {
		for _, pattern := range patternsOf(sets) {
			samples = append(samples, samplesOf(pattern)...)
		}
	}
	return samples
}

// isPathOnly reports whether all matchers around the handler ask for hosts and known paths, for requests of a method.
func (l *location) isPathOnly(method string) bool {
	for _, matcher := range slices.Concat(slices.Concat(l.matchers...)...) {
		switch m := matcher.(type) {
		case *caddyhttp.MatchHost, *caddyhttp.MatchProtocol:
		case *caddyhttp.MatchMethod:
			if !slices.Contains(*m, method) {
				return false
			}
		case *caddyhttp.MatchPath:
			if slices.ContainsFunc(*m, hasPlaceholder) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// takesAll reports whether the handler gets all requests of the site.
func (l *location) takesAll(method string) bool { return l.isPathOnly(method) && len(l.samples()) == 0 }

// matches reports whether all matchers around the handler match a path.
func (l *location) matches(method, path string) bool {
	r := NewRequest(l.server, method, l.host, path)
	return !slices.ContainsFunc(l.matchers, func(sets caddyhttp.MatcherSets) bool {
		match, err := sets.AnyMatchWithError(r)
		return err != nil || !match
	})
}

// distinct drops repetitions and keeps the order.
func distinct(all []string) []string {
	seen := make(map[string]bool, len(all))
	return slices.DeleteFunc(slices.Clone(all), func(one string) bool {
		known := seen[one]
		seen[one] = true
		return known
	})
}
