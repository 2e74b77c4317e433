package page

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"image/color"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/boombuler/barcode/qr"
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
		return template.Must(template.New("page").Parse(layoutSource))
	})
	texts = sync.OnceValue(load)

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

// content is what the template sees.
type content struct {
	View
	Lang, Dir     string
	Labels        map[string]string
	Message       message
	Retry         string // how long to wait, in words; may be empty
	Described     []described
	Seconds       int64 // to the refresh; 0: none
	Code          *code
	Style, Script template.HTML // Script may be empty
}

// described is a quote in words.
type described struct {
	Quote
	Product string // its description or name
	Terms   string // for how long, and within which limits
	Buy     string // label of its button
}

// describe puts the quotes into words. Buttons with the same label get the product's name as well: a screen
// reader may read them without their surroundings.
func (c *catalogue) describe(quotes []Quote) []described {
	var all []described
	for _, q := range quotes {
		product := cmp.Or(q.Description, q.Name)
		buy := c.buy(product, q.Price)
		if slices.ContainsFunc(all, func(other described) bool { return other.Buy == buy }) {
			product += " (" + q.Name + ")"
			buy = c.buy(product, q.Price)
		}
		all = append(all, described{Quote: q, Product: product, Terms: c.terms(q), Buy: buy})
	}
	return all
}

func (c *catalogue) buy(product, price string) string {
	return strings.NewReplacer("{name}", c.isolated(product), "{price}", c.isolated(price)).Replace(c.Labels["buy"])
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
		Message:   c.Pages[v.Kind].fill(cmp.Or(v.Site, c.Labels["this_site"]), v.DownloadsLimit),
		Retry:     c.wait(v.RetryAfter),
		Described: c.describe(v.Quotes),
		Seconds:   max(0, ceil(v.Refresh, time.Second)),
		Code:      qrCode(v.DeviceURL),
		Style:     styleElement,
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
func ceil(d, unit time.Duration) int64 { return int64(math.Ceil(float64(d) / float64(unit))) }

// maxCodeAddress bounds the address of a QR code in bytes: a denser code is hard to scan from a
// screen, and makes the page slow to load.
const maxCodeAddress = 400

// code is a QR code as the path of an SVG: one unit is one module, and lines one unit wide are dark.
type code struct {
	Size int    // with the quiet zone around it
	Path string // the middle of the first line is at 0 0
}

// quiet is how many light modules a reader needs around a code.
const quiet = 4

// qrCode returns nil if there is no code to show; the link is enough.
func qrCode(address string) *code {
	if address == "" || len(address) > maxCodeAddress {
		return nil
	}
	modules, err := qr.Encode(address, qr.L, qr.Auto)
	if err != nil {
		return nil
	}
	size := modules.Bounds().Dx()
	dark := func(x, y int) bool { return x < size && modules.At(x, y) == color.Color(color.Gray16{}) }
	var path strings.Builder
	for y := range size {
		fmt.Fprintf(&path, "M0 %d", y)
		for x, end := 0, 0; x < size; x++ {
			start := x
			for dark(x, y) {
				x++
			}
			if x > start {
				fmt.Fprintf(&path, "m%d 0h%d", start-end, x-start)
				end = x
			}
		}
	}
	return &code{Size: size + 2*quiet, Path: path.String()}
}
