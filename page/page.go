// Package page renders the HTML that a visitor of a paid route sees: what happened, what happened
// to the visitor's money, and what to do next. The pages need no JavaScript and load nothing.
package page

import (
	"cmp"
	"net/http"
	"time"
)

// Kind is a kind of page. Each has a title, a sentence about the visitor's money, and a next step.
type Kind string

// The kinds of pages.
const (
	Waiting          Kind = "waiting"            // back from checkout, payment not confirmed yet; it refreshes itself
	StillWaiting     Kind = "still_waiting"      // the automatic refresh has ended
	Processing       Kind = "processing"         // a bank transfer or mobile money payment is on its way
	Failed           Kind = "failed"             // the provider said that the payment failed
	Cancelled        Kind = "cancelled"          // came back by Cancel, or the checkout expired
	Expired          Kind = "expired"            // the checkout session expired before payment
	NotYours         Kind = "not_yours"          // a return address without the pending cookie
	PaymentSafe      Kind = "payment_safe"       // the ledger cannot be read now
	Unavailable      Kind = "unavailable"        // the payment provider cannot be reached
	TooMany          Kind = "too_many"           // too many checkouts were started
	Refunded         Kind = "refunded"           // access closed by a refund
	Disputed         Kind = "disputed"           // access closed by a dispute
	Revoked          Kind = "revoked"            // access was withdrawn by the site's operator
	Mismatch         Kind = "mismatch"           // paid, but not the amount or currency asked
	Required         Kind = "required"           // the page is for buyers
	BadAddress       Kind = "bad_address"        // the path is ambiguous and was refused
	TooLong          Kind = "too_long"           // address too long to pay for
	TooManyPurchases Kind = "too_many_purchases" // the cookies of another purchase would not fit into the browser's requests
	Misconfigured    Kind = "misconfigured"      // the site's paywall is not configured properly
	Offer            Kind = "offer"              // what is on sale, before the checkout
	DownloadsUsed    Kind = "downloads_used"     // all downloads of the purchase are used
	Receipt          Kind = "receipt"            // what was bought, and the ways to use it
	Device           Kind = "device"             // a device link was opened; asks to confirm
	Gift             Kind = "gift"               // a link to access that the site gave was opened; asks to confirm
	Given            Kind = "given"              // what the site gave, and the ways to use it
	DeviceRefused    Kind = "device_refused"     // the link has expired, or this device was removed
	DeviceFull       Kind = "device_full"        // the purchase is used on as many devices as it allows
	LinkEnded        Kind = "link_ended"         // a private address no longer opens anything
	ForProgram       Kind = "for_program"        // back from a checkout that a program started
	Claim            Kind = "claim"              // back from a checkout that another browser started
	ClaimLater       Kind = "claim_later"        // not confirmed yet, or taken by another browser
)

// statuses lists the kinds whose usual status is not 402.
var statuses = map[Kind]int{
	BadAddress:    http.StatusBadRequest,
	TooLong:       http.StatusRequestURITooLong,
	TooMany:       http.StatusTooManyRequests,
	NotYours:      http.StatusForbidden,
	DeviceRefused: http.StatusForbidden,
	DeviceFull:    http.StatusForbidden,
	Misconfigured: http.StatusInternalServerError,
	PaymentSafe:   http.StatusServiceUnavailable,
	Unavailable:   http.StatusServiceUnavailable,
	Receipt:       http.StatusOK,
	Device:        http.StatusOK,
	Gift:          http.StatusOK,
	Given:         http.StatusOK,
	ForProgram:    http.StatusOK,
}

// Status returns the usual HTTP status of a page.
func (k Kind) Status() int { return cmp.Or(statuses[k], http.StatusPaymentRequired) }

// withButton lists the kinds that have a button when there is a FormURL.
var withButton = map[Kind]bool{Device: true, Gift: true, Claim: true, ClaimLater: true, Required: true}

// View is the content of one page. Texts may come from anywhere: all of them are escaped.
//
// A URL is http or https with a host, or relative and begins with one "/" or with "?"; any other
// ("javascript:", "//host", with control characters) is treated as empty. FormURL must be
// relative, DeviceURL and LinkURL absolute. An empty text or URL, and a zero time, is not shown.
type View struct {
	Kind        Kind
	Status      int    // HTTP status to send, 200 to 599; 0: the usual one of the kind
	Site        string // host name shown to the visitor
	Description string // of the product
	Price       string // "5.00 USD"
	NextURL     string // target of the kind's main link
	CheckURL    string // target of "Check again" and of the refresh; empty: the refresh reloads the page
	Reference   string // what the visitor can quote to the site's owner
	FormURL     string // target of the kind's button, which posts nothing else
	// FormTargets are where forms may lead in the end, as source expressions of a Content-Security-Policy.
	FormTargets []string
	RetryAfter  time.Duration // > 0: Retry-After header in whole seconds (rounded up), also said in words

	Polling
	OfferPage
	Purchase
	Links
}

// Polling makes a page check again automatically.
type Polling struct {
	Refresh time.Duration // in whole seconds (rounded up); 0: never, or after 5 s if PollURL is set
	PollURL string        // same-origin address that a script asks for {"state": "…"} instead of reloading
}

// OfferPage is the content of an offer page.
type OfferPage struct {
	Title  string  // the owner's own heading; empty: the kind's
	Text   string  // the owner's own first sentence; empty: the kind's
	Quotes []Quote // in the owner's order
}

// Quote is one product on sale.
type Quote struct {
	Name        string
	Description string        // empty: the name is shown
	Price       string        // "5.00 USD"
	Access      time.Duration // length of access; negative: no expiry
	ThisOnly    bool          // it opens this one page
	Fetches     int           // how often it may be downloaded; 0: not limited
	URL         string        // posting to it leads to the checkout
}

// Purchase is what the visitor owns.
type Purchase struct {
	Bought    time.Time
	Until     time.Time // when access ends
	Forever   bool      // access has no end; Until is not shown
	ExtendURL string    // leads to the checkout for more time
	ExtendFor string    // what that costs and gives: "5.00 USD · 30 days"

	// Devices and downloads used, of how many; limit 0: not shown.
	Devices, DevicesLimit, Downloads, DownloadsLimit int
}

// Links open a purchase elsewhere. They are secrets of the visitor.
type Links struct {
	DeviceURL              string // opens the purchase on another device; shown as a link and as a QR code
	LinkURL                string // opens it without cookies; shown for copying
	DeviceUntil, LinkUntil time.Time
}

// Write sends the view in the language that the request prefers, with security and cache headers.
// A HEAD request gets the headers alone.
func Write(w http.ResponseWriter, r *http.Request, v View) error {
	v = v.normal()
	texts := texts().choose(r.Header.Get("Accept-Language"))
	body, err := render(texts, v)
	if err != nil {
		return err
	}
	setHeaders(w.Header(), v, texts.Lang, len(body))
	w.WriteHeader(v.Status)
	if r.Method == http.MethodHead {
		return nil
	}
	_, err = w.Write(body)
	return err
}

// AccessInWords returns a length of access, such as "30 days", in the language that the
// Accept-Language header prefers. A negative one has no end.
func AccessInWords(acceptLanguage string, access time.Duration) string {
	return texts().choose(acceptLanguage).access(access)
}

// Language returns the language of the pages, as a BCP 47 tag, that suits an Accept-Language header best.
func Language(acceptLanguage string) string { return texts().choose(acceptLanguage).Lang }
