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
	"time"

	"github.com/maypok86/otter/v2"
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
	Mismatch      Kind = "mismatch"       // paid, but not the amount or currency asked
	Required      Kind = "required"       // this page is paid
	BadAddress    Kind = "bad_address"    // ambiguous path refused
	TooLong       Kind = "too_long"       // address too long to pay for
	Misconfigured Kind = "misconfigured"  // the site's paywall is not configured properly
	Offer         Kind = "offer"          // what is on sale, before the checkout
	DownloadsUsed Kind = "downloads_used" // the purchase was fetched as often as it allows
)

// usualStatus lists every Kind with the status it is sent with when View.Status is 0.
// No page is a 2xx: none of them is what the visitor asked for.
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
	Mismatch:      http.StatusPaymentRequired,
	Required:      http.StatusPaymentRequired,
	BadAddress:    http.StatusBadRequest,
	TooLong:       http.StatusRequestURITooLong,
	Misconfigured: http.StatusInternalServerError,
	Offer:         http.StatusPaymentRequired,
	DownloadsUsed: http.StatusPaymentRequired,
}

// defaultRefresh is the time to the first check of a page that has a PollURL and no Refresh.
const defaultRefresh = 5 * time.Second

// View is what one page says. Texts may come from anywhere: all of them are escaped.
//
// A URL is http or https with a host, or relative and begins with one "/" or with "?"; any other
// ("javascript:", "//host", with control characters) is treated as empty.
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
	Downloads   int           // how often the purchase could be fetched
}

// Offered is one pass on sale.
type Offered struct {
	Name        string
	Description string        // empty: the name says it
	Price       string        // "5.00 USD"
	Access      time.Duration // length of access; negative: for ever
	URL         string        // leads to its checkout
}

var (
	//go:embed style.css
	styleSource string
	//go:embed poll.js
	scriptSource string
	//go:embed page.html
	layoutSource string

	layout = template.Must(template.New("page").Parse(layoutSource))
	texts  = must(load(messageFiles))

	// Whole elements as template.HTML: the template engine must not touch a byte between the tags,
	// or the hashes in the policy no longer fit.
	styleElement  = template.HTML("<style>" + styleSource + "</style>")
	scriptElement = template.HTML("<script>" + scriptSource + "</script>")

	policy          = contentSecurityPolicy("'none'", "'none'")
	policyWithCheck = contentSecurityPolicy(cspHash(scriptSource), "'self'")
)

// rendered remembers the latest pages, 2 MB at the most: in a flood of visitors who
// are all told the same, writing it once is what leaves time for those who paid.
var rendered = otter.Must(&otter.Options[string, []byte]{MaximumSize: 256})

func cached(texts *catalogue, v View) ([]byte, error) {
	if v.Reference != "" || v.PollURL != "" {
		return render(texts, v) // it is about one visitor
	}
	if v.RetryAfter < 24*time.Hour { // the text says no less
		v.RetryAfter = time.Duration(ceil(v.RetryAfter, time.Second)) * time.Second
	}
	encoded, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	key := texts.Lang + string(encoded)
	if body, ok := rendered.GetIfPresent(key); ok {
		return body, nil
	}
	body, err := render(texts, v)
	if err == nil {
		rendered.Set(key, body)
	}
	return body, err
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func contentSecurityPolicy(script, connect string) string {
	return "default-src 'none'; style-src " + cspHash(styleSource) +
		"; script-src " + script + "; connect-src " + connect +
		"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
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
	texts := texts.choose(r.Header.Get("Accept-Language"))
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
	if v.PollURL != "" && v.Refresh <= 0 {
		v.Refresh = defaultRefresh
	}
	v.Offers = slices.Clone(v.Offers)
	for i := range v.Offers {
		v.Offers[i].URL = safeURL(v.Offers[i].URL)
	}
	return v, nil
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
	Lang, Dir     string
	Labels        labels
	Text          message
	Retry         string // how long to wait, in words; may be empty
	Sale          []onSale
	Refresh       int64 // seconds; 0: no refresh
	Style, Script template.HTML
}

// onSale is an Offered in words.
type onSale struct {
	Offered
	What   string // what is sold
	Access string // for how long
	Buy    string // label of its link
}

func (c *catalogue) describe(o Offered) onSale {
	what := o.Description
	if what == "" {
		what = o.Name
	}
	return onSale{
		Offered: o, What: what, Access: c.Labels.access(o.Access),
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
	return texts.choose(acceptLanguage).Labels.access(access)
}

// Language is the language, as a BCP 47 tag, that suits an Accept-Language header
// best among those the pages speak.
func Language(acceptLanguage string) string { return texts.choose(acceptLanguage).Lang }

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
		Text:    c.Pages[v.Kind].about(site, v.Downloads),
		Retry:   c.Labels.wait(v.RetryAfter),
		Refresh: max(0, ceil(v.Refresh, time.Second)),
		Style:   styleElement,
	}
	if v.Title != "" {
		data.Text.Title = v.Title
	}
	if v.Text != "" {
		data.Text.What = v.Text
	}
	for _, o := range v.Offers {
		data.Sale = append(data.Sale, c.describe(o))
	}
	if v.PollURL != "" {
		data.Script = scriptElement
	}
	var body bytes.Buffer
	if err := layout.Execute(&body, data); err != nil {
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
	h.Set("X-Robots-Tag", "noindex")
	if v.PollURL != "" {
		h.Set("Content-Security-Policy", policyWithCheck)
	} else {
		h.Set("Content-Security-Policy", policy)
	}
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
