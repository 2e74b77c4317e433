package paywall

import (
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

// askedFor is the path and query that a request asks for, without our parameters: what
// the handlers behind get.
func askedFor(address *url.URL) string {
	target := samePath(address.EscapedPath())
	query, found := cleanQuery(address.RawQuery)
	if found || address.RawQuery == "" && address.ForceQuery {
		target = samePath(target + "?" + inRequestLine.Replace(query))
	}
	return target
}

// cleanTarget is askedFor in the bytes in which the browser asked before a checkout,
// where whoever handled the success URL has written the same otherwise. It is fit for a
// redirect, and for nothing that is decided.
func cleanTarget(address *url.URL) string {
	target := askedFor(address)
	_, value, found := strings.Cut(address.RawQuery, paramQuery+"=")
	if !found || len(target) > maxTarget {
		return target
	}
	path, query, _ := strings.Cut(target, "?")
	value, _, _ = strings.Cut(value, "&")
	original, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil || len(original) > maxTarget || !sameQuery(string(original), query) {
		return target
	}
	return samePath(path + "?" + inRequestLine.Replace(string(original)))
}

func sameQuery(one, other string) bool {
	a, _ := url.ParseQuery(one) // what cannot be parsed is left out
	b, _ := url.ParseQuery(other)
	return a.Encode() == b.Encode()
}

// inRequestLine escapes what some let through in a query and others cut at.
var inRequestLine = strings.NewReplacer("#", "%23", " ", "%20")

// cleanQuery is a query without our parameters, the rest byte for byte; found says
// whether there is one.
func cleanQuery(rawQuery string) (query string, found bool) {
	if !strings.Contains(rawQuery, "axra_") {
		return rawQuery, rawQuery != ""
	}
	kept := make([]string, 0, 8)
	removed := false
	for part := range strings.SplitSeq(rawQuery, "&") {
		if name, _, _ := strings.Cut(part, "="); isOwnParam(name) {
			removed = true
			continue
		}
		kept = append(kept, part)
	}
	return strings.Join(kept, "&"), !removed || len(kept) > 0
}

// returnAddress is the address that Axra sends the browser back to. The page's own
// query is a part of it, for all that read it on the way back; in base64url, it comes
// back byte for byte as well, whoever parses and writes the address.
func returnAddress(origin, target, param, value string) string {
	path, query, hasQuery := strings.Cut(target, "?")
	address := origin + path + "?"
	if hasQuery {
		address += unreplaced.Replace(query) + "&" + paramQuery + "=" + base64.RawURLEncoding.EncodeToString([]byte(query)) + "&"
	}
	return address + param + "=" + value
}

// unreplaced keeps Axra from taking a part of a query for its placeholder.
var unreplaced = strings.NewReplacer("{", "%7B", "}", "%7D")

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

// withPath is an address with another path.
func withPath(address *url.URL, path string) *url.URL {
	other := *address
	other.Path, other.RawPath = path, ""
	return &other
}

func pathOf(address *url.URL) string {
	target := samePath(address.EscapedPath())
	if address.RawQuery != "" {
		target += "?" + address.RawQuery
	}
	return target
}
