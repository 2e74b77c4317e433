package response

import (
	"net/http"
	"slices"
	"strings"
)

// sharedOnly are directives for shared caches (RFC 9111, section 5.2.2).
var sharedOnly = []string{"public", "private", "s-maxage", "proxy-revalidate"}

// privateLines holds the header lines that makePrivate writes, allocated together with their writer. The header points
// into it, so use it for one header only.
type privateLines [3]string

// makePrivate keeps shared caches from storing a response. To name a request header twice in Vary does no harm.
func (lines *privateLines) makePrivate(header http.Header) {
	*lines = privateLines{"private", "", "Cookie, Authorization"}
	// Vary first, as file_server has set it: a map of eight entries grows at the next assignment, even to a known key,
	// and that takes longer than the rest of this function.
	switch vary := header["Vary"]; len(vary) {
	case 0:
		header["Vary"] = lines[2:]
	case 1:
		lines[1] = vary[0]
		header["Vary"] = lines[1:]
	default:
		header["Vary"] = append(vary, lines[2])
	}
	if said := header["Cache-Control"]; len(said) > 0 {
		lines[0] = privateDirectives(said)
	}
	header["Cache-Control"] = lines[:1:1]
	// Some shared caches read these instead of Cache-Control (RFC 9213).
	for name := range header {
		if strings.HasSuffix(name, "Cdn-Cache-Control") || name == "Surrogate-Control" || name == "X-Accel-Expires" {
			delete(header, name)
		}
	}
}

// privateDirectives returns Cache-Control without the directives for shared caches.
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
