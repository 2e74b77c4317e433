package paywall

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"path"
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

// filePath is the one spelling of a file's path: without repeated slashes, dot segments, or a slash or the name of
// an index file behind the file's. A folder's may have a slash at the end, which a site may want or not.
func filePath(p string) string {
	p = caddyhttp.CleanPath("/"+p, true)
	for {
		bare := strings.TrimSuffix(p, "/")
		for _, index := range indexes {
			if folder, ok := cutEnding(bare, index); ok {
				bare = folder
				break
			}
		}
		if bare == p || !isFile(bare) {
			return p
		}
		p = bare
	}
}

// isFile reports whether the last name of a path has an ending, as those of files have.
func isFile(p string) bool { return strings.Contains(path.Base(p), ".") }

// canonicalPath is the spelling by which a path is looked up in a table: a folder has no slash at the end.
func canonicalPath(p string) string { return samePage(filePath(p)) }

// isRouted reports whether an application may route a request by something else than its path.
func isRouted(address *url.URL) bool {
	_, byQuery := queryRoute(address)
	return byQuery || len(findScripts(caddyhttp.CleanPath(address.Path, true), scripts)) > 0
}

// atPath calls f while the request has another path: Caddy's placeholders read it where it stands.
func atPath(r *http.Request, path string, f func()) {
	if path == r.URL.Path {
		f()
		return
	}
	address := *r.URL
	defer func() { *r.URL = address }()
	r.URL.Path, r.URL.RawPath = path, ""
	f()
}

// isRewritten reports whether the site has changed more of a path than its beginning.
func isRewritten(r *http.Request) bool { return !strings.HasSuffix(originalURL(r).Path, r.URL.Path) }

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
