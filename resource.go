package paywall

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/caddy-axra/paywall/internal/urlpath"
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
		return bounded(urlpath.Page(original))
	}
	return bounded(urlpath.Page(original) + " " + urlpath.Page(here))
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
