// Package page renders the HTML that a visitor of a paid route sees: what happened, what happened
// to the visitor's money, and what to do next. The pages need no JavaScript and load nothing.
package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddy-axra/paywall/cache"
)

// Kind names what happened; each has a title, a sentence on what happened to the visitor's money,
// and the next step.
type Kind string

// The kinds of pages.
const (
	Waiting       Kind = "waiting"        // back from checkout, payment not confirmed yet; refreshes itself
	StillWaiting  Kind = "still_waiting"  // the automatic refresh has ended
	Processing    Kind = "processing"     // a bank transfer or mobile money payment is known to be under way
	Failed        Kind = "failed"         // the provider said that the payment failed
	Cancelled     Kind = "cancelled"      // came back by Cancel, or the checkout expired
	Expired       Kind = "expired"        // the checkout session expired before payment
	NotYours      Kind = "not_yours"      // a return address without the pending cookie
	PaymentSafe   Kind = "payment_safe"   // our records cannot be read right now
	Unavailable   Kind = "unavailable"    // the payment provider cannot be reached
	TooMany       Kind = "too_many"       // too many checkouts were started
	Refunded      Kind = "refunded"       // access closed by a refund
	Disputed      Kind = "disputed"       // access closed by a dispute
	Revoked       Kind = "revoked"        // access was withdrawn by the site's operator
	Mismatch      Kind = "mismatch"       // paid, but not the amount or currency asked
	Required      Kind = "required"       // this page is paid
	BadAddress    Kind = "bad_address"    // ambiguous path refused
	TooLong       Kind = "too_long"       // address too long to pay for
	NoRoom        Kind = "no_room"        // no cookie of another purchase would fit into the browser's requests
	Misconfigured Kind = "misconfigured"  // the site's paywall is not configured properly
	Offer         Kind = "offer"          // what is on sale, before the checkout
	DownloadsUsed Kind = "downloads_used" // the purchase was fetched as often as it allows
	Receipt       Kind = "receipt"        // what was bought, and the ways to use it
	Device        Kind = "device"         // a device link was opened; asks to confirm
	Gift          Kind = "gift"           // a link to access that the site gives; asks to confirm
	Given         Kind = "given"          // what the site has given, and the ways to use it
	DeviceRefused Kind = "device_refused" // link expired, or this device's place gone
	DeviceFull    Kind = "device_full"    // all devices in use
	LinkEnded     Kind = "link_ended"     // a private address opens nothing any more
	ForProgram    Kind = "for_program"    // back from a checkout that a program started
	Claim         Kind = "claim"          // back from a checkout that another browser started
	ClaimLater    Kind = "claim_later"    // not confirmed yet, or claimed by another browser
)

// usualStatus lists every Kind with the status it is sent with when View.Status is 0.
// A 2xx is for what the visitor asked for: the receipt, what a device link leads to, and the thanks
// after a program's checkout.
var usualStatus = map[Kind]int{
	Waiting:       http.StatusPaymentRequired,
	StillWaiting:  http.StatusPaymentRequired,
	Processing:    http.StatusPaymentRequired,
	Failed:        http.StatusPaymentRequired,
	Cancelled:     http.StatusPaymentRequired,
	Expired:       http.StatusPaymentRequired,
	NotYours:      http.StatusForbidden,
	PaymentSafe:   http.StatusServiceUnavailable,
	Unavailable:   http.StatusServiceUnavailable,
	TooMany:       http.StatusTooManyRequests,
	Refunded:      http.StatusPaymentRequired,
	Disputed:      http.StatusPaymentRequired,
	Revoked:       http.StatusPaymentRequired,
	Mismatch:      http.StatusPaymentRequired,
	Required:      http.StatusPaymentRequired,
	BadAddress:    http.StatusBadRequest,
	TooLong:       http.StatusRequestURITooLong,
	NoRoom:        http.StatusPaymentRequired,
	Misconfigured: http.StatusInternalServerError,
	Offer:         http.StatusPaymentRequired,
	DownloadsUsed: http.StatusPaymentRequired,
	Receipt:       http.StatusOK,
	Device:        http.StatusOK,
	Gift:          http.StatusOK,
	Given:         http.StatusOK,
	DeviceRefused: http.StatusForbidden,
	DeviceFull:    http.StatusForbidden,
	LinkEnded:     http.StatusPaymentRequired,
	ForProgram:    http.StatusOK,
	Claim:         http.StatusPaymentRequired,
	ClaimLater:    http.StatusPaymentRequired,
}

// withButton lists the kinds that have a button when there is a FormURL.
var withButton = map[Kind]bool{Device: true, Gift: true, Claim: true, ClaimLater: true, Required: true}

// defaultRefresh is the time to the first check of a page that has a PollURL and no Refresh.
const defaultRefresh = 5 * time.Second

// View is what one page says. Texts may come from anywhere: all of them are escaped.
//
// A URL is http or https with a host, or relative and begins with one "/" or with "?"; any other
// ("javascript:", "//host", with control characters) is treated as empty. FormURL must be
// relative, DeviceURL and LinkURL absolute.
type View struct {
	Kind        Kind
	Status      int           // HTTP status to send, 200 to 599; 0: the usual one of the kind
	Site        string        // host name shown to the visitor; may be empty
	Description string        // what is sold; may be empty
	Price       string        // "5.00 USD"; may be empty
	NextURL     string        // target of the kind's main link; empty: no link
	CheckURL    string        // target of "Check again", and of the refresh; empty: no link, and the refresh reloads the page
	Reference   string        // what the visitor can quote to the site's owner; may be empty
	Refresh     time.Duration // > 0: the page refreshes itself after this, in whole seconds (rounded up); 0: it does not, or after 5 s when PollURL is set
	PollURL     string        // not empty: with JavaScript, ask this same-origin address for {"state": "…"} instead of reloading
	RetryAfter  time.Duration // > 0: Retry-After header in whole seconds (rounded up), also told in words
	Title       string        // the owner's own heading; empty: the kind's
	Text        string        // the owner's own first sentence; empty: the kind's
	Offers      []Offered     // what is on sale, in the owner's order
	FormURL     string        // target of the kind's button, which posts nothing but itself; empty: no button
	FormTargets []string      // where forms may lead in the end, as source expressions of a Content-Security-Policy
	ExtendURL   string        // leads to the checkout for more time; empty: no link
	ExtendFor   string        // what that costs and gives: "5.00 USD · 30 days"; may be empty
	Bought      time.Time     // zero: not shown
	Until       time.Time     // when access ends; zero: not shown
	Forever     bool          // access has no end; Until is not shown

	// DeviceURL opens the purchase on another device, and is shown as a link and as a QR code;
	// LinkURL opens it without cookies, and is shown for copying. Both are secrets of the visitor.
	DeviceURL, LinkURL     string
	DeviceUntil, LinkUntil time.Time // when they end; zero: not shown

	Devices, DevicesLimit     int // devices used of how many; limit 0: not shown
	Downloads, DownloadsLimit int // downloads used of how many; limit 0: not shown. DownloadsUsed without a limit: all there were
}

// Offered is one pass on sale.
type Offered struct {
	Name        string
	Description string        // empty: the name says it
	Price       string        // "5.00 USD"
	Access      time.Duration // length of access; negative: for ever
	ThisOnly    bool          // it opens this one page
	Fetches     int           // how often it may be fetched; 0: without a bound
	URL         string        // posting to it leads to its checkout
}

var (
	//go:embed style.css
	styleSource string
	//go:embed poll.js
	scriptSource string
	//go:embed page.html
	layoutSource string

	// Made for the first page, not before Caddy listens.
	layout = sync.OnceValue(func() *template.Template {
		return template.Must(template.New("page").Parse(layoutSource))
	})
	texts = sync.OnceValue(func() *catalogues { return must(load(messageFiles)) })

	// Whole elements as template.HTML: the template engine must not touch a byte between the tags,
	// or the hashes in the policy no longer fit.
	styleElement  = template.HTML("<style>" + styleSource + "</style>")
	scriptElement = template.HTML("<script>" + scriptSource + "</script>")

	styleHash, scriptHash = cspHash(styleSource), cspHash(scriptSource)
)

// rendered remembers the latest pages, 4 MB at the most: in a flood of visitors who
// are all told the same, writing it once is what leaves time for those who paid.
var rendered = sync.OnceValue(func() cache.Cache[*body] { return cache.New[*body](256) })

type body struct{ html []byte }

func cached(texts *catalogue, v View) ([]byte, error) {
	if v.personal() {
		return render(texts, v)
	}
	if v.RetryAfter < 24*time.Hour { // the text says no less
		v.RetryAfter = time.Duration(ceil(v.RetryAfter, time.Second)) * time.Second
	}
	encoded, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	key := texts.Lang + string(encoded)
	if known, ok := rendered().GetIfPresent(key); ok {
		return known.html, nil
	}
	html, err := render(texts, v)
	if err == nil {
		rendered().Set(key, &body{html})
	}
	return html, err
}

// personal reports whether the view is about one visitor, so that nobody else will be told the same.
func (v View) personal() bool {
	return v.Reference != "" || v.PollURL != "" || v.FormURL != "" && v.Kind != Required || v.DeviceURL != "" || v.LinkURL != "" ||
		!v.Bought.IsZero() || !v.Until.IsZero()
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// contentSecurityPolicy allows what is on the page of a normal view, and nothing else.
func (v View) contentSecurityPolicy() string {
	script, connect, form := "'none'", "'none'", "'none'"
	if v.PollURL != "" {
		script, connect = scriptHash, "'self'"
	}
	if v.hasForm() {
		// Chromium applies form-action to redirects too.
		form = strings.Join(append([]string{"'self'"}, v.FormTargets...), " ")
	}
	return "default-src 'none'; style-src " + styleHash +
		"; script-src " + script + "; connect-src " + connect +
		"; base-uri 'none'; form-action " + form + "; frame-ancestors 'none'"
}

// hasForm reports whether the page has a button that posts.
func (v View) hasForm() bool {
	return v.FormURL != "" || slices.ContainsFunc(v.Offers, func(o Offered) bool { return o.URL != "" })
}

// cspHash returns the source expression that allows exactly this inline source.
func cspHash(source string) string {
	sum := sha256.Sum256([]byte(source))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// Write renders the view in the language the request prefers and sends it with its security and
// cache headers. A HEAD request gets the headers alone. After an error in the view itself (unknown
// kind, impossible status) nothing has been sent.
func Write(w http.ResponseWriter, r *http.Request, v View) error {
	v, err := v.normal()
	if err != nil {
		return err
	}
	texts := texts().choose(r.Header.Get("Accept-Language"))
	body, err := cached(texts, v)
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

// normal returns the view with its defaults filled in and its unsafe URLs removed.
func (v View) normal() (View, error) {
	usual, known := usualStatus[v.Kind]
	if !known {
		return v, fmt.Errorf("unknown kind of page %q", v.Kind)
	}
	if v.Status == 0 {
		v.Status = usual
	}
	if v.Status < 200 || v.Status > 599 {
		return v, fmt.Errorf("impossible status %d", v.Status)
	}
	v.NextURL, v.CheckURL, v.PollURL = safeURL(v.NextURL), safeURL(v.CheckURL), safeURL(v.PollURL)
	v.ExtendURL, v.FormURL, v.DeviceURL, v.LinkURL = safeURL(v.ExtendURL), safeURL(v.FormURL), safeURL(v.DeviceURL), safeURL(v.LinkURL)
	if absolute(v.FormURL) || !withButton[v.Kind] {
		v.FormURL = ""
	}
	if !absolute(v.DeviceURL) {
		v.DeviceURL = ""
	}
	if !absolute(v.LinkURL) {
		v.LinkURL = ""
	}
	if v.Kind == DownloadsUsed && v.DownloadsLimit <= 0 {
		v.DownloadsLimit = v.Downloads
	}
	if v.PollURL != "" && v.Refresh <= 0 {
		v.Refresh = defaultRefresh
	}
	v.Offers = slices.Clone(v.Offers)
	for i := range v.Offers {
		v.Offers[i].URL = safeURL(v.Offers[i].URL)
	}
	return v, nil
}

// absolute expects a safe URL.
func absolute(address string) bool {
	return address != "" && address[0] != '/' && address[0] != '?'
}

// safeURL returns the address if following it is harmless, else "". "//host" is refused with the
// rest: it is what becomes of a request path with two slashes, and leads off the site.
func safeURL(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	switch {
	case u.Scheme == "http", u.Scheme == "https":
		if u.Host != "" {
			return address
		}
	case strings.HasPrefix(address, "?"):
		return address
	case strings.HasPrefix(address, "/"):
		if len(address) == 1 || (address[1] != '/' && address[1] != '\\') {
			return address
		}
	}
	return ""
}

// content is what the template sees.
type content struct {
	View
	Lang, Dir string
	Labels    labels
	Text      message
	Retry     string // how long to wait, in words; may be empty
	Sale      []onSale
	Refresh   int64 // seconds; 0: no refresh
	Code      *code
	Bought    *moment
	Until     *moment

	DeviceUntil, LinkUntil *moment

	Devices   string // so many of so many; may be empty
	Downloads string
	Style     template.HTML
	Script    template.HTML // may be empty
}

// moment is a point in time for programs and for people.
type moment struct{ Machine, Words string }

func momentOf(t time.Time) *moment {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &moment{t.Format(time.RFC3339), t.Format("2006-01-02 15:04 MST")}
}

// onSale is an Offered in words.
type onSale struct {
	Offered
	What   string // what is sold
	Access string // for how long, and within which bounds
	Buy    string // label of its button
}

func (c *catalogue) describe(o Offered) onSale {
	what := o.Description
	if what == "" {
		what = o.Name
	}
	return onSale{
		Offered: o, What: what, Access: c.Labels.bounds(o),
		Buy: strings.NewReplacer("{name}", c.isolated(what), "{price}", c.isolated(o.Price)).Replace(c.Labels.Buy),
	}
}

// isolated keeps "5.00 USD" in its order within a line from right to left.
func (c *catalogue) isolated(text string) string {
	if c.Dir != "rtl" {
		return text
	}
	return "\u2068" + text + "\u2069"
}

// AccessInWords is a length of access, as on the offer page, in the language that
// the Accept-Language header prefers: "30 days". A negative one has no end.
func AccessInWords(acceptLanguage string, access time.Duration) string {
	return texts().choose(acceptLanguage).Labels.access(access)
}

// Language is the language, as a BCP 47 tag, that suits an Accept-Language header
// best among those the pages speak.
func Language(acceptLanguage string) string { return texts().choose(acceptLanguage).Lang }

// Languages are the languages that the pages speak, as BCP 47 tags; the first is for visitors who
// prefer none of them.
func Languages() []string {
	known := texts().list
	tags := make([]string, len(known))
	for i, c := range known {
		tags[i] = c.Lang
	}
	return tags
}

// render expects a normal view.
func render(c *catalogue, v View) ([]byte, error) {
	site := v.Site
	if site == "" {
		site = c.Labels.ThisSite
	}
	data := content{
		View:    v,
		Lang:    c.Lang,
		Dir:     c.Dir,
		Labels:  c.Labels,
		Text:    c.Pages[v.Kind].about(site, v.DownloadsLimit),
		Retry:   c.Labels.wait(v.RetryAfter),
		Refresh: max(0, ceil(v.Refresh, time.Second)),
		Code:    qrCode(v.DeviceURL),
		Bought:  momentOf(v.Bought),
		Until:   momentOf(v.Until),

		DeviceUntil: momentOf(v.DeviceUntil),
		LinkUntil:   momentOf(v.LinkUntil),

		Devices:   c.Labels.some(v.Devices, v.DevicesLimit),
		Downloads: c.Labels.some(v.Downloads, v.DownloadsLimit),
		Style:     styleElement,
	}
	if v.Forever {
		data.Until = nil
	}
	if v.Title != "" {
		data.Text.Title = v.Title
	}
	if v.Text != "" {
		data.Text.What = v.Text
	}
	for _, o := range v.Offers {
		described := c.describe(o)
		if slices.ContainsFunc(data.Sale, func(other onSale) bool { return other.Buy == described.Buy }) {
			// Who hears the buttons alone could not tell these two apart.
			o.Description = described.What + " (" + o.Name + ")"
			described = c.describe(o)
		}
		data.Sale = append(data.Sale, described)
	}
	if v.PollURL != "" {
		data.Script = scriptElement
	}
	var body bytes.Buffer
	if err := layout().Execute(&body, data); err != nil {
		return nil, err
	}
	return body.Bytes(), nil
}

func setHeaders(h http.Header, v View, lang string, length int) {
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(length))
	h.Set("Content-Language", lang)
	h.Set("Cache-Control", "no-store")
	addVary(h, "Accept-Language", "Cookie")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	if v.hasForm() {
		h.Set("Referrer-Policy", "strict-origin") // with no-referrer a browser posts "Origin: null"
	}
	h.Set("X-Robots-Tag", "noindex")
	h.Set("Content-Security-Policy", v.contentSecurityPolicy())
	if v.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(ceil(v.RetryAfter, time.Second), 10))
	}
}

// addVary adds the names that Vary does not have yet.
func addVary(h http.Header, names ...string) {
	var have []string
	for _, value := range h.Values("Vary") {
		for name := range strings.SplitSeq(value, ",") {
			have = append(have, strings.ToLower(strings.TrimSpace(name)))
		}
	}
	for _, name := range names {
		if !slices.Contains(have, strings.ToLower(name)) {
			h.Add("Vary", name)
		}
	}
}

// ceil returns d in whole units, rounded up.
func ceil(d, unit time.Duration) int64 {
	n := int64(d / unit)
	if d%unit > 0 {
		n++
	}
	return n
}
