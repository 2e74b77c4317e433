package paywall

import (
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// quickMatcher is a gate's or a webhook's own matchers. It answers by itself where these
// are no more than paths such as `/premium` or `/premium/*`, and the request's is as plain:
// Caddy's matchers prepare each path for every kind of pattern, which takes several times as long.
type quickMatcher struct {
	sets     caddyhttp.MatcherSets
	pages    []string // `/premium`
	prefixes []string // `/premium/`, of `/premium/*`
	quick    bool     // there is nothing else
}

func newQuickMatcher(sets caddyhttp.MatcherSets) quickMatcher {
	q := quickMatcher{sets: sets, quick: len(sets) > 0}
	for _, set := range sets {
		var patterns caddyhttp.MatchPath
		if len(set) == 1 {
			if paths, ok := set[0].(*caddyhttp.MatchPath); ok {
				patterns = *paths
			}
		}
		q.quick = q.quick && len(patterns) > 0
		for _, pattern := range patterns {
			prefix, isPrefix := strings.CutSuffix(pattern, "*")
			if isPrefix {
				q.prefixes = append(q.prefixes, prefix)
			} else {
				q.pages = append(q.pages, pattern)
			}
			q.quick = q.quick && isPlainPath(prefix)
		}
	}
	return q
}

// matches is AnyMatchWithError.
func (q *quickMatcher) matches(r *http.Request) (bool, error) {
	if !q.quick || !isPlainPath(r.URL.Path) {
		return q.sets.AnyMatchWithError(r)
	}
	return slices.Contains(q.pages, r.URL.Path) ||
		slices.ContainsFunc(q.prefixes, func(prefix string) bool { return strings.HasPrefix(r.URL.Path, prefix) }), nil
}

// isFar reports whether a path has nothing to do with any pattern, nor has what everyday
// lists for it: path and pattern differ before either ends. Each reading is the path or
// a beginning of it, with a slash or one more name behind.
func (q *quickMatcher) isFar(path string) bool {
	near := func(pattern string) bool {
		pattern, path := strings.TrimSuffix(pattern, "/"), strings.TrimSuffix(path, "/")
		return strings.HasPrefix(pattern, path) || strings.HasPrefix(path, pattern)
	}
	return q.quick && isPlainPath(path) && !slices.ContainsFunc(q.pages, near) && !slices.ContainsFunc(q.prefixes, near)
}

// isPlainPath reports whether a path is what every system takes it for: folders and names
// of lower-case ASCII letters, digits, hyphens and underscores, with single dots amid them.
func isPlainPath(path string) bool {
	separated := true // by a slash, or a dot that a letter must follow
	for i := range len(path) {
		switch c := path[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
			separated = false
		case c == '/' && (i == 0 || !separated), c == '.' && !separated:
			separated = true
		default:
			return false
		}
	}
	return strings.HasPrefix(path, "/") && !strings.HasSuffix(path, ".")
}
