package paywall

import (
	"context"
	"maps"
	"net"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
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
	"X-Original-Url", "X-Original-Uri", "X-Original-Path", "X-Envoy-Original-Path",
	"X-Rewrite-Url", "X-Rewrite-Uri", "X-Override-Url", "X-Http-Destinationurl",
	"X-Forwarded-Uri", "X-Forwarded-Url", "X-Forwarded-Path", "X-Replaced-Path",
	"X-Request-Uri", "Request-Uri", "X-Waws-Unencoded-Url",
}

// reach decides whether the gate covers a request. Caddy's own matchers decide,
// but not only about the path as Caddy reads it: a file server or an application
// behind may read the same bytes as another path. Where such a reading is an
// everyday one (a slash at the end, an index file, a compressed sidecar, the
// address before a rewrite) the gate covers it; where only a disguise leads
// behind the gate, the request is ambiguous, and refused.
//
// What a `not` matcher exempts stays exempt under everyday readings: with `not
// path /login`, a visitor of /login need not pay because /login/ is not exempt.
func (h *Handler) reach(r *http.Request) (reach, error) {
	if len(h.matchers) == 0 {
		return covered, nil
	}
	if match, err := h.quickly.matches(r); err != nil || match {
		return covered, err // a matcher that fails must not open the gate
	}
	original := originalURL(r)
	if r.URL.Opaque != "" || original.Opaque != "" {
		return ambiguous, nil // "GET http:paid/a": a proxy passes on what has no path
	}
	if !h.pathMatchersOnly {
		if !wellFormed(r.URL.RawQuery) {
			return ambiguous, nil // a query matcher sees none of it, an application may
		}
	}
	if !h.quickly.isFar(r.URL.Path) {
		if match, err := h.matchesAny(r, everyday(r.URL.Path), r); err != nil || match {
			return covered, err
		}
	}
	if original.Path != r.URL.Path {
		if match, err := h.matchesAny(r, everyday(original.Path), r); err != nil || match {
			return covered, err
		}
	}
	if reach, err := h.routed(r, original); err != nil || reach != outside {
		return reach, err
	}
	return h.disguised(r, original)
}

// routed is the part of reach about paths by which an application behind may route in place of the
// request's own.
func (h *Handler) routed(r *http.Request, original *url.URL) (reach, error) {
	for _, address := range []*url.URL{original, r.URL} {
		routes, tooMany := applicationRoutes(address)
		for _, route := range routes {
			if match, err := h.coversAt(r, route); err != nil || match {
				return covered, err
			}
		}
		if tooMany {
			return ambiguous, nil
		}
		if address.Path == r.URL.Path && address.RawQuery == r.URL.RawQuery {
			break // nobody has rewritten it
		}
	}
	return outside, nil
}

// coversPathInfo reports whether the gate covers what follows a script's name in one reading of a disguised
// path. More than one script counts as covered: each of many readings would be tried with each of them.
func (h *Handler) coversPathInfo(r *http.Request, reading string) (bool, error) {
	if len(findScripts(reading, named)) > 1 {
		return true, nil
	}
	infos, tooMany := pathInfos(reading)
	if tooMany {
		return true, nil
	}
	for _, info := range infos {
		if match, err := h.coversAt(r, info); err != nil || match {
			return true, err
		}
	}
	return false, nil
}

// coversAt reports whether the gate covers a request when it is read as one for another path.
func (h *Handler) coversAt(r *http.Request, reading string) (bool, error) {
	other := h.at(r, reading)
	if match, err := h.matchers.AnyMatchWithError(other); err != nil || match {
		return true, err
	}
	return h.matchesAny(r, everyday(reading), other)
}

func wellFormed(query string) bool {
	_, err := url.ParseQuery(query)
	return err == nil
}

// disguised is the part of reach that looks behind disguises.
func (h *Handler) disguised(r *http.Request, original *url.URL) (reach, error) {
	found := append(overriding(r, original), suspects(r.URL)...)
	if len(found) == 0 && original.Path == r.URL.Path && original.RawPath == r.URL.RawPath {
		return outside, nil // as most paths are
	}
	here, sane := readingsOf(r, found)
	if !sane {
		return ambiguous, nil
	}
	for reading := range here {
		if reading == r.URL.Path || unescapeOnce(reading) != reading {
			continue // reach has asked about it, or its decoded form is among them too
		}
		if match, err := h.coversAt(r, reading); err != nil || match {
			return ambiguous, err
		}
		if match, err := h.coversPathInfo(r, reading); err != nil || match {
			return ambiguous, err
		}
	}
	if original.Path == r.URL.Path {
		return outside, nil
	}
	before, sane := readingsOf(r, suspects(original))
	if !sane {
		return ambiguous, nil
	}
	for reading := range before {
		if match, err := h.matchesAny(r, everyday(reading), r); err != nil || match {
			return ambiguous, err
		}
		if match, err := h.coversPathInfo(r, reading); err != nil || match {
			return ambiguous, err
		}
	}
	return outside, nil
}

// halves are the matchers of one set: those that are asked about other readings of a
// path, and the `not` matchers.
type halves struct{ plain, negated caddyhttp.MatcherSet }

func inHalves(sets caddyhttp.MatcherSets) []halves {
	divided := make([]halves, len(sets))
	for i, set := range sets {
		for _, matcher := range set {
			if _, ok := matcher.(*caddyhttp.MatchNot); ok {
				divided[i].negated = append(divided[i].negated, matcher)
			} else {
				divided[i].plain = append(divided[i].plain, matcher)
			}
		}
	}
	return divided
}

// matchesAny asks the gate's matchers about other readings of the path; its `not`
// matchers are asked about the request exempt.
func (h *Handler) matchesAny(r *http.Request, readings []string, exempt *http.Request) (bool, error) {
	for _, set := range h.divided {
		if len(set.plain) == 0 {
			continue // it depends on exempt alone, which has been asked about
		}
		if match, err := set.negated.MatchWithError(exempt); err != nil || !match {
			if err != nil {
				return true, err
			}
			continue
		}
		if match, err := h.matchesOneOf(set.plain, r, readings); err != nil || match {
			return match, err
		}
	}
	return false, nil
}

func (h *Handler) matchesOneOf(set caddyhttp.MatcherSet, r *http.Request, readings []string) (bool, error) {
	var other *http.Request
	for _, reading := range readings {
		if other == nil || !h.pathMatchersOnly {
			other = h.at(r, reading)
		} else {
			other.URL.Path = reading // nothing else of the request has been made from the path
		}
		if match, err := set.MatchWithError(other); err != nil || match {
			return match, err
		}
	}
	return false, nil
}

// at is the request with another path.
func (h *Handler) at(r *http.Request, reading string) *http.Request {
	other := *r
	address := *r.URL
	address.Path, address.RawPath = reading, ""
	other.URL = &address
	other.Host = plainHost(r.Host)
	if h.pathMatchersOnly {
		return &other
	}
	// Matchers other than path read placeholders, which must speak of the other
	// path too; those that other handlers have set stay.
	ctx := r.Context()
	if vars, ok := ctx.Value(caddyhttp.VarsCtxKey).(map[string]any); ok {
		ctx = context.WithValue(ctx, caddyhttp.VarsCtxKey, maps.Clone(vars))
	}
	at := other.WithContext(ctx)
	replacer := caddyhttp.NewTestReplacer(at)
	if own, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		replacer.Map(own.Get)
	}
	return at
}

// plainHost takes the dot from the end of a host name.
func plainHost(host string) string {
	if !strings.HasSuffix(host, ".") && !strings.Contains(host, ".:") {
		return host
	}
	if name, port, err := net.SplitHostPort(host); err == nil && strings.HasSuffix(name, ".") {
		return net.JoinHostPort(strings.TrimSuffix(name, "."), port)
	}
	return strings.TrimSuffix(host, ".")
}

// originalURL is the address as the client sent it, before any rewrite.
func originalURL(r *http.Request) *url.URL {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && original.URL != nil {
		return original.URL
	}
	return r.URL
}

// Names under which content is commonly served as well.
var (
	// sidecars are the endings of precompressed files that lie beside the original.
	sidecars = []string{".gz", ".br", ".zst"}
	// indexes are the files that stand for their folder.
	indexes = []string{
		"/index.html", "/index.htm", "/index.txt", "/index.php", "/index.asp", "/index.aspx", "/index.jsp",
		"/default.html", "/default.htm", "/default.asp", "/default.aspx",
	}
	// endings are left out of addresses, as with `try_files {path} {path}.html`.
	endings = []string{".html", ".htm", ".php"}
	// scripts may be followed by a path of their own, as in /article.php/more.
	scripts = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?i)\.(php[0-9]?|pht|phtml|phar|aspx?|ashx|asmx|axd|svc|jspx?|cfml?|cfc|f?cgi|wsgi|pl|py)/`)
	})
	// named are names with any ending of a script, before more of the path: /v1.2/ has none.
	named = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?i)\.[a-z][a-z0-9]{0,7}/`) })
)

// Bounds of a path with scripts in it; no honest one has more.
const (
	maxScripts    = 4
	maxScriptDirs = 16 // folders above a script
)

// findScripts returns where names with the endings begin and end that are followed by more of the path, up to one
// more than there may be.
func findScripts(p string, endings func() *regexp.Regexp) [][]int {
	if !hasFolderWithDot(p) {
		return nil
	}
	return endings().FindAllStringIndex(p, maxScripts+1)
}

// hasFolderWithDot reports whether more of a path follows a name with a dot, as most paths have not.
func hasFolderWithDot(p string) bool {
	_, behind, dot := strings.Cut(p, ".")
	return dot && strings.Contains(behind, "/")
}

// pathInfos are the paths that follow the name of a script, as in /blog/public/index.php/premium/post. Front
// controllers route by them (PATH_INFO, RFC 3875, section 4.1.5), some below a folder of the script.
func pathInfos(p string) (infos []string, tooMany bool) {
	if !hasFolderWithDot(p) {
		return nil, false
	}
	p = caddyhttp.CleanPath("/"+p, true)
	found := findScripts(p, named)
	for _, script := range found {
		info, folder := p[script[1]-1:], path.Dir(p[:script[1]-1])
		if len(found) > maxScripts || strings.Count(folder, "/") > maxScriptDirs {
			return nil, true
		}
		for ; folder != "/" && info != "/"; folder = path.Dir(folder) {
			infos = append(infos, folder+info)
		}
		infos = append(infos, info)
	}
	return infos, false
}

// applicationRoutes are the paths by which an application may route a request in place of its path: what
// follows a script's name, and a query that is a path, as in /?/premium/post.
func applicationRoutes(address *url.URL) (routes []string, tooMany bool) {
	routes, tooMany = pathInfos(address.Path)
	if route, ok := queryRoute(address); ok {
		infos, tooManyInQuery := pathInfos(route)
		routes = append(append(routes, route), infos...)
		tooMany = tooMany || tooManyInQuery || suspicious(route)
	}
	return routes, tooMany
}

// queryRoute is the path with which a query begins.
func queryRoute(address *url.URL) (route string, ok bool) {
	if !strings.HasPrefix(address.RawQuery, "/") {
		return "", false
	}
	route, _, _ = strings.Cut(address.RawQuery, "&")
	return unescapeOnce(route), true
}

// everyday lists the paths that commonly lead to the same content. It cuts and adds at the
// end alone, on which isFar relies.
func everyday(p string) []string {
	clean := caddyhttp.CleanPath("/"+p, true)
	readings := sameContent(clean)
	if lower := strings.ToLower(clean); lower != clean {
		readings = append(readings, sameContent(lower)...)
	}
	return readings
}

func sameContent(clean string) []string {
	bare := strings.TrimSuffix(clean, "/")
	readings := make([]string, 0, 8)
	readings = append(readings, bare+"/")
	// Only what can be a folder has an index file.
	if bare != clean || !strings.Contains(path.Base(bare), ".") {
		readings = append(readings, bare+"/index.html")
	}
	if bare != clean {
		readings = append(readings, bare+"/index.txt")
	}
	if bare != "" {
		readings = append(readings, bare)
	}
	for _, ending := range sidecars {
		if name, ok := cutEnding(bare, ending); ok {
			bare = name
			readings = append(readings, name)
			break
		}
	}
	for _, script := range findScripts(bare, scripts) {
		readings = append(readings, bare[:script[1]-1], bare[:script[0]])
	}
	for _, index := range indexes {
		if folder, ok := cutEnding(bare, index); ok {
			readings = append(readings, folder, folder+"/")
		}
	}
	for _, ending := range endings {
		if name, ok := cutEnding(bare, ending); ok {
			readings = append(readings, name, name+"/")
		}
	}
	return readings
}

// cutEnding is strings.CutSuffix in any case of ASCII letters.
func cutEnding(p, ending string) (string, bool) {
	at := len(p) - len(ending)
	if at < 0 || !strings.EqualFold(p[at:], ending) {
		return p, false
	}
	return p[:at], true
}

// Bounds of the search for disguises.
const (
	maxReadings   = 96
	maxSuspicious = 8 << 10 // bytes of a path
)

// readingsVar holds what was last found out about suspicious paths of the request: every
// gate asks the same.
const readingsVar = "axra.readings"

type foundReadings struct {
	of       []string
	readings map[string]bool
	sane     bool
}

// readingsOf is disguises, once for all gates that a request comes to. The map is not to
// be changed.
func readingsOf(r *http.Request, paths []string) (readings map[string]bool, sane bool) {
	if len(paths) == 0 {
		return nil, true
	}
	known, _ := caddyhttp.GetVar(r.Context(), readingsVar).([]foundReadings)
	for _, found := range known {
		if slices.Equal(found.of, paths) {
			return found.readings, found.sane
		}
	}
	readings, sane = disguises(paths)
	if len(known) < 4 {
		caddyhttp.SetVar(r.Context(), readingsVar, append(slices.Clip(known), foundReadings{paths, readings, sane}))
	}
	return readings, sane
}

// disguises returns what else the paths could be taken for, and the paths
// themselves. It is not sane where there is too much to follow, which no honest
// path has.
func disguises(paths []string) (readings map[string]bool, sane bool) {
	readings = make(map[string]bool)
	var frontier []string
	for _, p := range paths {
		if len(p) > maxSuspicious {
			return nil, false
		}
		if !readings[p] {
			readings[p] = true
			frontier = append(frontier, p)
		}
	}
	for len(frontier) > 0 {
		p := frontier[0]
		frontier = frontier[1:]
		for _, unmask := range unmaskings {
			other := unmask(p)
			if !strings.HasPrefix(other, "/") {
				other = "/" + other
			}
			if readings[other] {
				continue
			}
			if len(readings) >= maxReadings {
				return nil, false
			}
			readings[other] = true
			frontier = append(frontier, other)
		}
	}
	return readings, true
}

// suspects are the paths of an address that could be a disguise, before it is
// known for what.
func suspects(address *url.URL) []string {
	var found []string
	for _, p := range []string{address.Path, address.EscapedPath(), address.RawPath} {
		if suspicious(p) {
			found = append(found, p)
		}
	}
	return found
}

// overriding are the paths that headers name in place of the request line's.
func overriding(r *http.Request, original *url.URL) []string {
	var found []string
	for _, name := range overrides {
		for _, value := range r.Header[name] {
			p := value
			if scheme, rest, ok := strings.Cut(value, "://"); ok && !strings.Contains(scheme, "/") {
				_, p, _ = strings.Cut(rest, "/")
			}
			p, _, _ = strings.Cut(p, "?")
			p = "/" + strings.TrimPrefix(p, "/")
			if p == "/" && value != "/" || p == original.Path || p == original.EscapedPath() || p == r.URL.Path {
				continue // an honest proxy repeats the request line
			}
			found = append(found, p)
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
	func(p string) string {
		return eachSegment(p, func(s string) string { return strings.Trim(s, " \t") })
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

// lookAlikes are slashes and dots that NFKC leaves as they are, though tables of
// best fits do not.
var lookAlikes = strings.NewReplacer(
	"\u2044", "/", "\u2215", "/", "\u29f8", "/", "\u2571", "/",
	"\u2216", "/", "\u29f5", "/", "\u29f9", "/",
	"\u3002", ".",
)

// foldUnicode maps look-alikes of ASCII to ASCII: overlong UTF-8, which old
// decoders accept, and compatibility forms such as full-width letters.
func foldUnicode(p string) string {
	if !utf8.ValidString(p) {
		p = shortenUTF8(p)
	}
	if strings.IndexFunc(p, func(c rune) bool { return c > unicode.MaxASCII }) < 0 {
		return p
	}
	return lookAlikes.Replace(norm.NFKC.String(p))
}

// shortenUTF8 decodes overlong forms of ASCII: two, three or four bytes where one
// would do (RFC 3629, section 10).
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
