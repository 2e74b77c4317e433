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
	maxSuspicious = 8 << 10 // bytes of a path
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
		if isSuspicious(p) {
			found = append(found, p)
		}
	}
	return found
}

func isSuspicious(p string) bool {
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '-', c == '_', c == '~':
		case c == '/':
			if i+1 < len(p) && p[i+1] == '/' {
				return true
			}
		case c == '.':
			// At the end of a segment, which also finds "." and "..".
			if i+1 == len(p) || p[i+1] == '/' {
				return true
			}
		default:
			return true
		}
	}
	return false
}

// Obfuscations lists the paths themselves and what lenient servers make of them. A form with an escape left is omitted,
// because its decoded form is listed. It is not ok if there are more forms than an honest path has.
func Obfuscations(paths []string) (forms []string, ok bool) {
	known := make(map[string]bool)
	var found []string
	for _, p := range paths {
		if len(p) > maxSuspicious {
			return nil, false
		}
		if !known[p] {
			known[p] = true
			found = append(found, p)
		}
	}
	for i := 0; i < len(found); i++ {
		for _, decode := range lenientServers {
			form := decode(found[i])
			if !strings.HasPrefix(form, "/") {
				form = "/" + form
			}
			if known[form] {
				continue
			}
			if len(found) >= maxForms {
				return nil, false
			}
			known[form] = true
			found = append(found, form)
		}
	}
	return slices.DeleteFunc(found, func(p string) bool { return unescape(p) != p }), true
}

// lenientServers are the ways in which servers decode a path.
var lenientServers = []func(string) string{
	unescape,
	unescapeIIS,
	func(p string) string { return strings.ReplaceAll(p, `\`, "/") },
	eachSegment(cutAt(";")), // path parameters (RFC 3986, section 3.3)
	eachSegment(cutAt(":")), // alternate data streams
	eachSegment(func(s string) string { return strings.TrimRight(s, ". \t") }),
	eachSegment(func(s string) string { return strings.Trim(s, " \t") }),
	cutAt("\x00"), cutAt("?"), cutAt("#"), cutAt("%00"),
	func(p string) string { return strings.Map(dropControls, p) },
	foldUnicode,
	func(p string) string { return path.Clean("/" + p) },
	eachSegment(dotsAsName),
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

// dotsAsName is for servers that take a dot segment for a name.
func dotsAsName(segment string) string {
	if segment == "." || segment == ".." {
		return "_"
	}
	return segment
}

// unescape decodes the percent escapes that are well formed.
func unescape(p string) string {
	if !strings.Contains(p, "%") {
		return p
	}
	var out strings.Builder
	for i := 0; i < len(p); i++ {
		if p[i] == '%' && i+2 < len(p) {
			if decoded, err := url.PathUnescape(p[i : i+3]); err == nil {
				out.WriteString(decoded)
				i += 2
				continue
			}
		}
		out.WriteByte(p[i])
	}
	return out.String()
}

// unescapeIIS decodes %u002f, as IIS does.
func unescapeIIS(p string) string {
	var out strings.Builder
	for i := 0; i < len(p); i++ {
		if p[i] == '%' && i+5 < len(p) && (p[i+1] == 'u' || p[i+1] == 'U') {
			if code, err := strconv.ParseUint(p[i+2:i+6], 16, 16); err == nil {
				out.WriteRune(rune(code))
				i += 5
				continue
			}
		}
		out.WriteByte(p[i])
	}
	return out.String()
}

func dropControls(c rune) rune {
	if unicode.IsControl(c) || unicode.Is(unicode.Cf, c) {
		return -1
	}
	return c
}

// lookAlikes are slashes and dots that best-fit tables map to ASCII and NFKC does not.
var lookAlikes = strings.NewReplacer(
	"\u2044", "/", "\u2215", "/", "\u29f8", "/", "\u2571", "/",
	"\u2216", "/", "\u29f5", "/", "\u29f9", "/",
	"\u3002", ".",
)

// foldUnicode maps look-alikes of ASCII to ASCII: overlong UTF-8, and compatibility forms such as full-width letters.
func foldUnicode(p string) string {
	if !utf8.ValidString(p) {
		p = shortenUTF8(p)
	}
	if strings.IndexFunc(p, func(c rune) bool { return c > unicode.MaxASCII }) < 0 {
		return p
	}
	return lookAlikes.Replace(norm.NFKC.String(p))
}

// shortenUTF8 decodes ASCII in two, three or four bytes, which old decoders accept (RFC 3629, section 10).
func shortenUTF8(p string) string {
	continued := func(i int) bool { return i < len(p) && p[i]&0xc0 == 0x80 }
	var out strings.Builder
	for i := 0; i < len(p); i++ {
		switch {
		case (p[i] == 0xc0 || p[i] == 0xc1) && continued(i+1):
			out.WriteByte(p[i]&1<<6 | p[i+1]&0x3f)
			i++
		case p[i] == 0xe0 && i+1 < len(p) && (p[i+1] == 0x80 || p[i+1] == 0x81) && continued(i+2):
			out.WriteByte(p[i+1]&1<<6 | p[i+2]&0x3f)
			i += 2
		case p[i] == 0xf0 && i+2 < len(p) && p[i+1] == 0x80 && (p[i+2] == 0x80 || p[i+2] == 0x81) && continued(i+3):
			out.WriteByte(p[i+2]&1<<6 | p[i+3]&0x3f)
			i += 3
		default:
			out.WriteByte(p[i])
		}
	}
	return out.String()
}
