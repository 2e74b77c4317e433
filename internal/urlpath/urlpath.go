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
	"encoding/base64"
	"fmt"
	"net/url"
	"path"
	"regexp"
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

// Spelled returns the address with another path, escaped as browsers do.
func Spelled(address *url.URL, p string) *url.URL {
	other := WithPath(address, p)
	other.RawPath = escapeAsBrowser(p)
	return other
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

// Query parameters that a gate adds to a page's address and removes again.
const (
	ParamSession   = "axra_session"   // success URL: the session's id
	ParamCancelled = "axra_cancelled" // cancel URL
	ParamRestart   = "axra_restart"   // asks for a new checkout
	ParamTry       = "axra_try"       // how often the waiting page has looked
	ParamQuery     = "axra_query"     // the page's own query, in base64url
	ParamHere      = "axra_here"      // already sent to the site's own address
	ParamCheckout  = "axra_checkout"  // the product to buy
	ParamStatus    = "axra_status"    // a program asks about its checkout
	ParamReceipt   = "axra_receipt"   // asks for the receipt, perhaps of one product
	ParamExtend    = "axra_extend"    // asks for more time of what is open
	ParamDevice    = "axra_device"    // opens a purchase on another device
	ParamDeviceID  = "axra_device_id" // in a form: the id of the device to add
	ParamLink      = "axra_link"      // opens one address without a cookie
	ParamProgram   = "axra_program"   // success URL: a program has started the checkout
)

// paramPrefix begins the names of all of them.
const paramPrefix = "axra_"

// MaxTarget is the length in bytes of the longest address that can be sold: it travels to Axra and back.
const MaxTarget = 2048

// MayHaveParams reports whether an address or a query may hold parameters of the gate.
func MayHaveParams(address string) bool { return strings.Contains(address, paramPrefix) }

// Params reads the gate's parameters and no others, so that a long query costs nothing.
func Params(rawQuery string) url.Values {
	params := make(url.Values)
	for part := range strings.SplitSeq(rawQuery, "&") {
		if name, value, _ := strings.Cut(part, "="); strings.HasPrefix(name, paramPrefix) {
			decoded, err := url.QueryUnescape(value)
			if err != nil || len(decoded) > 2*MaxTarget {
				decoded = ""
			}
			params.Set(name, decoded)
		}
	}
	return params
}

// CleanQuery removes the gate's parameters and leaves the rest byte for byte. It reports whether a query remains.
func CleanQuery(rawQuery string) (query string, found bool) {
	if !MayHaveParams(rawQuery) {
		return rawQuery, rawQuery != ""
	}
	kept := slices.DeleteFunc(strings.Split(rawQuery, "&"), func(part string) bool { return strings.HasPrefix(part, paramPrefix) })
	return strings.Join(kept, "&"), len(kept) > 0
}

// CleanAddress removes the gate's parameters from an address, absolute or not.
func CleanAddress(address string) string {
	before, query, _ := strings.Cut(address, "?")
	if !MayHaveParams(query) {
		return address
	}
	query, fragment, hasFragment := strings.Cut(query, "#")
	if kept, found := CleanQuery(query); found {
		before += "?" + kept
	}
	if hasFragment {
		before += "#" + fragment
	}
	return before
}

// Target is the escaped path and query of an address, without the gate's parameters.
func Target(address *url.URL) string {
	target := Local(address.EscapedPath())
	query, found := CleanQuery(address.RawQuery)
	if found || address.RawQuery == "" && address.ForceQuery {
		target = Local(target + "?" + inRequestLine.Replace(query))
	}
	return target
}

// FullTarget is the escaped path and query of an address, with the gate's parameters.
func FullTarget(address *url.URL) string { return Local(address.RequestURI()) }

// OriginalTarget is Target in the bytes that the browser sent before the checkout, if the success URL came back in
// others. A client can write it, so it serves for redirects and decides nothing.
func OriginalTarget(address *url.URL) string {
	target := Target(address)
	value := Params(address.RawQuery).Get(ParamQuery)
	if value == "" || len(target) > 3*MaxTarget { // ReturnURL escapes braces
		return target
	}
	before, query, _ := strings.Cut(target, "?")
	original, err := base64.RawURLEncoding.DecodeString(value)
	sent, _ := url.ParseQuery(string(original)) // what cannot be parsed is left out
	returned, _ := url.ParseQuery(query)
	if err != nil || len(original) > MaxTarget || sent.Encode() != returned.Encode() {
		return target
	}
	return Local(before + "?" + inRequestLine.Replace(string(original)))
}

// inRequestLine escapes what some clients send in a query and others cut at.
var inRequestLine = strings.NewReplacer("#", "%23", " ", "%20")

// tracking matches the query parameters by which newsletters and social networks follow who clicks on a link. They are
// appended to addresses that others have written, and choose no page.
var tracking = regexp.MustCompile(`^(utm_\w+|fbclid|gclid|gbraid|wbraid|dclid|msclkid|yclid|twclid|ttclid|li_fat_id|igsh(id)?|mc_[ce]id|_hs(enc|mi)|mkt_tok)(=|$)`)

// PageTarget is one name for all spellings of a target: its [Page], with its query but for parameters that only track.
func PageTarget(target string) string {
	p, query, hasQuery := strings.Cut(target, "?")
	if decoded, err := url.PathUnescape(p); err == nil {
		p = decoded
	}
	kept := slices.DeleteFunc(strings.Split(query, "&"), tracking.MatchString)
	if !hasQuery || len(kept) == 0 {
		return Page(p)
	}
	return Page(p) + "?" + strings.Join(kept, "&")
}

// EscapeTarget escapes the path of a target, unless it is escaped.
func EscapeTarget(target string) string {
	p, _, _ := strings.Cut(target, "?")
	address, err := url.Parse(p)
	if err != nil {
		address = &url.URL{Path: p}
	}
	return address.EscapedPath() + strings.TrimPrefix(target, p)
}

// WithParams adds pairs of names and values to the query of a target.
func WithParams(target string, pairs ...string) string {
	target = Local(target)
	for pair := range slices.Chunk(pairs, 2) {
		separator := "?"
		if strings.Contains(target, "?") {
			separator = "&"
		}
		target += separator + pair[0] + "=" + url.QueryEscape(pair[1])
	}
	return target
}

// ReturnURL is the address to which Axra sends the browser back. It has the page's own query twice: as it is, for
// whoever reads it on the way, and in base64url, which comes back byte for byte whoever rewrites the address.
func ReturnURL(origin, target, param, value string) string {
	p, query, hasQuery := strings.Cut(target, "?")
	address := origin + p + "?"
	if hasQuery {
		address += withoutPlaceholders.Replace(query) + "&" + ParamQuery + "=" + base64.RawURLEncoding.EncodeToString([]byte(query)) + "&"
	}
	return address + param + "=" + value
}

// withoutPlaceholders keeps Axra from replacing a part of the page's query.
var withoutPlaceholders = strings.NewReplacer("{", "%7B", "}", "%7D")
