package paywall

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// maxResource is the length in bytes up to which a resource is written out in the
// metadata of a checkout session; longer ones are hashed.
const maxResource = 256

// pathResource names what is behind the path of a request. Where the path was
// rewritten, as `try_files` does to all articles of an application, it names both
// the address that the visitor knows and what it was rewritten to; an address from
// which only the beginning was cut says both.
func pathResource(r *http.Request) string {
	original, here := originalURL(r).Path, r.URL.Path
	if strings.HasSuffix(original, here) {
		return bounded(samePage(original))
	}
	return bounded(samePage(original) + " " + samePage(here))
}

// keyResource cannot be taken for a path, nor for the whole pass.
func keyResource(key string) string { return "key:" + bounded(key) }

func bounded(resource string) string {
	if len(resource) <= maxResource {
		return resource
	}
	sum := sha256.Sum256([]byte(resource))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// samePage is one name for a folder and its index file, with and without the
// slash: a file server redirects between them.
func samePage(p string) string {
	p = caddyhttp.CleanPath("/"+p, true)
	p = strings.TrimSuffix(p, "/index.html")
	return "/" + strings.Trim(p, "/")
}

// canonicalPath is the one spelling under which a path is priced, keyed and sold: without repeated slashes,
// dot segments, a slash at the end or the name of an index file.
func canonicalPath(p string) string {
	p = samePage(p)
	for _, index := range indexes {
		if folder, ok := cutEnding(p, index); ok {
			return samePage(folder)
		}
	}
	return p
}

// isRouted reports whether an application may route a request by something else than its path.
func isRouted(address *url.URL) bool {
	routes, few := applicationRoutes(address)
	return len(routes) > 0 || !few
}

// atCanonicalPath calls f while the request has its canonical path: Caddy's placeholders read it where it
// stands. A path that the site has rewritten stays as it is.
func atCanonicalPath(r *http.Request, f func()) {
	canonical := r.URL.Path
	if originalURL(r).Path == r.URL.Path {
		canonical = canonicalPath(r.URL.Path)
	}
	if canonical == r.URL.Path {
		f()
		return
	}
	address := *r.URL
	defer func() { *r.URL = address }()
	r.URL.Path, r.URL.RawPath = canonical, ""
	f()
}

// isPlain reports whether every reader of the request's address would find the
// same resource in it. A path that is sold by itself must be such a one: what is
// paid for must be what is served.
func isPlain(r *http.Request) bool {
	original := originalURL(r)
	if r.URL.Opaque != "" || original.Opaque != "" {
		return false
	}
	found := append(overriding(r, original), suspects(r.URL)...)
	if found = append(found, suspects(original)...); len(found) == 0 {
		return true
	}
	readings, sane := readingsOf(r, found)
	if !sane {
		return false
	}
	here, before := samePage(r.URL.Path), samePage(original.Path)
	for reading := range readings {
		if unescapeOnce(reading) != reading {
			continue // on the way to its decoded form, which is among them too
		}
		if page := samePage(reading); page != here && page != before {
			return false
		}
	}
	return true
}

// cookiePaths are the paths to which browsers send the cookie of a purchase of one
// path: as it stands in the address bar, and as links may spell it otherwise, which a
// browser does not take for the same.
func cookiePaths(address *url.URL) []string {
	paths := make([]string, 0, 3)
	for _, spelling := range []string{
		address.EscapedPath(),
		(&url.URL{Path: address.Path}).EscapedPath(), // all that may be escaped
		browserEscaped(address.Path),                 // no more than must be
	} {
		path := "/" + strings.Trim(strings.TrimSuffix(spelling, "/index.html"), "/")
		if !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	return paths
}

// browserEscaped escapes what a browser escapes in a path by itself (URL Standard, path
// percent-encode set).
func browserEscaped(path string) string {
	var escaped strings.Builder
	for i := range len(path) {
		if c := path[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"#%<>?^`{}", c) >= 0 {
			fmt.Fprintf(&escaped, "%%%02X", c)
		} else {
			escaped.WriteByte(c)
		}
	}
	return escaped.String()
}
