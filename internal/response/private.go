package response

import (
	"net/http"
	"slices"
	"strings"
)

// sharedOnly are directives that speak to shared caches (RFC 9111, section 5.2.2).
var sharedOnly = []string{"public", "private", "s-maxage", "proxy-revalidate"}

// privateLines is memory for the header lines that MakePrivate writes, allocated together with their writer. The header
// points into it, so it serves one header only.
type privateLines [3]string

// MakePrivate keeps shared caches from storing an answer.
func MakePrivate(header http.Header) { new(privateLines).makePrivate(header) }

func (lines *privateLines) makePrivate(header http.Header) {
	*lines = privateLines{"private", "", "Cookie, Authorization"}
	// Vary first: file_server has set it. A map of eight grows at the next assignment, even of a known key, which takes
	// longer than everything else here.
	switch vary := header["Vary"]; {
	case len(vary) == 0:
		header["Vary"] = lines[2:]
	case varies(vary, "Cookie") || varies(vary, "Authorization"):
		AddVary(header, "Cookie")
		AddVary(header, "Authorization")
	case len(vary) == 1:
		lines[1] = vary[0]
		header["Vary"] = lines[1:]
	default:
		header["Vary"] = append(vary, lines[2])
	}
	if said := header["Cache-Control"]; len(said) > 0 {
		lines[0] = privateDirectives(said)
	}
	header["Cache-Control"] = lines[:1:1]
	// Some shared caches read these in place of Cache-Control (RFC 9213).
	for name := range header {
		if strings.HasSuffix(name, "Cdn-Cache-Control") || name == "Surrogate-Control" || name == "X-Accel-Expires" {
			delete(header, name)
		}
	}
}

// privateDirectives returns Cache-Control without what speaks to shared caches.
func privateDirectives(lines []string) string {
	directives := []string{"private"}
	for _, line := range lines {
		for directive := range strings.SplitSeq(line, ",") {
			directive = strings.TrimSpace(directive)
			name, _, _ := strings.Cut(strings.ToLower(directive), "=")
			if directive != "" && !slices.Contains(sharedOnly, name) {
				directives = append(directives, directive)
			}
		}
	}
	return strings.Join(directives, ", ")
}

// AddVary adds a request header to those that the answer depends on.
func AddVary(header http.Header, field string) {
	if !varies(header["Vary"], field) {
		header.Add("Vary", field)
	}
}

// varies reports whether Vary lines name a request header.
func varies(lines []string, field string) bool {
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.TrimSpace(name); name == "*" || strings.EqualFold(name, field) {
				return true
			}
		}
	}
	return false
}
