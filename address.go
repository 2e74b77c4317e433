package paywall

import (
	"bytes"
	"encoding/base64"
	"net/url"
	"strings"
)

// Query parameters that the gate adds to the gated address and takes away again.
const (
	paramSession   = "axra_session"   // success URL: the session's id
	paramCancelled = "axra_cancelled" // cancel URL
	paramRestart   = "axra_restart"   // the visitor asks for a new checkout
	paramTry       = "axra_try"       // how often the waiting page has looked
	paramQuery     = "axra_query"     // the page's own query, in base64url
	paramHere      = "axra_here"      // already sent to the site's own address
	paramCheckout  = "axra_checkout"  // the pass that the visitor, or a program, wants to buy
	paramStatus    = "axra_status"    // a program asks how its checkout stands
	paramReceipt   = "axra_receipt"   // the visitor wants to see the receipt, perhaps of a pass
	paramExtend    = "axra_extend"    // the visitor wants more time of what is open
	paramDevice    = "axra_device"    // opens a purchase on another device
	paramPlace     = "axra_place"     // names, in a form, the browser that takes a place
	paramLink      = "axra_link"      // opens one address without a cookie
	paramProgram   = "axra_program"   // success URL: a program has started the checkout
)

// sessionPlaceholder is replaced by Axra in the success URL
// [payments/checkout-sessions].
const sessionPlaceholder = "{SESSION_ID}"

// ownParams reads our parameters and no others: a query of 64 KB costs nothing.
func ownParams(rawQuery string) url.Values {
	own := make(url.Values)
	for part := range strings.SplitSeq(rawQuery, "&") {
		name, value, _ := strings.Cut(part, "=")
		if !isOwnParam(name) {
			continue
		}
		if decoded, err := url.QueryUnescape(value); err == nil && len(decoded) <= 2*maxTarget {
			own.Set(name, decoded)
		} else {
			own.Set(name, "")
		}
	}
	return own
}

func isOwnParam(name string) bool {
	switch name {
	case paramSession, paramCancelled, paramRestart, paramTry, paramQuery, paramHere, paramCheckout, paramStatus,
		paramReceipt, paramExtend, paramDevice, paramPlace, paramLink, paramProgram:
		return true
	}
	return false
}

func hasReturnParams(rawQuery string) bool {
	return strings.Contains(rawQuery, "axra_") && len(ownParams(rawQuery)) > 0
}

// maxTarget is the length in bytes beyond which an address is refused: it has to
// travel to Axra and back within the success URL.
const maxTarget = 2048

// cleanTarget is the path and query that the browser wanted, byte for byte.
func cleanTarget(address *url.URL) string {
	target := samePath(address.EscapedPath())
	query, found := cleanQuery(address.RawQuery)
	if found || address.RawQuery == "" && address.ForceQuery {
		target = samePath(target + "?" + inRequestLine.Replace(query))
	}
	return target
}

// inRequestLine escapes what some let through in a query and others cut at.
var inRequestLine = strings.NewReplacer("#", "%23", " ", "%20")

// cleanQuery is the query that the browser wanted: what a checkout brought back in
// paramQuery, else the query without our parameters. found says whether there is one.
func cleanQuery(rawQuery string) (query string, found bool) {
	if !strings.Contains(rawQuery, "axra_") {
		return rawQuery, rawQuery != ""
	}
	kept := make([]string, 0, 8)
	removed := false
	for part := range strings.SplitSeq(rawQuery, "&") {
		name, value, _ := strings.Cut(part, "=")
		if name == paramQuery {
			if original, err := base64.RawURLEncoding.DecodeString(value); err == nil && isQuery(original) {
				cleaned, _ := cleanQuery(string(original)) // ours never holds our parameters
				return cleaned, true
			}
		}
		if isOwnParam(name) {
			removed = true
			continue
		}
		kept = append(kept, part)
	}
	return strings.Join(kept, "&"), !removed || len(kept) > 0
}

// isQuery reports whether bytes can stand in a request line as a query.
func isQuery(text []byte) bool {
	return !bytes.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c == 0x7f || c == '#' })
}

// returnAddress is the address that Axra sends the browser back to. The page's own
// query travels in base64url: whoever parses and writes the address on its way,
// and whatever is replaced in it, the query comes back as it was.
func returnAddress(origin, target, param, value string) string {
	path, query, hasQuery := strings.Cut(target, "?")
	address := origin + path + "?"
	if hasQuery {
		address += paramQuery + "=" + base64.RawURLEncoding.EncodeToString([]byte(query)) + "&"
	}
	return address + param + "=" + value
}

// withParams adds parameters to a target.
func withParams(target string, pairs ...string) string {
	target = samePath(target)
	separator := "?"
	if strings.Contains(target, "?") {
		separator = "&"
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		target += separator + pairs[i] + "=" + url.QueryEscape(pairs[i+1])
		separator = "&"
	}
	return target
}

func pathOf(address *url.URL) string {
	target := samePath(address.EscapedPath())
	if address.RawQuery != "" {
		target += "?" + address.RawQuery
	}
	return target
}
