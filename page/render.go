package page

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/json"
	"html/template"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddy-axra/paywall/cache"
)

var (
	//go:embed style.css
	styleSource string
	//go:embed poll.js
	scriptSource string
	//go:embed page.html
	layoutSource string

	// Parsed for the first page, to start Caddy faster.
	layout = sync.OnceValue(func() *template.Template {
		return template.Must(template.New("page").Funcs(template.FuncMap{"moment": momentOf}).Parse(layoutSource))
	})
	texts = sync.OnceValue(func() *catalogues { return must(load(messageFiles)) })

	// Complete elements as template.HTML: the template engine must not touch a byte between the tags,
	// or the hashes in the policy no longer fit.
	styleElement  = template.HTML("<style>" + styleSource + "</style>")
	scriptElement = template.HTML("<script>" + scriptSource + "</script>")

	styleHash, scriptHash = cspHash(styleSource), cspHash(scriptSource)
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// rendered caches the latest pages that are not about one visitor, at most 4 MB. Without it, a
// flood of unpaid visitors slows down buyers.
var rendered = sync.OnceValue(func() cache.Cache[*body] { return cache.New[*body](256) })

type body struct{ html []byte }

func cached(texts *catalogue, v View) ([]byte, error) {
	if v.personal() {
		return render(texts, v)
	}
	if v.RetryAfter < 24*time.Hour { // rounded as in the text
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

// content is what the template sees.
type content struct {
	View
	Lang, Dir     string
	Labels        labels
	Message       message
	Retry         string // how long to wait, in words; may be empty
	OnSale        []onSale
	Seconds       int64 // to the refresh; 0: none
	Code          *code
	Style, Script template.HTML // Script may be empty
}

// moment is a point in time for programs and for people.
type moment struct{ Machine, Words string }

// momentOf returns nil for the zero time.
func momentOf(t time.Time) *moment {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &moment{t.Format(time.RFC3339), t.Format("2006-01-02 15:04 MST")}
}

// onSale is a quote in words.
type onSale struct {
	Quote
	Product string // its description or name
	Terms   string // for how long, and within which limits
	Buy     string // label of its button
}

// onSale describes the quotes. Buttons with the same label get the product's name as well: a screen
// reader may read them without their surroundings.
func (c *catalogue) onSale(quotes []Quote) []onSale {
	var all []onSale
	for _, q := range quotes {
		product := cmp.Or(q.Description, q.Name)
		buy := c.buy(product, q.Price)
		if slices.ContainsFunc(all, func(other onSale) bool { return other.Buy == buy }) {
			product += " (" + q.Name + ")"
			buy = c.buy(product, q.Price)
		}
		all = append(all, onSale{Quote: q, Product: product, Terms: c.Labels.terms(q), Buy: buy})
	}
	return all
}

func (c *catalogue) buy(product, price string) string {
	return strings.NewReplacer("{name}", c.isolated(product), "{price}", c.isolated(price)).Replace(c.Labels.Buy)
}

// isolated keeps the order of "5.00 USD" within a right-to-left line.
func (c *catalogue) isolated(text string) string {
	if c.Dir != "rtl" {
		return text
	}
	return "\u2068" + text + "\u2069"
}

// render expects a normal view.
func render(c *catalogue, v View) ([]byte, error) {
	data := content{
		View: v, Lang: c.Lang, Dir: c.Dir, Labels: c.Labels,
		Message: c.Pages[v.Kind].fill(cmp.Or(v.Site, c.Labels.ThisSite), v.DownloadsLimit),
		Retry:   c.Labels.wait(v.RetryAfter),
		OnSale:  c.onSale(v.Offers),
		Seconds: max(0, ceil(v.Refresh, time.Second)),
		Code:    qrCode(v.DeviceURL),
		Style:   styleElement,
	}
	if v.Title != "" {
		data.Message.Title = v.Title
	}
	if v.Text != "" {
		data.Message.What = v.Text
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

// ceil returns d in whole units, rounded up.
func ceil(d, unit time.Duration) int64 {
	n := int64(d / unit)
	if d%unit > 0 {
		n++
	}
	return n
}
