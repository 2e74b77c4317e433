package paywall

import (
	"net/http"
	"strings"

	"github.com/mileusna/useragent"
)

// isNavigation reports whether a person's browser is about to show the answer as
// a page. Prefetches, sub-resources, programs and crawlers are not.
func isNavigation(r *http.Request) bool {
	mode, dest := r.Header.Get("Sec-Fetch-Mode"), r.Header.Get("Sec-Fetch-Dest")
	switch {
	case r.Method != http.MethodGet, !acceptsHTML(r):
		return false
	case mode != "" && mode != "navigate", dest != "" && dest != "document":
		return false
	case r.Header.Get("Sec-Purpose") != "", r.Header.Get("Purpose") != "", r.Header.Get("X-Moz") != "":
		return false
	case r.Header.Get("Upgrade") != "", r.Header.Get("X-Requested-With") != "":
		return false
	}
	return !isCrawler(r.UserAgent())
}

// isCrawler errs on the side of people: a crawler that is missed costs one unpaid
// session, a person who is taken for one a click.
func isCrawler(agent string) bool {
	return len(agent) <= 1024 && agent != "" && useragent.Parse(agent).Bot
}

func acceptsHTML(r *http.Request) bool {
	for _, line := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(line, ",") {
			kind, _, _ := strings.Cut(part, ";")
			kind = strings.ToLower(strings.TrimSpace(kind))
			if kind == "text/html" || kind == "application/xhtml+xml" {
				return true
			}
		}
	}
	return false
}
