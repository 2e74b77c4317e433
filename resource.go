package paywall

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
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

// isPlain reports whether every reader of the request's address would find the
// same resource in it. A path that is sold by itself must be such a one: what is
// paid for must be what is served.
func isPlain(r *http.Request) bool {
	original := originalURL(r)
	if r.URL.Opaque != "" || original.Opaque != "" {
		return false
	}
	here, before := samePage(r.URL.Path), samePage(original.Path)
	found := append(overriding(r, original), suspects(r.URL)...)
	readings, sane := disguises(append(found, suspects(original)...))
	if !sane {
		return false
	}
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

// cookiePath is the path to which browsers send the cookie of a purchase of one
// path, as it stands in the address bar.
func cookiePath(address *url.URL) string {
	p := strings.TrimSuffix(address.EscapedPath(), "/index.html")
	return "/" + strings.Trim(p, "/")
}
