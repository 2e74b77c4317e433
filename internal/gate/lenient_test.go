package gate

// This file imitates servers that read paths more leniently than Caddy. It shares no code with urlpath on purpose.

import (
	"math/rand/v2"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// A step is one thing that a lenient server does to a path.
type step func(string) string

// servers are orders of steps that servers are known for, or might well have.
var servers = map[string][]step{
	"tomcat":        {stripParams, percent, backslashes, dotSegments},
	"tomcat behind": {percent, stripParams, backslashes, dotSegments},
	"iis":           {percent, iisEscapes, overlong, backslashes, cutStreams, trimEnds, dotSegments, trimEnds},
	"iis twice":     {percent, percent, iisEscapes, percent, backslashes, dotSegments, trimEnds, dotSegments},
	"php":           {percent, cutNUL, dotSegments},
	"php twice":     {percent, percent, cutNUL, backslashes, dotSegments},
	"cgi":           {percent, overlong, cutNUL, cutQuery, dotSegments},
	"windows":       {percent, backslashes, cutStreams, dotSegments, trimEnds, dotSegments},
	"old proxy":     {dotSegments, percent, overlong, percent, dotSegments},
	"normalizer":    {percent, fullWidth, percent, backslashes, dotSegments},
	"naive prefix":  {percent}, // routes by prefix and never resolves dots
	"everything":    nil,       // all steps until nothing changes
}

var everything = []step{percent, iisEscapes, overlong, fullWidth, backslashes, stripParams, cutStreams, cutNUL, cutQuery, trimEnds, dotSegments}

// lenientServer names a lenient server that finds the path of a request line in the folder /paid/.
func lenientServer(raw string) (server string, yes bool) {
	for name, steps := range servers {
		p := raw
		for _, do := range steps {
			p = do(p)
		}
		if steps == nil {
			for range 64 {
				before := p
				for _, do := range everything {
					p = do(p)
				}
				if p == before {
					break
				}
			}
		}
		for strings.Contains(p, "//") {
			p = strings.ReplaceAll(p, "//", "/")
		}
		if strings.HasPrefix(asciiLower(p)+"/", "/paid/") {
			return name, true
		}
	}
	return "", false
}

func asciiLower(p string) string {
	out := []byte(p)
	for i, c := range out {
		if 'A' <= c && c <= 'Z' {
			out[i] = c + 'a' - 'A'
		}
	}
	return string(out)
}

var (
	escapes    = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)
	iisEscaped = regexp.MustCompile(`%[uU][0-9A-Fa-f]{4}`)
)

func hexValue(digits string) uint64 {
	value, _ := strconv.ParseUint(digits, 16, 16)
	return value
}

func percent(p string) string {
	return escapes.ReplaceAllStringFunc(p, func(s string) string { return string([]byte{byte(hexValue(s[1:]))}) }) //nolint:gosec // two digits
}

func iisEscapes(p string) string {
	return iisEscaped.ReplaceAllStringFunc(p, func(s string) string { return string(rune(hexValue(s[2:]))) }) //nolint:gosec // four digits
}

// overlong decodes UTF-8 without asking whether the form is the shortest.
func overlong(p string) string {
	var out []byte
	for i := 0; i < len(p); i++ {
		length, value := 1, int(p[i])
		switch {
		case p[i]&0xe0 == 0xc0:
			length, value = 2, int(p[i]&0x1f)
		case p[i]&0xf0 == 0xe0:
			length, value = 3, int(p[i]&0x0f)
		case p[i]&0xf8 == 0xf0:
			length, value = 4, int(p[i]&0x07)
		}
		whole := i+length <= len(p)
		for j := 1; j < length && whole; j++ {
			whole = p[i+j]&0xc0 == 0x80
			value = value<<6 | int(p[i+j]&0x3f)
		}
		if length > 1 && whole && value < 0x80 {
			out = append(out, byte(value))
			i += length - 1
			continue
		}
		out = append(out, p[i])
	}
	return string(out)
}

func fullWidth(p string) string {
	return strings.Map(func(c rune) rune {
		if c >= 0xff01 && c <= 0xff5e {
			return c - 0xff01 + '!'
		}
		return c
	}, p)
}

func backslashes(p string) string { return strings.ReplaceAll(p, `\`, "/") }

func segments(p string, change func(string) string) string {
	parts := strings.Split(p, "/")
	for i := range parts {
		parts[i] = change(parts[i])
	}
	return strings.Join(parts, "/")
}

func before(p, mark string) string {
	if i := strings.Index(p, mark); i >= 0 {
		return p[:i]
	}
	return p
}

func stripParams(p string) string {
	return segments(p, func(s string) string { return before(s, ";") })
}

func cutStreams(p string) string {
	return segments(p, func(s string) string { return before(s, ":") })
}

func cutNUL(p string) string   { return before(p, "\x00") }
func cutQuery(p string) string { return before(before(p, "?"), "#") }

// trimEnds is what Windows does to the name of each folder.
func trimEnds(p string) string {
	return segments(p, func(s string) string {
		if name := strings.TrimRight(s, " "); name == "." || name == ".." {
			return name
		}
		return strings.TrimRight(s, ". ")
	})
}

func dotSegments(p string) string {
	slash := strings.HasSuffix(p, "/")
	p = path.Clean("/" + p)
	if slash && p != "/" {
		p += "/"
	}
	return p
}

// tokens are what obfuscations are made of. A byte above ASCII in the fuzzer's input stands for one of them, so that
// to mutate a byte is to mutate the obfuscation.
var tokens = []string{
	"/paid", "paid", "/paid/", "/x/", "/free/", "/..", "/../", "..", ".", "/.", "/./", "//", ";", ";v=1", ":", "::$DATA", `\`, "?", "#",
	"%25", "%252f", "%2f", "%5c", "%255c", "%2e", "%252e", "%2e%2e", "%00", "%2500", "%20", "%09", "%3b", "%3a", "%3f", "%23", "%70", "%2570", "%50", "%61", "%69d",
	"%c0%af", "%c0%ae", "%c1%9c", "%c1%b0", "%e0%80%af", "%e0%81%b0", "%f0%80%81%b0", "%c0", "%af", "%ff", "%25c0%25af", "%c0%80",
	"%25u002f", "%25u002e", "%25u005c", "%25u0070", "%25u", "%ef%bc%8f", "%ef%bd%90", "%ef%bc%8e", "%ef%bc%85", "%E2%84%AA", "%c2%a0", "%e2%80%8b",
	"p", "P", "a", "id", "ID", "%2", "5", "70", "2f", "%", "u", "c", "..;", "../", "...", "%20.", ".%20", "..%20", ".html", ".gz", "/index.html",
}

// fromTokens turns the fuzzer's input into a path.
func fromTokens(input string) string {
	var out strings.Builder
	for i := range len(input) {
		if input[i] < 0x80 {
			out.WriteByte(input[i])
		} else {
			out.WriteString(tokens[int(input[i]-0x80)%len(tokens)])
		}
	}
	return out.String()
}

// seeds are inputs with which a fuzzer begins.
var seeds = []string{
	"/", "/paid/a", "/paid", "/PAID", "/%70aid/a", "/%2570aid", "/%25252570aid", "/paid;v=1/a", `/\paid\a`, "/paid%00/a", "//paid", "/./paid", "/x/%2e%2e/paid/a", "/paid%2fa",
	"/x/..;/paid/a", "/paid%25u002fa", "/paid%c0%afa", "/%ef%bd%90aid", "/paid./a", "/paid::$DATA", "/x/..%20/paid", "/paid/../a", "/%c1%b0aid", "/x/..%c1%9c/paid", "/paid%23", "/paid?x",
	"/a%20b/c;d=e:f%3Fg%23h/..%5c.%2e/", "/%E2%84%AA%25u0070", "/;/..;/%25%32%66/...%20/:/%ff%c0%80",
	"/%C4%B0%C8%BA.gz", "/%ED%A0%80.php/%25uD800", "/%F0%80/index.html%25u00", "/İẞ%252", // lower case of another length
}

// randomPaths returns paths made of tokens, the same ones each time.
func randomPaths(n int) []string {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // repeatable on purpose
	paths := make([]string, n)
	for i := range paths {
		input := []byte("/")
		for range 1 + random.IntN(7) {
			input = append(input, byte(0x80+random.IntN(len(tokens)))) //nolint:gosec // there are fewer than 128
		}
		paths[i] = fromTokens(string(input))
	}
	return paths
}
