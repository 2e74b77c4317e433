package gate

import (
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/internal/urlpath"
)

// fastMatcher replaces Caddy's matchers if all of them are paths such as `/premium` or `/premium/*` and the request's
// path is plain. It takes 0.04 µs instead of 0.15 for a covered request, and 0.3 µs instead of 2.0 for another; a request
// without a gate takes 15 µs (BenchmarkFastMatcher, BenchmarkRequest).
type fastMatcher struct {
	sets     caddyhttp.MatcherSets
	pages    []string // `/premium`
	prefixes []string // `/premium/`, of `/premium/*`
	enabled  bool
}

func newFastMatcher(sets caddyhttp.MatcherSets) fastMatcher {
	m := fastMatcher{sets: sets, enabled: len(sets) > 0}
	for _, set := range sets {
		var patterns caddyhttp.MatchPath
		if len(set) == 1 {
			if paths, ok := set[0].(*caddyhttp.MatchPath); ok {
				patterns = *paths
			}
		}
		m.enabled = m.enabled && len(patterns) > 0
		for _, pattern := range patterns {
			prefix, isPrefix := strings.CutSuffix(pattern, "*")
			if isPrefix {
				m.prefixes = append(m.prefixes, prefix)
			} else {
				m.pages = append(m.pages, pattern)
			}
			m.enabled = m.enabled && urlpath.IsPlain(prefix)
		}
	}
	return m
}

// match answers as AnyMatchWithError does.
func (m *fastMatcher) match(r *http.Request) (bool, error) {
	if !m.enabled || !urlpath.IsPlain(r.URL.Path) {
		return m.sets.AnyMatchWithError(r)
	}
	return slices.Contains(m.pages, r.URL.Path) ||
		slices.ContainsFunc(m.prefixes, func(prefix string) bool { return strings.HasPrefix(r.URL.Path, prefix) }), nil
}

// isFar reports whether neither a path nor its aliases can match: path and pattern differ before either ends. Each
// alias is a beginning of the path, with at most a slash or one name added.
func (m *fastMatcher) isFar(path string) bool {
	isNear := func(pattern string) bool {
		pattern, path := strings.TrimSuffix(pattern, "/"), strings.TrimSuffix(path, "/")
		return strings.HasPrefix(pattern, path) || strings.HasPrefix(path, pattern)
	}
	return m.enabled && urlpath.IsPlain(path) && !slices.ContainsFunc(m.pages, isNear) && !slices.ContainsFunc(m.prefixes, isNear)
}
