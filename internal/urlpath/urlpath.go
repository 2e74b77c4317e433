// Package urlpath decides which addresses are the same page. All paths begin with a slash and are decoded, as in
// [url.URL.Path], unless a function says otherwise.
//
//   - A page has one path ([Clean], [Page], [File]), by which it is sold, priced and opened.
//   - An alias is another path that commonly leads to the same content ([Aliases]). A request by one is one for the page.
//   - A route is a path by which an application may serve a request instead of its own ([Routes]).
//   - An obfuscation is a path that Caddy reads as one page and a lenient server as another ([Obfuscations]), or that a
//     header names ([Overrides]). A request whose obfuscation leads to a gated page is refused.
//   - Query parameters of the gate itself begin with axra_. They are no part of a page's address ([CleanQuery]).
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

// File removes slashes and index files behind the name of a file, and those of the root. Other folders stay as they are.
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

// CookiePaths are the spellings of a path, which browsers compare byte by byte, for the cookie of its page.
func CookiePaths(address *url.URL) []string {
	var paths []string
	for _, p := range []string{address.EscapedPath(), (&url.URL{Path: address.Path}).EscapedPath(), escapeAsBrowser(address.Path)} {
		if p = "/" + strings.Trim(strings.TrimSuffix(p, "/index.html"), "/"); !slices.Contains(paths, p) {
			paths = append(paths, p)
		}
	}
	return paths
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
