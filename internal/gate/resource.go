package gate

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

// PathResource names what is behind the path of a request. Where the path was
// rewritten, as `try_files` does to all articles of an application, it names both
// the address that the visitor knows and what it was rewritten to; an address from
// which only the beginning was cut says both.
func PathResource(r *http.Request) string {
	original, here := OriginalURL(r).Path, r.URL.Path
	if strings.HasSuffix(original, here) {
		return boundedResource(urlpath.Page(original))
	}
	return boundedResource(urlpath.Page(original) + " " + urlpath.Page(here))
}

// KeyResource names what a key sells. It cannot be taken for a path, nor for the whole pass.
func KeyResource(key string) string { return "key:" + boundedResource(key) }

func boundedResource(resource string) string {
	if len(resource) <= maxResource {
		return resource
	}
	sum := sha256.Sum256([]byte(resource))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// ResourceOfPath names what is behind a path that nothing rewrites.
func ResourceOfPath(path string) string { return boundedResource(urlpath.Page(path)) }
