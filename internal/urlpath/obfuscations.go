package urlpath

import (
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Bounds of the search for obfuscations.
const (
	maxForms      = 96
	maxSuspicious = 2 << 10  // bytes of a path
	maxDecoded    = 16 << 10 // bytes of all forms together
)

// OverrideHeaders are request headers from which some application servers take the path instead of the request line.
var OverrideHeaders = []string{
	"X-Original-Url", "X-Original-Uri", "X-Original-Path", "X-Envoy-Original-Path",
	"X-Rewrite-Url", "X-Rewrite-Uri", "X-Override-Url", "X-Http-Destinationurl",
	"X-Forwarded-Uri", "X-Forwarded-Url", "X-Forwarded-Path", "X-Replaced-Path",
	"X-Request-Uri", "Request-Uri", "X-Waws-Unencoded-Url",
}

// Overrides lists the paths that headers name, other than those of the request line: before and after a rewrite.
func Overrides(header http.Header, original, current *url.URL) []string {
	var found []string
	for _, name := range OverrideHeaders {
		for _, value := range header[name] {
			p := value
			if scheme, rest, ok := strings.Cut(value, "://"); ok && !strings.Contains(scheme, "/") {
				_, p, _ = strings.Cut(rest, "/")
			}
			p, _, _ = strings.Cut(p, "?")
			p = "/" + strings.TrimPrefix(p, "/")
			if p == "/" && value != "/" || p == original.Path || p == original.EscapedPath() || p == current.Path {
				continue // an honest proxy repeats the request line
			}
			found = append(found, p)
		}
	}
	return found
}

// Suspicious lists the spellings of an address's path that two readers may read differently.
func Suspicious(address *url.URL) []string {
	var found []string
	for _, p := range []string{address.Path, address.EscapedPath(), address.RawPath} {
		if IsSuspicious(p) {
			found = append(found, p)
		}
	}
	return found
}

// IsSuspicious reports whether two readers may read a path differently. All read folders and names of ASCII letters,
// digits, hyphens, underscores and tildes alike, with dots that do not end a name.
func IsSuspicious(p string) bool {
	for i := range len(p) {
		switch c := p[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '~':
		case c == '/' && !strings.HasPrefix(p[i+1:], "/"):
		case c == '.' && i+1 < len(p) && p[i+1] != '/':
		default:
			return true
		}
	}
	return false
}

// IsTooObscure reports whether a path is suspicious, and longer than one that is worth decoding.
func IsTooObscure(p string) bool { return len(p) > maxSuspicious && IsSuspicious(p) }

// Obfuscations lists the paths themselves and what lenient servers make of them. A form with an escape left is omitted,
// because its decoded form is listed. It is not ok if there are more forms than an honest path has.
func Obfuscations(paths []string) (forms []string, ok bool) {
	known := make(map[string]bool)
	var found []string
	size := 0
	add := func(p string) {
		if !known[p] {
			known[p] = true
			size += len(p)
			found = append(found, p)
		}
	}
	for _, p := range paths {
		add(p)
	}
	for i := 0; i < len(found); i++ {
		if size > maxDecoded {
			return nil, false
		}
		for _, decode := range lenientServers {
			form := decode(found[i])
			if !strings.HasPrefix(form, "/") {
				form = "/" + form
			}
			if add(form); len(found) > maxForms {
				return nil, false
			}
		}
	}
	return slices.DeleteFunc(found, func(p string) bool { return unescape(p) != p }), true
}

// lenientServers are the ways in which servers decode a path.
var lenientServers = []func(string) string{
	unescape,
	func(p string) string { return strings.ReplaceAll(p, `\`, "/") },
	eachSegment(cutAt(";")), // path parameters (RFC 3986, section 3.3)
	eachSegment(cutAt(":")), // alternate data streams
	eachSegment(func(s string) string { return strings.TrimRight(s, ". \t") }),
	eachSegment(func(s string) string { return strings.Trim(s, " \t") }),
	cutAt("\x00"), cutAt("?"), cutAt("#"), cutAt("%00"),
	func(p string) string {
		return strings.Map(func(c rune) rune {
			if unicode.IsControl(c) || unicode.Is(unicode.Cf, c) {
				return -1
			}
			return c
		}, p)
	},
	foldUnicode,
	func(p string) string { return path.Clean("/" + p) },
	eachSegment(func(s string) string { // a dot segment is a name
		if s == "." || s == ".." {
			return "_"
		}
		return s
	}),
}

func cutAt(mark string) func(string) string {
	return func(p string) string {
		before, _, _ := strings.Cut(p, mark)
		return before
	}
}

func eachSegment(change func(string) string) func(string) string {
	return func(p string) string {
		segments := strings.Split(p, "/")
		for i, segment := range segments {
			if changed := change(segment); changed != "" || segment != ".." { // a step up must not become nothing
				segments[i] = changed
			}
		}
		return strings.Join(segments, "/")
	}
}

// unescape decodes the percent escapes that are well formed, and %u002f, as IIS does.
func unescape(p string) string {
	if !strings.Contains(p, "%") {
		return p
	}
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(p, "%")
		if out.WriteString(before); !found {
			return out.String()
		}
		begin, end := 0, 2
		if rest != "" && rest[0]|0x20 == 'u' {
			begin, end = 1, 5
		}
		p = rest
		if len(rest) < end {
			out.WriteByte('%')
		} else if code, err := strconv.ParseUint(rest[begin:end], 16, 16); err != nil {
			out.WriteByte('%')
		} else if p = rest[end:]; begin == 0 {
			out.WriteByte(byte(code)) //nolint:gosec // two hexadecimal digits
		} else {
			out.WriteRune(rune(code))
		}
	}
}

// lookAlikes are slashes and dots that best-fit tables map to ASCII and NFKC does not.
var lookAlikes = strings.NewReplacer(
	"\u2044", "/", "\u2215", "/", "\u29f8", "/", "\u2571", "/", "\u2216", "/", "\u29f5", "/", "\u29f9", "/", "\u3002", ".",
)

// overlong decodes ASCII in two, three or four bytes, which old decoders accept (RFC 3629, section 10).
var overlong = func() *strings.Replacer {
	var pairs []string
	for i, lead := range []string{"\xc0", "\xe0\x80", "\xf0\x80\x80", "\xc1", "\xe0\x81", "\xf0\x80\x81"} {
		for low := range byte(64) {
			pairs = append(pairs, lead+string([]byte{0x80 | low}), string([]byte{byte(i/3)<<6 | low}))
		}
	}
	return strings.NewReplacer(pairs...)
}()

// foldUnicode maps look-alikes of ASCII to ASCII: overlong UTF-8, and compatibility forms such as full-width letters.
func foldUnicode(p string) string {
	if !utf8.ValidString(p) {
		p = overlong.Replace(p)
	}
	if strings.IndexFunc(p, func(c rune) bool { return c > unicode.MaxASCII }) < 0 {
		return p
	}
	return lookAlikes.Replace(norm.NFKC.String(p))
}
