// Package urlpath decides which addresses are the same page. What a gate covers, prices, sells, links and opens is
// computed from these rules:
//
//   - The canonical path is the decoded path without repeated slashes and dot segments ([Clean]). A file's path has no
//     slash and no index file behind it ([File]). A page's path has no slash at the end either, and a folder is the
//     page of its index.html ([Page]). Prices and keys are looked up by [Canonical].
//   - An alias is another path that commonly leads to the same content: with or without a slash at the end, with or
//     without the name of an index file, an ending such as .html or .gz, a path behind a script, in lower case
//     ([Aliases]). A request by an alias is treated as one for the page.
//   - A route is a path by which an application may serve a request instead of its own: what follows the name of a
//     script, or a query that begins with a slash ([Routes]). A request by a route is treated as one for the route.
//   - An obfuscation is a path that Caddy reads as one page and a lenient server as another: escapes of escapes, path
//     parameters, backslashes, look-alikes of ASCII ([Obfuscations]), or a header that names another path
//     ([Overrides]). A request whose obfuscation leads to a gated page is refused.
//   - Query parameters of the gate itself begin with axra_. They are no part of a page's address ([CleanQuery]).
//
// All paths begin with a slash and are decoded, as in [url.URL.Path], unless a function says otherwise.
package urlpath

import (
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
)

// Clean removes repeated slashes and dot segments, and keeps a slash at the end.
func Clean(p string) string {
	cleaned := path.Clean("/" + p)
	if cleaned != "/" && strings.HasSuffix(p, "/") {
		cleaned += "/"
	}
	return cleaned
}

// Page is one name for a folder and its index.html, with and without the slash: a file server redirects between them.
func Page(p string) string {
	return "/" + strings.Trim(strings.TrimSuffix(Clean(p), "/index.html"), "/")
}

// File removes slashes and index files behind the name of a file, and those of the root. Other folders stay as they
// are: whether theirs end in a slash is for the site to say.
func File(p string) string {
	p = Clean(p)
	for {
		bare := strings.TrimSuffix(p, "/")
		if folder, ok := cutIndex(bare); ok {
			bare = folder
		}
		switch {
		case bare == "":
			return "/"
		case bare == p, path.Ext(bare) == "":
			return p
		}
		p = bare
	}
}

// Canonical is the path by which prices and keys are looked up.
func Canonical(p string) string { return Page(File(p)) }

// Local makes a target a path of this site. Two slashes, or a slash and a backslash, would name another host (CWE-601).
func Local(target string) string {
	// By bytes: a query need not be UTF-8.
	kept := slices.DeleteFunc([]byte(target), func(c byte) bool { return c < 0x20 || c == 0x7f })
	return "/" + strings.TrimLeft(string(kept), `/\`)
}

// WithPath returns the address with another path.
func WithPath(address *url.URL, p string) *url.URL {
	other := *address
	other.Path, other.RawPath = p, ""
	return &other
}

// CookiePaths are the spellings of a path to which browsers send the cookie of its page. A browser compares them byte
// by byte, so a link may need another one than the address bar.
func CookiePaths(address *url.URL) []string {
	paths := []string{address.EscapedPath(), (&url.URL{Path: address.Path}).EscapedPath(), escapeAsBrowser(address.Path)}
	for i, p := range paths {
		paths[i] = "/" + strings.Trim(strings.TrimSuffix(p, "/index.html"), "/")
	}
	if paths[2] == paths[0] {
		paths = paths[:2]
	}
	return slices.Compact(paths)
}

// escapeAsBrowser escapes what a browser escapes by itself (URL Standard, path percent-encode set).
func escapeAsBrowser(p string) string {
	var escaped strings.Builder
	for i := range len(p) {
		if c := p[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"#%<>?^`{}", c) >= 0 {
			fmt.Fprintf(&escaped, "%%%02X", c)
		} else {
			escaped.WriteByte(c)
		}
	}
	return escaped.String()
}
