package paywall

import (
	"context"
	"net/http"
	"net/url"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/text/unicode/norm"
)

// reach says what a request has to do with a gate.
type reach int

const (
	outside   reach = iota // not the gate's business
	covered                // gated
	ambiguous              // gated or not, depending on who reads the path
)

// overrides are request headers from which some application servers take the
// path in place of the request line's.
var overrides = []string{
	"X-Original-Url", "X-Original-Uri", "X-Rewrite-Url", "X-Forwarded-Uri", "X-Forwarded-Path",
}

// reach decides whether the gate covers a request. Caddy's own matchers decide,
// but not only about the path as Caddy reads it: a file server or an application
// behind may read the same bytes as another path. Where such a reading is an
// everyday one (a slash at the end, an index file, a compressed sidecar, the
// address before a rewrite) the gate covers it; where only a disguise leads
// behind the gate, the request is ambiguous, and refused.
func (h *Handler) reach(r *http.Request) (reach, error) {
	if len(h.matchers) == 0 {
		return covered, nil
	}
	if match, err := h.matchers.AnyMatchWithError(r); err != nil || match {
		return covered, err // a matcher that fails must not open the gate
	}
	for _, reading := range everydayReadings(r) {
		if match, err := h.matchesAt(r, reading); err != nil || match {
			return covered, err
		}
	}
	disguised, sane := disguises(r)
	if !sane {
		return ambiguous, nil
	}
	for _, reading := range disguised {
		if match, err := h.matchesAt(r, reading); err != nil || match {
			return ambiguous, err
		}
	}
	return outside, nil
}

// matchesAt asks the gate's matchers about another reading of the path.
func (h *Handler) matchesAt(r *http.Request, reading string) (bool, error) {
	other := *r
	address := *r.URL
	address.Path, address.RawPath = reading, ""
	other.URL = &address
	if h.pathMatchersOnly {
		return h.matchers.AnyMatchWithError(&other)
	}
	// Matchers other than path read placeholders, which must speak of the other
	// path too.
	replacer := caddyhttp.NewTestReplacer(&other)
	return h.matchers.AnyMatchWithError(other.WithContext(
		context.WithValue(r.Context(), caddy.ReplacerCtxKey, replacer)))
}

// originalURL is the address as the client sent it, before any rewrite.
func originalURL(r *http.Request) *url.URL {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && original.URL != nil {
		return original.URL
	}
	return r.URL
}

// sidecars are the endings of precompressed files that lie beside the original.
var sidecars = []string{".gz", ".br", ".zst"}

// everydayReadings lists the paths that commonly lead to the same content.
func everydayReadings(r *http.Request) []string {
	paths := []string{r.URL.Path}
	if original := originalURL(r); original.Path != r.URL.Path {
		paths = append(paths, original.Path)
	}
	var readings []string
	for i, p := range paths {
		if i > 0 {
			readings = append(readings, p)
		}
		clean := caddyhttp.CleanPath(p, true)
		bare := strings.TrimSuffix(clean, "/")
		readings = append(readings, bare+"/", bare+"/index.html", bare+"/index.txt")
		if bare != "" {
			readings = append(readings, bare)
		}
		if lower := strings.ToLower(clean); lower != clean {
			readings = append(readings, lower)
		}
		for _, ending := range sidecars {
			if original, ok := strings.CutSuffix(strings.ToLower(bare), ending); ok {
				readings = append(readings, original)
			}
		}
	}
	return readings
}

// Bounds of the search for disguises.
const (
	maxReadings = 96
	maxRounds   = 4
)

// disguises lists what else the path could be taken for. It is not sane where
// there are too many readings to follow, which no honest path has.
func disguises(r *http.Request) (readings []string, sane bool) {
	start := suspects(r)
	if len(start) == 0 {
		return nil, true
	}
	seen := make(map[string]bool)
	for _, p := range start {
		seen[p] = true
	}
	frontier := start
	for round := 0; round < maxRounds && len(frontier) > 0; round++ {
		var next []string
		for _, p := range frontier {
			for _, unmask := range unmaskings {
				other := unmask(p)
				if other == p || seen[other] {
					continue
				}
				if len(seen) >= maxReadings {
					return nil, false
				}
				seen[other] = true
				next = append(next, other)
			}
		}
		frontier = next
	}
	for p := range seen {
		if !strings.HasPrefix(p, "/") {
			p = "/" + p
		}
		bare := strings.TrimSuffix(caddyhttp.CleanPath(p, true), "/")
		readings = append(readings, p, bare+"/", bare+"/index.html")
		if bare != "" {
			readings = append(readings, bare)
		}
	}
	return readings, true
}

// suspects are the paths of a request that could be a disguise, before it is
// known for what.
func suspects(r *http.Request) []string {
	var found []string
	add := func(p string) {
		if p != "" && suspicious(p) {
			found = append(found, p)
		}
	}
	add(r.URL.Path)
	add(r.URL.EscapedPath())
	if original := originalURL(r); original != r.URL {
		add(original.Path)
	}
	for _, name := range overrides {
		for _, value := range r.Header[name] {
			address, _, _ := strings.Cut(value, "?")
			if parsed, err := url.Parse(address); err == nil {
				address = parsed.Path
			}
			if address != "" {
				found = append(found, address)
			}
		}
	}
	return found
}

// suspicious reports whether a path holds anything that two readers may read
// differently.
func suspicious(p string) bool {
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '-', c == '_', c == '~':
		case c == '/':
			if i+1 < len(p) && p[i+1] == '/' {
				return true
			}
		case c == '.':
			// A dot at the end of a segment, which also finds "." and "..".
			if i+1 == len(p) || p[i+1] == '/' {
				return true
			}
		default:
			return true
		}
	}
	return false
}

// unmaskings are what lenient readers do to a path.
var unmaskings = []func(string) string{
	unescapeOnce,
	unescapeUnicode,
	func(p string) string { return strings.ReplaceAll(p, `\`, "/") },
	func(p string) string { return eachSegment(p, cutAt(";")) }, // path parameters (RFC 3986, section 3.3)
	func(p string) string { return eachSegment(p, cutAt(":")) }, // alternate data streams
	func(p string) string {
		return eachSegment(p, func(s string) string { return strings.TrimRight(s, ". \t") })
	},
	cutAt("\x00"), cutAt("?"), cutAt("#"), cutAt("%00"),
	func(p string) string { return strings.Map(dropControls, p) },
	foldUnicode,
	func(p string) string { return path.Clean("/" + p) },
	// Readers that take a dot segment for a name like any other.
	func(p string) string {
		return eachSegment(p, func(s string) string {
			if s == "." || s == ".." {
				return "_"
			}
			return s
		})
	},
}

func cutAt(mark string) func(string) string {
	return func(p string) string {
		before, _, _ := strings.Cut(p, mark)
		return before
	}
}

func eachSegment(p string, change func(string) string) string {
	segments := strings.Split(p, "/")
	for i, segment := range segments {
		if segment == ".." && change("..") == "" {
			continue // trimming dots must not turn a step up into nothing
		}
		segments[i] = change(segment)
	}
	return strings.Join(segments, "/")
}

// unescapeOnce decodes the percent escapes that are well formed and leaves the
// others.
func unescapeOnce(p string) string {
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

// unescapeUnicode decodes %u002f, as IIS does.
func unescapeUnicode(p string) string {
	lower := strings.ToLower(p)
	if !strings.Contains(lower, "%u00") {
		return p
	}
	var out strings.Builder
	for i := 0; i < len(p); i++ {
		if strings.HasPrefix(lower[i:], "%u00") && i+5 < len(p) {
			if decoded, err := url.PathUnescape("%" + p[i+4:i+6]); err == nil {
				out.WriteString(decoded)
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

// foldUnicode maps look-alikes of ASCII to ASCII: compatibility forms such as
// full-width letters, and the overlong UTF-8 forms of slash, dot and back-slash
// that old decoders accept.
func foldUnicode(p string) string {
	if !utf8.ValidString(p) {
		p = strings.NewReplacer(
			"\xc0\xaf", "/", "\xe0\x80\xaf", "/", "\xf0\x80\x80\xaf", "/",
			"\xc0\xae", ".", "\xe0\x80\xae", ".",
			"\xc1\x9c", "/", "\xc0\x80", "\x00",
		).Replace(p)
	}
	if strings.IndexFunc(p, func(c rune) bool { return c > unicode.MaxASCII }) < 0 {
		return p
	}
	return strings.NewReplacer("∕", "/", "⁄", "/", "⧸", "/", "＼", "/", "∖", "/").Replace(norm.NFKC.String(p))
}
